with tracks as (

    select * from {{ ref('stg_tracks') }}

),

events as (

    select * from {{ ref('event_profiles') }}
    where source = 'track'

),

profiles as (

    select * from {{ ref('user_profiles') }}

),

recent as (

    select
        events.canonical_id,
        tracks.event_text,
        tracks.properties
    from tracks
    inner join events
        on tracks.message_id = events.message_id
    where tracks.timestamp > {{ revetl.days_before(revetl.as_of(), 7) }}

),

viewed_not_bought as (

    select canonical_id
    from recent
    where
        event_text = 'Product Viewed'
        and {{ revetl.json_decimal('properties', 'price') }} > 100
    {{ revetl.except_distinct() }}
    select canonical_id
    from recent
    where event_text = 'Order Completed'

),

members as (

    select
        profiles.user_id,
        profiles.canonical_id,
        profiles.email,
        profiles.country,
        profiles.lifetime_value
    from viewed_not_bought
    inner join profiles
        on viewed_not_bought.canonical_id = profiles.canonical_id
    where profiles.user_id is not null

)

select * from members
