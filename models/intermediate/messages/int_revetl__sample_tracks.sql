{{ revetl.sample_messages('tracks', columns=['event', 'event_text', 'properties']) }}
