{{ config(materialized='table') }}

with all_identifiers as (

    select * from {{ ref('identity_identifiers') }}

),

-- depends_on: {{ ref('identity_touched') }}
{% if revetl.identity_increment() %}
touched as (

    select * from {{ ref('identity_touched') }}

),

identifiers as (

    select all_identifiers.*
    from all_identifiers
    inner join touched
        on all_identifiers.identifier_id = touched.identifier_id

),
{% else %}
identifiers as (

    select * from all_identifiers

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
    from {{ ref('identity_rules') }}

),

pairs as (

    select * from {{ ref('identity_pairs') }}

),

counted as (

    select
        component_id,
        identifier_type,
        count(*) as identifier_count
    from identifiers
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

with_a_cut as (

    select left_end.component_id
    from pairs
    inner join identifiers as left_end
        on pairs.left_id = left_end.identifier_id
    inner join identifiers as right_end
        on pairs.right_id = right_end.identifier_id and left_end.component_id = right_end.component_id
    where pairs.source = 'cut'

),

contested as (

    select component_id from over_a_limit
    union
    select component_id from with_a_cut

),

members as (

    select
        identifiers.identifier_id,
        identifiers.identifier_type,
        identifiers.first_seen_at,
        rules.priority
    from identifiers
    inner join contested
        on identifiers.component_id = contested.component_id
    inner join rules
        on identifiers.identifier_type = rules.identifier_type

),

kinds as (

    select
        left_id,
        right_id,
        case when source in ('alias', 'cut') then source else 'seen' end as kind,
        min(first_seen_at) as first_seen_at
    from pairs
    where left_id <> right_id
    group by
        left_id,
        right_id,
        case when source in ('alias', 'cut') then source else 'seen' end

),

edges as (

    select
        kinds.kind,
        kinds.left_id,
        left_end.identifier_type as left_type,
        left_end.first_seen_at as left_seen_at,
        kinds.right_id,
        right_end.identifier_type as right_type,
        right_end.first_seen_at as right_seen_at,
        greatest(left_end.priority, right_end.priority) as lower_priority,
        least(left_end.priority, right_end.priority) as higher_priority,
        kinds.first_seen_at
    from kinds
    inner join members as left_end
        on kinds.left_id = left_end.identifier_id
    inner join members as right_end
        on kinds.right_id = right_end.identifier_id

)

select * from edges
