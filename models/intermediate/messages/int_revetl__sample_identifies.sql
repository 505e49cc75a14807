{{ revetl.sample_messages('identifies', columns=['traits']) }}
