{{ config(
    materialized='patched',
    meta={'key': 'node_id', 'stale': 'int_revetl__identity_touched'},
    tags=['identity_increment'],
    **revetl.storage(keys=['node_id'])
) }}

with components as (

    select * from {{ ref('revetl', 'int_revetl__identity_components') }}

),

all_pairs as (

    select
        left_node,
        left_type,
        right_node,
        right_type,
        first_seen_at,
        last_seen_at
    from {{ ref('revetl', 'int_revetl__identity_pairs') }}
    where source <> 'cut'

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('revetl', 'int_revetl__identity_touched') }}
    where {{ revetl.is_true('is_seen') }}

),

{% endif %}

ends as (

    select
        left_node as node_id,
        left_type as identifier_type,
        first_seen_at,
        last_seen_at
    from all_pairs
    union all
    select
        right_node as node_id,
        right_type as identifier_type,
        first_seen_at,
        last_seen_at
    from all_pairs
    where left_node <> right_node

),

{% if revetl.identity_increment() -%}
looked_at as (

    select ends.*
    from ends
    inner join touched
        on ends.node_id = touched.node_id

),
{%- else -%}
looked_at as (

    select * from ends

),
{%- endif %}

seen as (

    select
        node_id,
        min(identifier_type) as identifier_type,
        min(first_seen_at) as first_seen_at,
        max(last_seen_at) as last_seen_at
    from looked_at
    group by node_id

),

nodes as (

    select
        seen.node_id,
        seen.identifier_type,
        seen.first_seen_at,
        seen.last_seen_at,
        components.component_id
    from seen
    inner join components
        on seen.node_id = components.node_id

)

select * from nodes
