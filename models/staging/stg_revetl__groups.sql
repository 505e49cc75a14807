{{ revetl.messages(
    'groups',
    columns=['group_id'],
    documents=['traits'],
    sample='int_revetl__sample_groups'
) }}
