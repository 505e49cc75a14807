{{ config(
    materialized='patched',
    meta={
        'key': 'loser_node', 'stale': 'int_revetl__identity_touched', 'stale_key': 'node_id',
        'stale_if': revetl.is_true('stale.is_regrouped')
    },
    tags=['identity_increment']
) }}

with merged as (

    select * from {{ ref('revetl', 'int_revetl__identity_merges') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_touched') }}
sightings as (

    select
        source,
        message_id,
        timestamp,
        left_node,
        right_node
    from {{ ref('revetl', 'int_revetl__identity_sightings') }}

),

-- Either end of the edge may be the left one in the message.
edges as (

    select
        loser_node,
        survivor_node,
        merged_at,
        older_node as left_node,
        younger_node as right_node
    from merged
    union all
    select
        loser_node,
        survivor_node,
        merged_at,
        younger_node as left_node,
        older_node as right_node
    from merged

),

messages as (

    select
        edges.*,
        sightings.source,
        sightings.message_id,
        row_number() over (
            partition by edges.loser_node
            order by
                {{ revetl.by_code_point('sightings.message_id') }},
                sightings.source
        ) as message_number
    from edges
    inner join sightings
        on
            edges.left_node = sightings.left_node
            and edges.right_node = sightings.right_node
            and edges.merged_at = sightings.timestamp
    where sightings.source <> 'cut'

),

firsts as (

    select * from messages
    where message_number = 1

),

nodes as (

    select loser_node as node_id from firsts
    {{ revetl.union_distinct() }}
    select survivor_node as node_id from firsts
    {{ revetl.union_distinct() }}
    select left_node as node_id from firsts
    {{ revetl.union_distinct() }}
    select right_node as node_id from firsts

),

graph as (

    select
        identity_graph.node_id,
        identity_graph.identifier_id,
        identity_graph.identifier_type,
        identity_graph.identifier_value
    from {{ ref('revetl', 'int_revetl__identity_graph') }} as identity_graph
    inner join nodes
        on identity_graph.node_id = nodes.node_id

),

named as (

    select
        losers.identifier_id as loser_id,
        survivors.identifier_id as survivor_id,
        firsts.merged_at,
        left_end.identifier_type as left_type,
        left_end.identifier_value as left_value,
        right_end.identifier_type as right_type,
        right_end.identifier_value as right_value,
        firsts.source,
        firsts.message_id,
        firsts.loser_node
    from firsts
    inner join graph as losers
        on firsts.loser_node = losers.node_id
    inner join graph as survivors
        on firsts.survivor_node = survivors.node_id
    inner join graph as left_end
        on firsts.left_node = left_end.node_id
    inner join graph as right_end
        on firsts.right_node = right_end.node_id

)

select * from named
