{{ config(materialized=revetl.view_kind()) }}

with pairs as (

    select * from {{ ref('revetl', 'int_revetl__identity_pairs') }}

),

edges as (

    select
        left_type,
        left_value,
        {{ revetl.identifier_id('left_type', 'left_value') }} as left_id,
        right_type,
        right_value,
        {{ revetl.identifier_id('right_type', 'right_value') }} as right_id,
        source,
        first_seen_at,
        last_seen_at,
        message_count
    from pairs
    where left_node <> right_node

)

select * from edges
