{{ revetl.messages('groups', columns=['group_id'], documents=['traits']) }}
