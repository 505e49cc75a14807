{# Both ends of an edge belong to one profile. #}
{% test edges_stay_in_one_profile(model) %}
with graph as (

    select * from {{ ref('revetl', 'identity_graph') }}

),

torn as (

    select edges.*
    from {{ model }} as edges
    inner join graph as left_end
        on edges.left_id = left_end.identifier_id
    inner join graph as right_end
        on edges.right_id = right_end.identifier_id
    where left_end.canonical_id <> right_end.canonical_id

)

select * from torn
{% endtest %}
