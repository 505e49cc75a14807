with messages as (

    select * from {{ ref('identity_messages') }}

),

seen as (

    select
        'user_id' as identifier_type,
        user_id as identifier_value,
        first_seen_at,
        last_seen_at
    from messages
    where user_id is not null
    union all
    select
        'anonymous_id' as identifier_type,
        anonymous_id as identifier_value,
        first_seen_at,
        last_seen_at
    from messages
    where anonymous_id is not null
    union all
    select
        other_type as identifier_type,
        other_value as identifier_value,
        first_seen_at,
        last_seen_at
    from messages
    where other_value is not null

),

identifiers as (

    select
        identifier_type,
        identifier_value,
        {{ revetl.identifier_id('identifier_type', 'identifier_value') }} as identifier_id,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at
    from seen
    group by
        identifier_type,
        identifier_value

)

select * from identifiers
