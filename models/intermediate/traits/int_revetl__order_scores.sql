{{ config(materialized=revetl.view_kind(), enabled=(var('order_traits', none) or {}) != {}) }}

with buyers as (

    select * from {{ ref('revetl', 'int_revetl__order_ranks') }}

),

rhythms as (

    select
        *,
        {{ revetl.days_between('last_order_at', revetl.as_of()) }} as days_quiet,
        coalesce(
            case
                when order_count > 1
                    then {{ revetl.days_between('first_order_at', 'last_order_at') }} / (order_count - 1)
            end,
            {{ var('default_days_between_orders') }}
        ) as days_between_orders
    from buyers

),

believed as (

    select
        *,
        greatest(days_between_orders, {{ var('shortest_days_between_orders') }}) as rhythm
    from rhythms

),

scores as (

    select
        canonical_id,
        recency_score,
        frequency_score,
        monetary_score,
        {{ dbt.concat([
            'cast(recency_score as ' ~ revetl.type_of('varchar') ~ ')',
            'cast(frequency_score as ' ~ revetl.type_of('varchar') ~ ')',
            'cast(monetary_score as ' ~ revetl.type_of('varchar') ~ ')'
        ]) }} as rfm_score,
        -- A power too small for a number is an error on some engines; this one is small enough.
        {{ revetl.as_decimal('1 - power(0.5e0, least(greatest(days_quiet, 0) / rhythm, 1000))', 5, 4) }}
            as churn_risk_score,
        {{ revetl.seconds_after('last_order_at', 'rhythm * 86400') }} as predicted_next_order_at
    from believed

)

select * from scores
