with tracks as (

    select
        user_id,
        anonymous_id,
        cast(null as {{ revetl.type_of('varchar') }}) as other_type,
        cast(null as {{ revetl.type_of('varchar') }}) as other_value,
        'track' as source,
        timestamp
    from {{ ref('stg_tracks') }}

),

identifies as (

    select
        user_id,
        anonymous_id,
        'email' as other_type,
        {{ revetl.normalised_email(revetl.json_text('traits', 'email')) }} as other_value,
        'identify' as source,
        timestamp
    from {{ ref('stg_identifies') }}

),

pages as (

    select
        user_id,
        anonymous_id,
        cast(null as {{ revetl.type_of('varchar') }}) as other_type,
        cast(null as {{ revetl.type_of('varchar') }}) as other_value,
        'page' as source,
        timestamp
    from {{ ref('stg_pages') }}

),

screens as (

    select
        user_id,
        anonymous_id,
        cast(null as {{ revetl.type_of('varchar') }}) as other_type,
        cast(null as {{ revetl.type_of('varchar') }}) as other_value,
        'screen' as source,
        timestamp
    from {{ ref('stg_screens') }}

),

groups as (

    select
        user_id,
        anonymous_id,
        cast(null as {{ revetl.type_of('varchar') }}) as other_type,
        cast(null as {{ revetl.type_of('varchar') }}) as other_value,
        'group' as source,
        timestamp
    from {{ ref('stg_groups') }}

),

aliases as (

    select
        user_id,
        anonymous_id,
        'user_id' as other_type,
        previous_id as other_value,
        'alias' as source,
        timestamp
    from {{ ref('stg_aliases') }}

),

messages as (

    select * from tracks
    union all
    select * from identifies
    union all
    select * from pages
    union all
    select * from screens
    union all
    select * from groups
    union all
    select * from aliases

),

named as (

    select
        case when {{ revetl.is_identifier('user_id') }} then user_id end as user_id,
        case when {{ revetl.is_identifier('anonymous_id') }} then anonymous_id end as anonymous_id,
        other_type,
        case when {{ revetl.is_identifier('other_value') }} then other_value end as other_value,
        source,
        timestamp
    from messages

),

counted as (

    select
        user_id,
        anonymous_id,
        case when other_value is not null then other_type end as other_type,
        other_value,
        source,
        min(timestamp) as first_seen_at,
        max(timestamp) as last_seen_at,
        count(*) as message_count
    from named
    group by
        user_id,
        anonymous_id,
        case when other_value is not null then other_type end,
        other_value,
        source

)

select * from counted
