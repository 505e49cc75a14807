with group_messages as (

    select * from {{ ref('revetl', 'stg_revetl__groups') }}

),

profiles as (

    select * from {{ ref('revetl', 'revetl_events') }}
    where source = 'group'

),

memberships as (

    select
        {{ revetl.account_id('group_messages.group_id') }} as account_id,
        profiles.canonical_id,
        group_messages.timestamp
    from group_messages
    inner join profiles
        on group_messages.message_id = profiles.message_id

),

members as (

    select
        account_id,
        canonical_id,
        min(timestamp) as joined_at,
        max(timestamp) as last_seen_at,
        count(*) as message_count
    from memberships
    where account_id is not null
    group by
        account_id,
        canonical_id

)

select * from members
