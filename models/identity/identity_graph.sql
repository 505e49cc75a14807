{{ config(materialized='patched', key='node_id', stale='identity_touched', tags=['identity_increment']) }}

with all_identifiers as (

    select * from {{ ref('identity_identifiers') }}

),

-- depends_on: {{ ref('identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('identity_touched') }}

),

identifiers as (

    select all_identifiers.*
    from all_identifiers
    inner join touched
        on all_identifiers.node_id = touched.node_id

),
{% else %}
identifiers as (

    select * from all_identifiers

),
{% endif %}

clusters as (

    select * from {{ ref('identity_clusters') }}

),

placed as (

    select
        identifiers.node_id,
        {{ revetl.identifier_id('identifiers.identifier_type', 'identifiers.identifier_value') }} as identifier_id,
        identifiers.identifier_type,
        identifiers.identifier_value,
        identifiers.first_seen_at,
        identifiers.last_seen_at,
        coalesce(clusters.cluster_id, identifiers.component_id) as cluster_id
    from identifiers
    left join clusters
        on identifiers.node_id = clusters.node_id

),

-- The oldest identifier of a profile names it, so that a merge keeps the older profile's id.
named as (

    select
        *,
        first_value(identifier_id) over (
            partition by cluster_id
            order by
                first_seen_at,
                {{ revetl.identifier_rank('identifier_type') }},
                identifier_value
        ) as canonical_id
    from placed

),

graph as (

    select
        identifier_id,
        identifier_type,
        identifier_value,
        canonical_id,
        first_seen_at,
        last_seen_at,
        node_id
    from named

)

select * from graph
