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
        net_lifetime_value
    from profiles
    where
        user_id is not null
        and lifetime_value > 5000

)

select * from members
