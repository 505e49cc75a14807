{{ revetl.messages(
    'tracks',
    columns=['event', 'event_text'],
    documents=['properties'],
    sample='sample_tracks'
) }}
