{{ config(
    materialized='patched',
    meta={'key': 'node_id', 'stale': 'int_revetl__identity_touched', 'stale_if': revetl.is_true('stale.is_regrouped')},
    tags=['identity_increment'],
    **revetl.storage(keys=['node_id'])
) }}

with all_nodes as (

    select * from {{ ref('revetl', 'int_revetl__identity_nodes') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_touched') }}
-- What is left out goes with the graph, for whoever builds the ancestors of an audience alone.
-- depends_on: {{ ref('revetl', 'int_revetl__identity_left_out') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('revetl', 'int_revetl__identity_touched') }}
    where {{ revetl.is_true('is_regrouped') }}

),

nodes as (

    select all_nodes.*
    from all_nodes
    inner join touched
        on all_nodes.node_id = touched.node_id

),

identifiers as (

    select all_identifiers.*
    from {{ ref('revetl', 'int_revetl__identity_identifiers') }} as all_identifiers
    inner join touched
        on all_identifiers.node_id = touched.node_id

),
{% else %}
nodes as (

    select * from all_nodes

),

identifiers as (

    select * from {{ ref('revetl', 'int_revetl__identity_identifiers') }}

),
{% endif %}

clusters as (

    select * from {{ ref('revetl', 'int_revetl__identity_clusters') }}

),

-- The oldest identifier of a profile names it, so that a merge keeps the older profile's id.
named as (

    select
        nodes.node_id,
        nodes.first_seen_at,
        first_value(nodes.node_id) over (
            partition by coalesce(clusters.cluster_id, nodes.component_id)
            order by
                nodes.first_seen_at,
                {{ revetl.identifier_rank('nodes.identifier_type') }},
                nodes.node_id
            rows between unbounded preceding and current row
        ) as profile_node
    from nodes
    left join clusters
        on nodes.node_id = clusters.node_id

),

placed as (

    select
        {{ revetl.identifier_id('identifiers.identifier_type', 'identifiers.identifier_value') }}
            as identifier_id,
        identifiers.identifier_type,
        identifiers.identifier_value,
        named.first_seen_at,
        named.node_id,
        named.profile_node
    from named
    inner join identifiers
        on named.node_id = identifiers.node_id

),

profiles as (

    select
        named.profile_node,
        {{ revetl.identifier_id('identifiers.identifier_type', 'identifiers.identifier_value') }}
            as canonical_id
    from named
    inner join identifiers
        on named.node_id = identifiers.node_id
    where named.node_id = named.profile_node

),

graph as (

    select
        placed.identifier_id,
        placed.identifier_type,
        placed.identifier_value,
        profiles.canonical_id,
        placed.first_seen_at,
        placed.node_id,
        placed.profile_node
    from placed
    inner join profiles
        on placed.profile_node = profiles.profile_node

)

select * from graph
