{{ config(materialized=revetl.view_kind()) }}

with left_out as (

    select * from {{ ref('revetl', 'int_revetl__identity_left_out') }}

),

graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

conflicts as (

    select
        left_end.identifier_type as left_type,
        left_end.identifier_value as left_value,
        left_end.identifier_id as left_id,
        left_end.canonical_id as left_canonical_id,
        right_end.identifier_type as right_type,
        right_end.identifier_value as right_value,
        right_end.identifier_id as right_id,
        right_end.canonical_id as right_canonical_id,
        left_out.kind,
        left_out.reason,
        left_out.limit_type,
        left_out.limit_window,
        left_out.limit_values,
        left_out.first_seen_at,
        left_out.last_seen_at,
        left_out.message_count
    from left_out
    inner join graph as left_end
        on left_out.left_node = left_end.node_id
    inner join graph as right_end
        on left_out.right_node = right_end.node_id

)

select * from conflicts
