{{ config(materialized='connected_components', key='node_id', stale='identity_touched', stale_key='identifier_id',
    tags=['identity_increment']) }}

with pairs as (

    select * from {{ ref('identity_pairs') }}
    where source <> 'cut'

),

-- depends_on: {{ ref('identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('identity_touched') }}
    where is_seen

),

edges as (

    select
        left_end.label as left_id,
        right_end.label as right_id
    from pairs
    inner join touched as left_end
        on pairs.left_id = left_end.identifier_id
    inner join touched as right_end
        on pairs.right_id = right_end.identifier_id
    where left_end.label <> right_end.label
    union all
    select
        label as left_id,
        label as right_id
    from touched

)
{% else %}
edges as (

    select
        left_id,
        right_id
    from pairs

)
{% endif %}

select * from edges
