-- A model with `meta.revetl` (in vip_customers.yml) is an audience. Replace this query with one on your models.
select 'c1' as customer_id, 'ada@example.com' as email, 120 as lifetime_value
union all
select 'c2' as customer_id, 'grace@example.com' as email, 310 as lifetime_value
