with messages as (

    select * from {{ ref('identity_messages') }}

),

pairs as (

    select
        'user_id' as left_type,
        user_id as left_value,
        'anonymous_id' as right_type,
        anonymous_id as right_value,
        source,
        first_seen_at,
        last_seen_at,
        message_count
    from messages
    where user_id is not null and anonymous_id is not null
    union all
    select
        'user_id' as left_type,
        user_id as left_value,
        other_type as right_type,
        other_value as right_value,
        source,
        first_seen_at,
        last_seen_at,
        message_count
    from messages
    where user_id is not null and other_value is not null
    union all
    select
        'anonymous_id' as left_type,
        anonymous_id as left_value,
        other_type as right_type,
        other_value as right_value,
        source,
        first_seen_at,
        last_seen_at,
        message_count
    from messages
    where anonymous_id is not null and other_value is not null

),

edges as (

    select
        left_type,
        left_value,
        {{ revetl.identifier_id('left_type', 'left_value') }} as left_id,
        right_type,
        right_value,
        {{ revetl.identifier_id('right_type', 'right_value') }} as right_id,
        source,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at,
        sum(message_count) as message_count
    from pairs
    group by
        left_type,
        left_value,
        right_type,
        right_value,
        source

),

between_two as (

    select * from edges
    where left_id <> right_id

)

select * from between_two
