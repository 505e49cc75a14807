with profiles as (

    select * from {{ ref('revetl', 'revetl_profiles') }}

),

members as (

    select
        user_id,
        canonical_id,
        email,
        country,
        lifetime_value
    from profiles
    where
        user_id is not null
        and {{ revetl.did('Product Viewed', within='7 days', where='properties.price > 100') }}
        and {{ revetl.did_not('Order Completed', within='7 days') }}

)

select * from members
