{{ config(
    materialized='patched', key='loser_node', stale='identity_touched', stale_key='node_id', tags=['identity_increment']
) }}

with merges as (

    select * from {{ ref('identity_merges') }}

),

nodes as (

    select loser_node as node_id from merges
    union
    select survivor_node as node_id from merges
    union
    select older_node as node_id from merges
    union
    select younger_node as node_id from merges

),

graph as (

    select
        identity_graph.node_id,
        identity_graph.identifier_id,
        identity_graph.identifier_type,
        identity_graph.identifier_value
    from {{ ref('identity_graph') }} as identity_graph
    inner join nodes
        on identity_graph.node_id = nodes.node_id

),

-- depends_on: {{ ref('identity_touched') }}
ends as (

    select
        merges.loser_node,
        merges.survivor_node,
        merges.merged_at,
        older.identifier_type as older_type,
        older.identifier_value as older_value,
        younger.identifier_type as younger_type,
        younger.identifier_value as younger_value
    from merges
    inner join graph as older
        on merges.older_node = older.node_id
    inner join graph as younger
        on merges.younger_node = younger.node_id

),

-- Either may be the left one in the message.
edges as (

    select
        loser_node,
        survivor_node,
        merged_at,
        older_type as left_type,
        older_value as left_value,
        younger_type as right_type,
        younger_value as right_value
    from ends
    union all
    select
        loser_node,
        survivor_node,
        merged_at,
        younger_type as left_type,
        younger_value as left_value,
        older_type as right_type,
        older_value as right_value
    from ends

),

sightings as (

    select * from {{ ref('identity_sightings') }}
    where timestamp in (select merged_at from merges)

),

messages as (

    select
        edges.*,
        sightings.source,
        sightings.message_id,
        row_number() over (
            partition by edges.loser_node
            order by
                sightings.message_id,
                sightings.source
        ) as message_number
    from edges
    inner join sightings
        on
            edges.merged_at = sightings.timestamp
            and edges.left_type = sightings.left_type
            and edges.left_value = sightings.left_value
            and edges.right_type = sightings.right_type
            and edges.right_value = sightings.right_value
    where sightings.source <> 'cut'

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
