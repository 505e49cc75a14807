{# No profile has more values of an identifier than its limit, where it has no aliases, nor both ends of a cut. #}
{% test profiles_keep_their_limits(model) %}
with graph as (

    select * from {{ model }}

),

pairs as (

    select * from {{ ref('revetl', 'int_revetl__identity_pairs') }}

),

-- What aliases make one counts as one value, so the profiles that have some are left to the other tests.
aliased as (

    select distinct graph.canonical_id
    from pairs
    inner join graph
        on pairs.left_node = graph.node_id
    where pairs.source = 'alias'

),

counted as (

    select
        canonical_id,
        identifier_type,
        count(*) as identifier_count
    from graph
    group by
        canonical_id,
        identifier_type

),

over_a_limit as (

    select counted.canonical_id
    from counted
    inner join {{ ref('revetl', 'int_revetl__identity_rules') }} as rules
        on counted.identifier_type = rules.identifier_type
    left join aliased
        on counted.canonical_id = aliased.canonical_id
    where aliased.canonical_id is null and counted.identifier_count > rules.limit_ever

),

joined_in_spite_of_a_cut as (

    select left_end.canonical_id
    from pairs
    inner join graph as left_end
        on pairs.left_node = left_end.node_id
    inner join graph as right_end
        on pairs.right_node = right_end.node_id and left_end.profile_node = right_end.profile_node
    where pairs.source = 'cut'

)

select canonical_id from over_a_limit
union all
select canonical_id from joined_in_spite_of_a_cut
{% endtest %}
