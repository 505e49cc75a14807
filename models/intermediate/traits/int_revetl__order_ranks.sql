{{ config(
    enabled=(var('order_traits', none) or {}) != {},
    materialized='made_when_stale',
    meta={
        'stale': 'int_revetl__trait_touched', 'made_of': 'int_revetl__event_traits', 'made_by': revetl.traits_hash(),
        'is_dated': true
    },
    tags=['trait_increment']
) }}

-- depends_on: {{ ref('revetl', 'int_revetl__trait_touched') }}
with buyers as (

    select * from {{ ref('revetl', 'int_revetl__event_traits') }}
    where order_count > 0

),

newest as (

    select max(as_of) as as_of
    from {{ ref('revetl', 'int_revetl__event_traits') }}

),

-- Five groups of as many people each, from 1 to 5, the best. Between equals the node decides.
ranks as (

    select
        buyers.canonical_id,
        buyers.order_count,
        buyers.first_order_at,
        buyers.last_order_at,
        ntile(5) over (order by buyers.last_order_at, buyers.profile_node) as recency_score,
        ntile(5) over (order by buyers.order_count, buyers.profile_node) as frequency_score,
        ntile(5) over (order by buyers.lifetime_value, buyers.profile_node) as monetary_score,
        newest.as_of,
        '{{ revetl.traits_hash() }}' as made_by
    from buyers
    cross join newest

)

select * from ranks
