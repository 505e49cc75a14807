{{ config(
    materialized='patched',
    meta={'key': 'node_id', 'stale': 'int_revetl__identity_touched', 'stale_if': revetl.is_true('stale.is_changed')},
    tags=['identity_increment'],
    **revetl.storage(keys=['node_id'])
) }}

{% set increment = revetl.identity_increment() %}

{% set changes = ref('revetl', 'int_revetl__identity_changes') %}
-- depends_on: {{ ref('revetl', 'int_revetl__identity_touched') }}
with pairs as (

    select
        left_node,
        left_type,
        left_value,
        right_node,
        right_type,
        right_value
    from {{ changes if increment else ref('revetl', 'int_revetl__identity_pairs') }}
    {%- if not increment %}
    where source <> 'cut'
    {%- endif %}

),

-- Two identifiers with one node_id (one chance in 10^5 for ten million) would be two rows, and fail a test.
identifiers as (

    select
        left_node as node_id,
        left_type as identifier_type,
        left_value as identifier_value
    from pairs
    {{ revetl.union_distinct() }}
    select
        right_node as node_id,
        right_type as identifier_type,
        right_value as identifier_value
    from pairs
    where left_node <> right_node

),
{% if increment %}
touched as (

    select * from {{ ref('revetl', 'int_revetl__identity_touched') }}
    where {{ revetl.is_true('is_seen') }} and {{ revetl.is_true('is_changed') }}

),

seen as (

    select identifiers.*
    from identifiers
    inner join touched
        on identifiers.node_id = touched.node_id

)
{% else %}
seen as (

    select * from identifiers

)
{% endif %}

select * from seen
