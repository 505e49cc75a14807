-- A model is an audience when it has `meta.revetl` (in vip_customers.yml). Select from your own models here.
select 'c1' as customer_id, 'ada@example.com' as email, 120 as lifetime_value
union all
select 'c2' as customer_id, 'grace@example.com' as email, 310 as lifetime_value
