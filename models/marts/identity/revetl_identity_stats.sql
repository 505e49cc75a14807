{{ config(materialized=revetl.view_kind()) }}

with graph as (

    select * from {{ ref('revetl', 'int_revetl__identity_graph') }}

),

limits as (

    select * from {{ ref('revetl', 'int_revetl__identity_rules') }}

),

of_a_type as (

    select
        canonical_id,
        identifier_type,
        count(*) as identifier_count
    from graph
    group by
        canonical_id,
        identifier_type

),

sizes as (

    select * from of_a_type
    union all
    select
        canonical_id,
        'all' as identifier_type,
        cast(sum(identifier_count) as {{ revetl.type_of('bigint') }}) as identifier_count
    from of_a_type
    group by canonical_id

),

counted as (

    select
        identifier_type,
        identifier_count,
        count(*) as profile_count,
        min(canonical_id) as example_canonical_id
    from sizes
    group by
        identifier_type,
        identifier_count

),

stats as (

    select
        counted.identifier_type,
        counted.identifier_count,
        counted.profile_count,
        counted.example_canonical_id,
        limits.limit_ever,
        {{ revetl.truth(
            'limits.limit_ever is not null and counted.identifier_count >= 0.8 * limits.limit_ever'
        ) }} as is_near_limit,
        {{ revetl.truth(
            'counted.identifier_count = max(counted.identifier_count) over (partition by counted.identifier_type)'
        ) }} as is_largest
    from counted
    left join limits
        on counted.identifier_type = limits.identifier_type

)

select * from stats
