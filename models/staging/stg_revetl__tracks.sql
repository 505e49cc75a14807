{{ revetl.messages(
    'tracks',
    columns=['event', 'event_text'],
    documents=['properties'],
    sample='revetl_sample_tracks'
) }}
