{{ revetl.messages(
    'pages',
    columns=['name', 'category'],
    documents=['properties'],
    sample='int_revetl__sample_pages'
) }}
