{{ config(
    materialized='connected_components',
    meta={'key': 'node_id', 'stale': 'int_revetl__identity_touched', 'stale_if': revetl.is_true('stale.is_regrouped')},
    tags=['identity_increment'],
    **revetl.storage(keys=['node_id'])
) }}

with pairs as (

    select * from {{ ref('revetl', 'int_revetl__identity_pairs') }}
    where source <> 'cut'

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('revetl', 'int_revetl__identity_touched') }}
    where {{ revetl.is_true('is_seen') }} and {{ revetl.is_true('is_regrouped') }}

),

edges as (

    select
        left_end.label as left_node,
        right_end.label as right_node
    from pairs
    inner join touched as left_end
        on pairs.left_node = left_end.node_id
    inner join touched as right_end
        on pairs.right_node = right_end.node_id
    where left_end.label <> right_end.label
    union all
    select
        label as left_node,
        label as right_node
    from touched

)
{% else %}
edges as (

    select
        left_node,
        right_node
    from pairs

)
{% endif %}

select * from edges
