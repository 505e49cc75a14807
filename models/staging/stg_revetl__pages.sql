{{ revetl.messages('pages', columns=['name', 'category'], documents=['properties']) }}
