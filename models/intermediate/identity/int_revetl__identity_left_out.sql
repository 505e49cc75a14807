{{ config(
    materialized='patched',
    meta={
        'key': 'left_node', 'stale': 'int_revetl__identity_touched', 'stale_key': 'node_id',
        'stale_if': revetl.is_true('stale.is_regrouped')
    },
    tags=['identity_increment']
) }}

{% set windows = revetl.limits_within_days() %}

with clusters as (

    select * from {{ ref('revetl', 'int_revetl__identity_clusters') }}

),

nodes as (

    select * from {{ ref('revetl', 'int_revetl__identity_nodes') }}

),

-- depends_on: {{ ref('revetl', 'int_revetl__identity_touched') }}
members as (

    select
        clusters.cluster_id,
        clusters.unit_id,
        nodes.node_id,
        nodes.identifier_type,
        nodes.first_seen_at
    from clusters
    inner join nodes
        on clusters.node_id = nodes.node_id

),

limits as (

    select * from {{ ref('revetl', 'int_revetl__identity_rules') }}

),

pairs as (

    select
        contested.kind,
        contested.left_node,
        left_end.cluster_id as left_cluster,
        contested.right_node,
        right_end.cluster_id as right_cluster,
        contested.first_seen_at,
        contested.last_seen_at,
        contested.message_count
    from {{ ref('revetl', 'int_revetl__identity_contested') }} as contested
    inner join members as left_end
        on contested.left_node = left_end.node_id
    inner join members as right_end
        on contested.right_node = right_end.node_id
    where left_end.cluster_id <> right_end.cluster_id

),

-- Every two profiles that an edge would have merged.
between_profiles as (

    select distinct
        left_cluster,
        right_cluster
    from pairs
    where kind <> 'cut'

),

-- What aliases make one is one value.
found_values as (

    select
        cluster_id,
        identifier_type,
        unit_id,
        min(first_seen_at) as first_seen_at
    from members
    group by
        cluster_id,
        identifier_type,
        unit_id

),

counts as (

    select
        cluster_id,
        identifier_type,
        count(*) as value_count
    from found_values
    group by
        cluster_id,
        identifier_type

),

-- A side at a time: with both at once, some engines would first join all counts of a type with each other.
sides as (

    select
        between_profiles.left_cluster,
        between_profiles.right_cluster,
        counts.identifier_type,
        counts.value_count
    from between_profiles
    inner join counts
        on between_profiles.left_cluster = counts.cluster_id
    union all
    select
        between_profiles.left_cluster,
        between_profiles.right_cluster,
        counts.identifier_type,
        counts.value_count
    from between_profiles
    inner join counts
        on between_profiles.right_cluster = counts.cluster_id

),

sums as (

    select
        left_cluster,
        right_cluster,
        identifier_type,
        sum(value_count) as value_count
    from sides
    group by
        left_cluster,
        right_cluster,
        identifier_type
    having count(*) = 2

),

{% if windows -%}
together as (

    select
        between_profiles.*,
        found_values.identifier_type,
        found_values.first_seen_at
    from between_profiles
    inner join found_values
        on between_profiles.left_cluster = found_values.cluster_id
    union all
    select
        between_profiles.*,
        found_values.identifier_type,
        found_values.first_seen_at
    from between_profiles
    inner join found_values
        on between_profiles.right_cluster = found_values.cluster_id

),
{%- endif %}

cuts as (

    select
        left_cluster,
        right_cluster
    from pairs
    where kind = 'cut'
    {{ revetl.union_distinct() }}
    select
        right_cluster as left_cluster,
        left_cluster as right_cluster
    from pairs
    where kind = 'cut'

),

reasons as (

    select
        between_profiles.left_cluster,
        between_profiles.right_cluster,
        'cut' as reason,
        cast(null as {{ revetl.type_of('varchar') }}) as limit_type,
        cast(null as {{ revetl.type_of('varchar') }}) as limit_window,
        cast(null as {{ revetl.type_of('bigint') }}) as limit_values
    from between_profiles
    inner join cuts
        on
            between_profiles.left_cluster = cuts.left_cluster
            and between_profiles.right_cluster = cuts.right_cluster
    union all
    select
        sums.left_cluster,
        sums.right_cluster,
        'limit' as reason,
        limits.identifier_type as limit_type,
        'ever' as limit_window,
        limits.limit_ever as limit_values
    from sums
    inner join limits
        on sums.identifier_type = limits.identifier_type
    where sums.value_count > limits.limit_ever
    {% for limit in windows -%}
    union all
    select distinct
        left_cluster,
        right_cluster,
        'limit' as reason,
        '{{ limit.type }}' as limit_type,
        '{{ limit.window }}' as limit_window,
        {{ limit.most }} as limit_values
    from (
        select
            left_cluster,
            right_cluster,
            first_seen_at,
            lead(first_seen_at, {{ limit.most }}) over (
                partition by left_cluster, right_cluster
                order by first_seen_at
            ) as one_too_many_at
        from together
        where identifier_type = '{{ limit.type }}'
    ) as in_order
    where {{ revetl.days_before('one_too_many_at', limit.days) }} < first_seen_at
    {% endfor %}

),

left_out as (

    select
        pairs.kind,
        pairs.left_node,
        pairs.right_node,
        pairs.first_seen_at,
        pairs.last_seen_at,
        pairs.message_count,
        reasons.reason,
        reasons.limit_type,
        reasons.limit_window,
        reasons.limit_values
    from pairs
    inner join reasons
        on
            pairs.left_cluster = reasons.left_cluster
            and pairs.right_cluster = reasons.right_cluster
            and (pairs.kind <> 'alias' or reasons.reason = 'cut')
    where pairs.kind <> 'cut'

)

select * from left_out
