with profiles as (

    select * from {{ ref('revetl', 'revetl_profiles') }}

),

members as (

    select
        user_id,
        canonical_id,
        email,
        country,
        order_count,
        lifetime_value,
        days_since_last_order,
        mean_days_between_orders,
        churn_risk_score
    from profiles
    where
        user_id is not null
        and order_count >= 2
        and churn_risk_score >= 0.8

)

select * from members
