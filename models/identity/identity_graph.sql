{{ config(materialized='patched', key='node_id', stale='identity_touched', tags=['identity_increment']) }}

with all_nodes as (

    select * from {{ ref('identity_nodes') }}

),

all_pairs as (

    select
        left_node,
        left_type,
        left_value,
        right_node,
        right_type,
        right_value
    from {{ ref('identity_pairs') }}
    where source <> 'cut'

),

-- depends_on: {{ ref('identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('identity_touched') }}

),

nodes as (

    select all_nodes.*
    from all_nodes
    inner join touched
        on all_nodes.node_id = touched.node_id

),

pairs as (

    select all_pairs.*
    from all_pairs
    inner join touched
        on all_pairs.left_node = touched.node_id

),
{% else %}
nodes as (

    select * from all_nodes

),

pairs as (

    select * from all_pairs

),
{% endif %}

-- Two identifiers with one node_id (one chance in 10^5 for ten million) would be two rows here, and fail a test.
identifiers as (

    select
        left_node as node_id,
        left_type as identifier_type,
        left_value as identifier_value
    from pairs
    union
    select
        right_node as node_id,
        right_type as identifier_type,
        right_value as identifier_value
    from pairs
    where left_node <> right_node

),

clusters as (

    select * from {{ ref('identity_clusters') }}

),

-- The oldest identifier of a profile names it, so that a merge keeps the older profile's id.
named as (

    select
        nodes.node_id,
        nodes.first_seen_at,
        nodes.last_seen_at,
        first_value(nodes.node_id) over (
            partition by coalesce(clusters.cluster_id, nodes.component_id)
            order by
                nodes.first_seen_at,
                {{ revetl.identifier_rank('nodes.identifier_type') }},
                nodes.node_id
        ) as profile_node
    from nodes
    left join clusters
        on nodes.node_id = clusters.node_id

),

graph as (

    select
        {{ revetl.identifier_id('identifiers.identifier_type', 'identifiers.identifier_value') }} as identifier_id,
        identifiers.identifier_type,
        identifiers.identifier_value,
        {{ revetl.identifier_id('oldest.identifier_type', 'oldest.identifier_value') }} as canonical_id,
        named.first_seen_at,
        named.last_seen_at,
        named.node_id,
        named.profile_node
    from named
    inner join identifiers
        on named.node_id = identifiers.node_id
    inner join identifiers as oldest
        on named.profile_node = oldest.node_id

)

select * from graph
