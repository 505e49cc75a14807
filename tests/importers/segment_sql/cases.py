"""SQL as people write it, and who is to be a member by it; worked out by hand from the world's story."""
# ruff: noqa: E501  (SQL as it is written)

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """A query in a dialect, and its members."""

    dialect: str
    sql: str
    members: str


CANONICAL = """\
SELECT user_id FROM tracks WHERE event = 'Product Viewed' AND properties.price > 100 AND timestamp > CURRENT_DATE - INTERVAL '7 days'
EXCEPT
SELECT user_id FROM tracks WHERE event = 'Order Completed' AND timestamp > CURRENT_DATE - INTERVAL '7 days'
"""
VIEWED = "SELECT user_id FROM tracks WHERE event = 'Product Viewed'"
ORDERED = "SELECT user_id FROM tracks WHERE event = 'Order Completed'"

CASES = {
    "canonical": Case("duckdb", CANONICAL, "ann eve"),
    # Sets.
    "viewed": Case("duckdb", VIEWED, "ann bob cat dan eve fay"),
    "intersect": Case("duckdb", f"{VIEWED} INTERSECT {ORDERED}", "bob fay"),
    "union_": Case("postgres", f"{ORDERED} UNION {VIEWED} UNION ALL {VIEWED}", "ann bob cat dan eve fay gus"),
    "minus_": Case("snowflake", f"{VIEWED} MINUS {ORDERED}", "ann cat dan eve"),
    "not_in": Case("duckdb", f"{VIEWED} AND user_id NOT IN ({ORDERED})", "ann cat dan eve"),
    "not_in_snowflake": Case("snowflake", f"{VIEWED} AND user_id NOT IN ({ORDERED})", "ann cat dan eve"),
    "in_with_not_null": Case(
        "redshift", f"{VIEWED} AND user_id IN ({ORDERED} AND user_id IS NOT NULL)", "bob fay"
    ),
    "not_exists": Case(
        "postgres",
        "SELECT DISTINCT t.user_id FROM tracks t WHERE t.event = 'Product Viewed' AND NOT EXISTS "
        "(SELECT * FROM tracks o WHERE o.event = 'Order Completed' AND o.user_id = t.user_id)",
        "ann cat dan eve",
    ),
    "correlated": Case(
        "redshift",
        "SELECT t.user_id FROM tracks t WHERE EXISTS (SELECT 1 FROM pages WHERE pages.user_id = t.user_id "
        "AND pages.timestamp >= t.timestamp) AND (SELECT count(*) FROM pages p WHERE p.user_id = t.user_id) = 1",
        "hal",
    ),
    "anti_join": Case(
        "redshift",
        "SELECT v.user_id FROM prod.product_viewed v LEFT JOIN prod.order_completed o "
        "ON v.user_id = o.user_id WHERE o.user_id IS NULL",
        "ann cat dan eve",
    ),
    # Groups.
    "three_orders": Case("duckdb", f"{ORDERED} GROUP BY user_id HAVING count(*) >= 3", "gus"),
    "spent": Case(
        "snowflake",
        "SELECT user_id, SUM(properties:total) AS spent FROM tracks WHERE event = 'Order Completed' "
        "GROUP BY 1 HAVING SUM(properties:total) > 25 ORDER BY spent DESC",
        "fay gus",
    ),
    "named_in_having": Case(
        "snowflake",
        "SELECT user_id, SUM(IFF(event = 'Order Completed', properties:total::number(10, 2), 0)) AS ltv "
        "FROM tracks GROUP BY user_id HAVING ltv > 100",
        "gus",
    ),
    "first_of_each": Case(
        "postgres",
        "SELECT DISTINCT ON (user_id) user_id, properties->>'total' AS first_total FROM tracks "
        "WHERE event = 'Order Completed' ORDER BY user_id, timestamp",
        "bob fay gus",
    ),
    "either_id": Case(
        "bigquery",
        "SELECT COALESCE(user_id, anonymous_id) AS who, COUNT(*) AS n FROM tracks "
        "WHERE event = 'Order Completed' GROUP BY who",
        "bob fay gus",
    ),
    "anonymous": Case("duckdb", f"{VIEWED} AND user_id IS NULL", "eve"),
    "as_known_by_id": Case("duckdb", f"{VIEWED} AND user_id LIKE 'a%'", "ann"),
    "ranked": Case(
        "snowflake",
        "SELECT user_id FROM tracks WHERE event = 'Order Completed' "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY timestamp) = 2",
        "gus",
    ),
    # Joins, CTEs and subqueries.
    "two_event_tables": Case(
        "bigquery",
        "SELECT v.user_id FROM `prod.product_viewed` v JOIN `prod.order_completed` o USING (user_id) "
        "WHERE o.timestamp > v.timestamp AND o.total < 25",
        "bob",
    ),
    "steps": Case(
        "snowflake",
        """
        WITH views AS (
            SELECT user_id, MAX(properties:price::FLOAT) AS dearest, COUNT(*) AS n
            FROM prod.tracks WHERE event = 'Product Viewed' GROUP BY user_id
        ), orders AS (SELECT user_id FROM prod.order_completed)
        SELECT views.user_id, dearest FROM views
        WHERE dearest >= 150 AND views.user_id NOT IN (SELECT user_id FROM orders)
        """,
        "ann dan eve",
    ),
    "typed_where_it_is_used": Case(
        "databricks",
        "WITH v AS (SELECT user_id, properties:price AS p FROM tracks WHERE event = 'Product Viewed') "
        "SELECT user_id FROM v WHERE p > 99.5 AND p < 200",
        "ann fay",
    ),
    "derived": Case(
        "postgres",
        "SELECT x.user_id FROM (SELECT user_id, count(*) AS n FROM order_completed GROUP BY user_id) AS x "
        "WHERE x.n = 1",
        "bob fay",
    ),
    "a_step_called_tracks": Case(
        "duckdb",
        "WITH tracks AS (SELECT * FROM prod.tracks WHERE event = 'order_completed') "
        "SELECT user_id FROM tracks WHERE properties.total > 25 AND context_page_path IS NULL",
        "fay gus",
    ),
    # People and the project's own tables.
    "users": Case(
        "postgres",
        "SELECT id FROM users WHERE email LIKE '%@example.com' AND id <> 'ann'",
        "bob cat dan eve fay gus hal",
    ),
    "users_joined": Case(
        "redshift",
        "SELECT u.id, u.email FROM prod.users u JOIN prod.order_completed o ON u.id = o.user_id "
        "WHERE o.total = 30.5",
        "fay",
    ),
    "plan_of_identifies": Case(
        "snowflake", "SELECT user_id FROM prod.identifies WHERE plan = 'pro'", "bob eve gus"
    ),
    "own_table": Case(
        "snowflake",
        "SELECT t.user_id FROM tracks t JOIN shop.vip v ON v.customer_id = t.user_id "
        "WHERE t.event = 'Order Completed' AND v.tier = 'gold'",
        "gus",
    ),
    "not_in_own_table": Case("duckdb", f"{ORDERED} AND user_id NOT IN (SELECT customer_id FROM vip)", "fay"),
    "union_with_own_table": Case(
        "duckdb",
        f"SELECT customer_id AS user_id FROM vip UNION {VIEWED} AND properties.price > 400",
        "gus bob dan",
    ),
    "pages_seen": Case(
        "redshift", "SELECT user_id FROM pages WHERE url LIKE '%/pricing' AND name = 'Pricing'", "hal"
    ),
    # Events by either of their names.
    "snake_case": Case("duckdb", "SELECT user_id FROM tracks WHERE event = 'signup'", "hal"),
    "both_names": Case(
        "duckdb", "SELECT user_id FROM tracks WHERE event IN ('Order Completed', 'signup')", "bob fay gus hal"
    ),
    "like_event": Case("postgres", "SELECT user_id FROM tracks WHERE event LIKE 'Order%'", "bob fay gus"),
    "event_of_a_step": Case(
        "duckdb",
        "WITH e AS (SELECT user_id, event FROM tracks) SELECT user_id FROM e WHERE event = 'Order Completed'",
        "bob fay gus",
    ),
    # Documents, in everybody's way.
    "json_postgres": Case(
        "postgres", f"{VIEWED} AND (properties->>'price')::numeric BETWEEN 100 AND 200", "ann bob fay"
    ),
    "json_nested_postgres": Case(
        "postgres", f"{ORDERED} AND (properties->'shipping'->>'cost')::float > 9", "gus"
    ),
    "json_path_postgres": Case(
        "postgres", f"{ORDERED} AND properties #>> '{{shipping,city}}' = 'Ghent'", "gus"
    ),
    "json_bigquery": Case(
        "bigquery",
        f"{VIEWED} AND CAST(JSON_EXTRACT_SCALAR(properties, '$.price') AS FLOAT64) > 100",
        "ann bob dan eve fay",
    ),
    "json_value": Case(
        "bigquery", f"{VIEWED} AND SAFE_CAST(JSON_VALUE(properties, '$.price') AS INT64) = 50", "cat"
    ),
    "json_redshift": Case(
        "redshift", f"{ORDERED} AND JSON_EXTRACT_PATH_TEXT(properties, 'shipping', 'city') = 'Ghent'", "gus"
    ),
    "json_databricks": Case("databricks", f"{VIEWED} AND get_json_object(properties, '$.price') < 60", "cat"),
    "json_spark": Case("spark", f"{ORDERED} AND get_json_object(properties, '$.shipping.cost') > 9", "gus"),
    "json_fabric": Case("fabric", f"{VIEWED} AND JSON_VALUE(properties, '$.price') = 50", "cat"),
    "brackets": Case("snowflake", f"{VIEWED} AND context['campaign']['name']::string = 'spring'", "ann eve"),
    "context_path": Case("duckdb", f"{VIEWED} AND context.campaign.name = 'spring'", "ann eve"),
    "context_columns": Case(
        "redshift",
        "SELECT user_id FROM product_viewed WHERE context_campaign_name = 'spring' "
        "AND context_page_path = '/shoes'",
        "ann",
    ),
    "true_or_false": Case("duckdb", f"{ORDERED} AND properties.gift = TRUE", "fay"),
    "true_by_itself": Case("snowflake", f"{ORDERED} AND properties:gift::boolean", "fay"),
    "planned_text": Case("duckdb", f"{ORDERED} AND properties.coupon = '100'", "gus"),
    "planned_number": Case("postgres", f"{ORDERED} AND properties->>'total' > '7'", "bob fay gus"),
    "flat_nested": Case(
        "redshift", "SELECT user_id FROM order_completed WHERE shipping_city = 'Ghent'", "gus"
    ),
    # Days and moments, in everybody's way.
    "dateadd": Case(
        "snowflake", f"{VIEWED} AND timestamp > DATEADD(day, -7, CURRENT_TIMESTAMP())", "ann bob cat eve fay"
    ),
    "getdate": Case("redshift", f"{VIEWED} AND timestamp < DATEADD('day', -7, GETDATE())", "dan"),
    "sysdate": Case("redshift", f"{ORDERED} AND timestamp > SYSDATE - INTERVAL '37 hours'", "bob fay"),
    "date_sub": Case(
        "bigquery", f"{ORDERED} AND timestamp > DATE_SUB(CURRENT_DATE(), INTERVAL 2 DAY)", "bob fay"
    ),
    "timestamp_sub": Case(
        "bigquery",
        f"{ORDERED} AND timestamp > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 37 HOUR)",
        "bob fay",
    ),
    "minutes": Case("postgres", f"{ORDERED} AND timestamp > now() - interval '2170 minutes'", "bob fay"),
    "days_by_number": Case("postgres", f"{ORDERED} AND timestamp > CURRENT_DATE - 2", "bob fay"),
    "date_sub_spark": Case("databricks", f"{ORDERED} AND timestamp > date_sub(current_date(), 2)", "bob fay"),
    "times": Case("postgres", f"{ORDERED} AND timestamp > now() - interval '1 day' * 2", "bob fay"),
    "since_the_first": Case(
        "databricks",
        "WITH first AS (SELECT user_id, min(timestamp) AS since FROM order_completed GROUP BY user_id) "
        "SELECT o.user_id FROM order_completed o JOIN first f ON o.user_id = f.user_id "
        "WHERE o.timestamp > f.since + INTERVAL 3 DAYS",
        "gus",
    ),
    "months": Case("postgres", f"{VIEWED} AND timestamp < now() - interval '1 month'", "dan"),
    "the_day": Case("snowflake", f"{ORDERED} AND timestamp::date = CURRENT_DATE - 3", "gus"),
    "days_apart": Case("snowflake", f"{ORDERED} AND DATEDIFF('day', timestamp, CURRENT_DATE) > 6", "gus"),
    "time_apart": Case("postgres", f"{VIEWED} AND now() - timestamp > interval '10 days'", "dan"),
    "this_month": Case(
        "postgres", f"{VIEWED} AND date_trunc('month', timestamp) < date_trunc('month', CURRENT_DATE)", "dan"
    ),
    "a_date": Case("bigquery", f"{VIEWED} AND timestamp < TIMESTAMP '2026-03-01'", "dan"),
    "between_days": Case(
        "postgres",
        f"{ORDERED} AND timestamp BETWEEN CURRENT_DATE - INTERVAL '2 days' AND CURRENT_DATE",
        "bob fay",
    ),
    "moment_in_a_document": Case(
        "snowflake",
        "SELECT user_id FROM tracks WHERE event = 'signup' AND properties:trialEndsAt::timestamp > CURRENT_TIMESTAMP()",
        "hal",
    ),
}
