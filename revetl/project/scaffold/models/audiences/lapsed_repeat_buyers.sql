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
        last_order_at
    from profiles
    where
        user_id is not null
        and order_count >= 2
        and last_order_at < {{ revetl.days_before(revetl.as_of(), 60) }}

)

select * from members
