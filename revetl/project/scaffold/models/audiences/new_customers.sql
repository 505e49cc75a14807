-- An audience is a model: edit the query, run `dbt build`, and check `revetl plan`.
select
    user_id,
    email,
    country,
    first_order_at,
    lifetime_value
from {{ ref('revetl', 'revetl_profiles') }}
where
    user_id is not null
    and first_order_at > {{ revetl.days_before(revetl.as_of(), 30) }}
