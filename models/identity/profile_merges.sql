{{ config(
    materialized='patched', key='loser_node', stale='identity_touched', stale_key='node_id', tags=['identity_increment']
) }}

with merges as (

    select * from {{ ref('identity_merges') }}

),

graph as (

    select * from {{ ref('identity_graph') }}

),

-- depends_on: {{ ref('identity_touched') }}
pairs as (

    select * from {{ ref('identity_pairs') }}
    where source <> 'cut'

),

-- The edge as it was seen: the higher identifier is the left one.
edges as (

    select
        merges.loser_node,
        merges.survivor_node,
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
            and merges.older_node = pairs.left_node
            and merges.younger_node = pairs.right_node
    union all
    select
        merges.loser_node,
        merges.survivor_node,
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
            and merges.younger_node = pairs.left_node
            and merges.older_node = pairs.right_node

),

sightings as (

    select * from {{ ref('identity_sightings') }}

),

messages as (

    select
        edges.*,
        sightings.message_id,
        row_number() over (
            partition by edges.loser_node
            order by
                sightings.message_id,
                edges.source
        ) as message_number
    from edges
    inner join sightings
        on
            edges.left_value = sightings.left_value
            and edges.right_value = sightings.right_value
            and edges.merged_at = sightings.timestamp
            and edges.left_type = sightings.left_type
            and edges.right_type = sightings.right_type
            and edges.source = sightings.source

),

named as (

    select
        losers.identifier_id as loser_id,
        survivors.identifier_id as survivor_id,
        messages.merged_at,
        messages.left_type,
        messages.left_value,
        messages.right_type,
        messages.right_value,
        messages.source,
        messages.message_id,
        messages.loser_node
    from messages
    inner join graph as losers
        on messages.loser_node = losers.node_id
    inner join graph as survivors
        on messages.survivor_node = survivors.node_id
    where messages.message_number = 1

)

select * from named
