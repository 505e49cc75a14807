{{ revetl.messages(
    'tracks',
    columns=['event', 'event_text'],
    documents=['properties'],
    sample='int_revetl__sample_tracks'
) }}
