{# Both ends of an edge belong to one profile, or it is in revetl_identity_conflicts. #}
{% test edges_stay_in_one_profile(model) %}
with graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

conflicts as (

    select * from {{ ref('revetl', 'revetl_identity_conflicts') }}

),

torn as (

    select edges.*
    from {{ model }} as edges
    inner join graph as left_end
        on edges.left_id = left_end.identifier_id
    inner join graph as right_end
        on edges.right_id = right_end.identifier_id
    left join conflicts
        on edges.left_id = conflicts.left_id and edges.right_id = conflicts.right_id
    where
        edges.source <> 'cut'
        and left_end.canonical_id <> right_end.canonical_id
        and conflicts.left_id is null

)

select * from torn
{% endtest %}
