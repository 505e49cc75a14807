{{ revetl.sample_messages('groups', columns=['group_id', 'traits']) }}
