{{ revetl.messages('screens', columns=['name', 'category'], documents=['properties']) }}
