{{ revetl.messages('aliases', columns=['previous_id'], documents=[]) }}
