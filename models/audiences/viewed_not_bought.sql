with tracks as (

    select * from {{ ref('stg_tracks') }}

),

graph as (

    select * from {{ ref('identity_graph') }}

),

profiles as (

    select * from {{ ref('user_profiles') }}

),

recent as (

    select
        graph.canonical_id,
        tracks.event_text,
        tracks.properties
    from tracks
    inner join graph
        on
            graph.identifier_type
            = case when tracks.user_id is not null then 'user_id' else 'anonymous_id' end
            and graph.identifier_value = coalesce(tracks.user_id, tracks.anonymous_id)
    where tracks.timestamp > {{ revetl.days_before(revetl.as_of(), 7) }}

),

viewed_not_bought as (

    select canonical_id
    from recent
    where
        event_text = 'Product Viewed'
        and {{ revetl.json_decimal('properties', 'price') }} > 100
    except
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
