{{ config(materialized=revetl.table_kind()) }}

with all_nodes as (

    select * from {{ ref('revetl', 'int_revetl__identity_nodes') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('revetl', 'int_revetl__identity_touched') }}
    where {{ revetl.is_true('is_regrouped') }}

),

nodes as (

    select all_nodes.*
    from all_nodes
    inner join touched
        on all_nodes.node_id = touched.node_id

),
{% else %}
nodes as (

    select * from all_nodes

),
{% endif %}

rules as (

    select
        identifier_type,
        priority,
        least(
            coalesce(limit_ever, 9223372036854775807),
            coalesce(limit_week, 9223372036854775807),
            coalesce(limit_month, 9223372036854775807),
            coalesce(limit_year, 9223372036854775807)
        ) as least_limit
    from {{ ref('revetl', 'int_revetl__identity_rules') }}

),

cuts as (

    select
        left_node,
        right_node
    from {{ ref('revetl', 'int_revetl__identity_pairs') }}
    where source = 'cut'

),

counted as (

    select
        component_id,
        identifier_type,
        count(*) as identifier_count
    from nodes
    group by
        component_id,
        identifier_type

),

over_a_limit as (

    select counted.component_id
    from counted
    inner join rules
        on counted.identifier_type = rules.identifier_type
    where counted.identifier_count > rules.least_limit

),

-- A cut binds where both of its ends are in one component.
cut_ends as (

    select
        left_node as node_id,
        left_node,
        right_node
    from cuts
    union all
    select
        right_node as node_id,
        left_node,
        right_node
    from cuts

),

with_a_cut as (

    select min(nodes.component_id) as component_id
    from cut_ends
    inner join nodes
        on cut_ends.node_id = nodes.node_id
    group by
        cut_ends.left_node,
        cut_ends.right_node
    having count(*) = 2 and min(nodes.component_id) = max(nodes.component_id)

),

contested as (

    select component_id from over_a_limit
    {{ revetl.union_distinct() }}
    select component_id from with_a_cut

),

members as (

    select
        nodes.node_id,
        nodes.identifier_type,
        nodes.first_seen_at,
        rules.priority
    from nodes
    inner join contested
        on nodes.component_id = contested.component_id
    inner join rules
        on nodes.identifier_type = rules.identifier_type

),

contested_pairs as (

    select
        pairs.left_node,
        left_end.identifier_type as left_type,
        left_end.first_seen_at as left_seen_at,
        left_end.priority as left_priority,
        pairs.right_node,
        case when pairs.source in ('alias', 'cut') then pairs.source else 'seen' end as kind,
        pairs.first_seen_at,
        pairs.last_seen_at,
        pairs.message_count
    from {{ ref('revetl', 'int_revetl__identity_pairs') }} as pairs
    inner join members as left_end
        on pairs.left_node = left_end.node_id
    where pairs.left_node <> pairs.right_node

),

edges as (

    select
        contested_pairs.kind,
        contested_pairs.left_node,
        contested_pairs.left_type,
        contested_pairs.left_seen_at,
        contested_pairs.right_node,
        right_end.identifier_type as right_type,
        right_end.first_seen_at as right_seen_at,
        greatest(contested_pairs.left_priority, right_end.priority) as lower_priority,
        least(contested_pairs.left_priority, right_end.priority) as higher_priority,
        min(contested_pairs.first_seen_at) as first_seen_at,
        max(contested_pairs.last_seen_at) as last_seen_at,
        cast(sum(contested_pairs.message_count) as {{ revetl.type_of('bigint') }}) as message_count
    from contested_pairs
    inner join members as right_end
        on contested_pairs.right_node = right_end.node_id
    group by
        contested_pairs.kind,
        contested_pairs.left_node,
        contested_pairs.left_type,
        contested_pairs.left_seen_at,
        contested_pairs.left_priority,
        contested_pairs.right_node,
        right_end.identifier_type,
        right_end.first_seen_at,
        right_end.priority

)

select * from edges
