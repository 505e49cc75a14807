{{ revetl.sample_messages('pages', columns=['name', 'category', 'properties']) }}
