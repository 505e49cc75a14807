{{ config(
    materialized='patched', key='loser_id', stale='identity_touched', stale_key='identifier_id', tags=['identity_increment']
) }}

with merges as (

    select * from {{ ref('identity_merges') }}

),

-- depends_on: {{ ref('identity_touched') }}
pairs as (

    select * from {{ ref('identity_pairs') }}
    where source <> 'cut'

),

-- The edge as it was seen: the higher identifier is the left one.
edges as (

    select
        merges.loser_id,
        merges.survivor_id,
        merges.merged_at,
        pairs.left_type,
        pairs.left_value,
        pairs.right_type,
        pairs.right_value,
        pairs.source
    from merges
    inner join pairs
        on
            merges.merged_at = pairs.first_seen_at
            and merges.left_id = pairs.left_id
            and merges.right_id = pairs.right_id
    union all
    select
        merges.loser_id,
        merges.survivor_id,
        merges.merged_at,
        pairs.left_type,
        pairs.left_value,
        pairs.right_type,
        pairs.right_value,
        pairs.source
    from merges
    inner join pairs
        on
            merges.merged_at = pairs.first_seen_at
            and merges.right_id = pairs.left_id
            and merges.left_id = pairs.right_id

),

sightings as (

    select * from {{ ref('identity_sightings') }}

),

messages as (

    select
        edges.*,
        sightings.message_id,
        row_number() over (
            partition by edges.loser_id
            order by
                sightings.message_id,
                edges.source
        ) as message_number
    from edges
    inner join sightings
        on
            edges.merged_at = sightings.timestamp
            and edges.left_type = sightings.left_type
            and edges.left_value = sightings.left_value
            and edges.right_type = sightings.right_type
            and edges.right_value = sightings.right_value
            and edges.source = sightings.source

),

named as (

    select
        loser_id,
        survivor_id,
        merged_at,
        left_type,
        left_value,
        right_type,
        right_value,
        source,
        message_id
    from messages
    where message_number = 1

)

select * from named
