with events as (

    select * from {{ ref('event_profiles') }}
    where source = 'track'

),

-- The one scan of the events: everything below is made of it.
orders as (

    select
        message_id,
        event_text,
        timestamp,
        {{ revetl.json_decimal('properties', 'total') }} as total,
        properties
    from {{ ref('stg_tracks') }}
    where event_text in ('Order Completed', 'Order Refunded')

),

orders_of_profiles as (

    select
        events.canonical_id,
        orders.event_text,
        orders.timestamp,
        coalesce(orders.total, 0) as total,
        orders.properties
    from orders
    inner join events
        on orders.message_id = events.message_id

),

summed as (

    select
        canonical_id,
        count(case when event_text = 'Order Completed' then 1 end) as order_count,
        count(case when event_text = 'Order Refunded' then 1 end) as refund_count,
        sum(case when event_text = 'Order Completed' then total else 0 end) as lifetime_value,
        sum(case when event_text = 'Order Refunded' then total else 0 end) as refunded_value,
        min(case when event_text = 'Order Completed' then timestamp end) as first_order_at,
        max(case when event_text = 'Order Completed' then timestamp end) as last_order_at
    from orders_of_profiles
    group by canonical_id

),

order_lines as (

    select
        orders_of_profiles.canonical_id,
        nullif({{ revetl.trimmed(revetl.json_text(revetl.json_element('line'), 'name')) }}, '') as product
    from orders_of_profiles
    {{ revetl.join_json_elements('orders_of_profiles.properties', 'products', 'line') }}
    where orders_of_profiles.event_text = 'Order Completed'

),

product_counts as (

    select
        canonical_id,
        product,
        count(*) as times_ordered
    from order_lines
    where product is not null
    group by
        canonical_id,
        product

),

products_ranked as (

    select
        canonical_id,
        product,
        row_number() over (
            partition by canonical_id
            order by
                times_ordered desc,
                {{ revetl.by_code_point('product') }} asc
        ) as place
    from product_counts

),

most_frequent_products as (

    select
        canonical_id,
        product
    from products_ranked
    where place = 1

),

rhythms as (

    select
        *,
        {{ revetl.days_between('last_order_at', revetl.as_of()) }} as days_quiet,
        case
            when order_count > 1
                then {{ revetl.days_between('first_order_at', 'last_order_at') }} / (order_count - 1)
        end as mean_days_between_orders
    from summed

),

scored as (

    select
        *,
        case
            when order_count > 0 then {{ revetl.ratio('lifetime_value', 'order_count') }}
        end as average_order_value,
        case
            when order_count > 0
                -- A power too small for a number is an error on some engines; this one is small enough.
                then 1 - power(
                    0.5e0,
                    least(
                        greatest(days_quiet, 0) / greatest(
                            coalesce(mean_days_between_orders, {{ var('default_days_between_orders') }}),
                            {{ var('shortest_days_between_orders') }}
                        ),
                        1000
                    )
                )
        end as churn_risk
    from rhythms

),

traits as (

    select
        scored.canonical_id,
        scored.order_count,
        scored.refund_count,
        cast(scored.lifetime_value as decimal(18, 2)) as lifetime_value,
        cast(scored.refunded_value as decimal(18, 2)) as refunded_value,
        cast(scored.lifetime_value - scored.refunded_value as decimal(18, 2)) as net_lifetime_value,
        scored.first_order_at,
        scored.last_order_at,
        {{ revetl.as_decimal('scored.average_order_value', 18, 2) }} as average_order_value,
        most_frequent_products.product as most_frequent_product,
        cast(floor(scored.days_quiet) as bigint) as days_since_last_order,
        {{ revetl.as_decimal('scored.mean_days_between_orders', 18, 2) }} as mean_days_between_orders,
        {{ revetl.as_decimal('scored.churn_risk', 5, 4) }} as churn_risk_score
    from scored
    left join most_frequent_products
        on scored.canonical_id = most_frequent_products.canonical_id

)

select * from traits
