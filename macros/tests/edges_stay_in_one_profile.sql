{# Both ends of a pair belong to one profile, or it is left out (revetl_identity_conflicts). By nodes: pairs are many, and
   the ids of identifiers long. #}
{% test edges_stay_in_one_profile(model) %}
with graph as (

    select
        node_id,
        profile_node
    from {{ model }}

),

pairs as (

    select
        source,
        left_node,
        right_node
    from {{ ref('revetl', 'int_revetl__identity_pairs') }}
    where source <> 'cut' and left_node <> right_node

),

left_out as (

    select
        left_node,
        right_node
    from {{ ref('revetl', 'int_revetl__identity_left_out') }}

),

torn as (

    select pairs.*
    from pairs
    inner join graph as left_end
        on pairs.left_node = left_end.node_id
    inner join graph as right_end
        on pairs.right_node = right_end.node_id
    left join left_out
        on pairs.left_node = left_out.left_node and pairs.right_node = left_out.right_node
    where
        left_end.profile_node <> right_end.profile_node
        and left_out.left_node is null

)

select * from torn
{% endtest %}
