"""40 traits of a shop: how each is declared, and how an expert writes it in DuckDB over one scan of the events."""

from __future__ import annotations

from typing import Any

import duckdb

NOW = "2026-07-01 00:00:00"
PROPERTIES = ("category", "brand", "coupon", "page", "price", "quantity", "total", "rating")
_TEXTS = PROPERTIES[:4]

_V, _A, _C, _O, _R = (
    "Product Viewed",
    "Product Added",
    "Checkout Started",
    "Order Completed",
    "Order Refunded",
)
_LAST_30 = f"timestamp > timestamp '{NOW}' - interval 30 days"


def _count(event: str, where: str = "true") -> str:
    return f"count(*) filter (where event = '{event}' and {where})"


def _of(function: str, event: str, where: str = "true") -> str:
    """An aggregate of the values of an event."""
    return f"{function} filter (where event = '{event}' and {where})"


def _most_frequent(column: str, event: str) -> str:
    # The map is in the order of its keys: of equals, the first.
    counts = _of(f"histogram({column})", event, f"{column} is not null")
    return (
        f"case when list_max(map_values({counts})) >= 2 then "
        f"map_keys({counts})[list_position(map_values({counts}), list_max(map_values({counts})))] end"
    )


def _moment(function: str, column: str, event: str) -> str:
    return _of(f"{function}({column}, (timestamp, message_id))", event, f"{column} is not null")


def _declared(kind: str, event: str, column: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, "event": event, **({"property": column} if column else {}), **more}


def _where(column: str, operator: str, value: Any) -> dict[str, Any]:
    return {"where": {"property": column, operator: value}}


_30_DAYS: dict[str, Any] = {"window": {"last": "30 days"}}

TRAITS: dict[str, tuple[dict[str, Any], str]] = {
    # Counts, with windows and conditions.
    "views": (_declared("count", _V), _count(_V)),
    "views_30_days": (_declared("count", _V, **_30_DAYS), _count(_V, _LAST_30)),
    "views_of_books": (
        _declared("count", _V, **_where("category", "equals", "category 3")),
        _count(_V, "category = 'category 3'"),
    ),
    "dear_views": (_declared("count", _V, **_where("price", "greater_than", 50)), _count(_V, "price > 50")),
    "dear_views_30_days": (
        _declared("count", _V, **_30_DAYS, **_where("price", "greater_than", 50)),
        _count(_V, f"price > 50 and {_LAST_30}"),
    ),
    "adds": (_declared("count", _A), _count(_A)),
    "adds_this_month": (
        _declared("count", _A, window={"from": "2026-06-01", "to": "2026-07-01"}),
        _count(_A, "timestamp >= '2026-06-01' and timestamp < '2026-07-01'"),
    ),
    "orders": (_declared("count", _O), _count(_O)),
    "orders_30_days": (_declared("count", _O, **_30_DAYS), _count(_O, _LAST_30)),
    "orders_with_coupon": (
        _declared("count", _O, **_where("coupon", "exists", True)),
        _count(_O, "coupon is not null"),
    ),
    "orders_of_some": (
        _declared("count", _O, **_where("brand", "one_of", ["brand 1", "brand 2"])),
        _count(_O, "brand in ('brand 1', 'brand 2')"),
    ),
    "refunds": (_declared("count", _R), _count(_R)),
    # Numbers.
    "spent": (_declared("sum", _O, "total"), f"coalesce({_of('sum(total)', _O)}, 0)"),
    "spent_30_days": (
        _declared("sum", _O, "total", **_30_DAYS),
        f"coalesce({_of('sum(total)', _O, _LAST_30)}, 0)",
    ),
    "refunded": (_declared("sum", _R, "total"), f"coalesce({_of('sum(total)', _R)}, 0)"),
    "quantity": (_declared("sum", _A, "quantity"), f"coalesce({_of('sum(quantity)', _A)}, 0)"),
    "mean_order": (_declared("avg", _O, "total"), _of("avg(total)", _O)),
    "mean_viewed": (_declared("avg", _V, "price"), _of("avg(price)", _V)),
    "least_order": (_declared("min", _O, "total"), _of("min(total)", _O)),
    "most_order": (_declared("max", _O, "total"), _of("max(total)", _O)),
    # First and last.
    "first_category": (_declared("first", _V, "category"), _moment("arg_min", "category", _V)),
    "last_category": (_declared("last", _V, "category"), _moment("arg_max", "category", _V)),
    "first_coupon": (_declared("first", _O, "coupon"), _moment("arg_min", "coupon", _O)),
    "last_page": (_declared("last", _V, "page"), _moment("arg_max", "page", _V)),
    # Lists.
    "categories": (_declared("unique_list_count", _V, "category"), _of("count(distinct category)", _V)),
    "brands": (_declared("unique_list_count", _V, "brand"), _of("count(distinct brand)", _V)),
    "pages": (_declared("unique_list_count", _V, "page"), _of("count(distinct page)", _V)),
    "coupons": (_declared("unique_list_count", _O, "coupon"), _of("count(distinct coupon)", _O)),
    "list_of_categories": (
        _declared("unique_list", _V, "category"),
        f"cast(to_json(list_sort({_of('list(distinct category)', _V, 'category is not null')})) as varchar)",
    ),
    "list_of_brands": (
        _declared("unique_list", _O, "brand"),
        f"cast(to_json(list_sort({_of('list(distinct brand)', _O, 'brand is not null')})) as varchar)",
    ),
    # The most frequent.
    "favourite_category": (_declared("most_frequent", _V, "category"), _most_frequent("category", _V)),
    "favourite_brand": (_declared("most_frequent", _V, "brand"), _most_frequent("brand", _V)),
    "favourite_page": (_declared("most_frequent", _V, "page"), _most_frequent("page", _V)),
    "bought_category": (_declared("most_frequent", _O, "category"), _most_frequent("category", _O)),
    # Percentiles.
    "median_price": (
        _declared("percentile", _V, "price", percentile=50),
        _of("quantile_cont(price, 0.5)", _V),
    ),
    "high_order": (_declared("percentile", _O, "total", percentile=90), _of("quantile_cont(total, 0.9)", _O)),
    # Days.
    "days_since_view": (
        _declared("days_since", _V),
        f"epoch(timestamp '{NOW}' - {_of('max(timestamp)', _V)})::bigint // 86400",
    ),
    "days_since_order": (
        _declared("days_since", _O),
        f"epoch(timestamp '{NOW}' - {_of('max(timestamp)', _O)})::bigint // 86400",
    ),
    "days_between_orders": (
        _declared("days_between", _O),
        f"epoch({_of('max(timestamp)', _O)} - {_of('min(timestamp)', _O)}) / 86400 / nullif({_count(_O)} - 1, 0)",
    ),
    # A letter a step; the funnel is how far a pattern goes.
    "checkout": (
        {"type": "funnel", "steps": [_V, _A, _O]},
        "case when taken like '%v%a%o%' then 3 when taken like '%v%a%' then 2 when taken like '%v%' then 1 else 0 end",
    ),
}
ONE = {"dear_views_30_days": TRAITS["dear_views_30_days"][0]}
_TAKEN = (
    f"string_agg(case event when '{_V}' then 'v' when '{_A}' then 'a' when '{_O}' then 'o' end, '' "
    "order by timestamp, message_id)"
)
# Means, and how far they may be apart: the last digit that they are rounded to, and no more.
_MEANS = dict.fromkeys(("mean_order", "mean_viewed", "median_price", "high_order"), 0.00015)
_MEANS["days_between_orders"] = 0.015
_READ = ", ".join(f"'{event}'" for event in (_V, _A, _O, _R))


def declarations() -> dict[str, dict[str, Any]]:
    """All 40, as a project declares them."""
    return {name: declared for name, (declared, _) in TRAITS.items()}


def differs(name: str) -> str:
    """Whether a trait of the models (`m`) is not that of the hand-written query (`h`)."""
    if name in _MEANS:
        unlike = f"coalesce(abs(m.{name}::double - h.{name}::double) > {_MEANS[name]}, false)"
        return f"({unlike} or (m.{name} is null) <> (h.{name} is null))"
    return f"m.{name} is distinct from h.{name}"


def query() -> str:
    """The hand-written query."""
    paths = ", ".join(f"'$.{name}'" for name in PROPERTIES)
    values = ", ".join(
        f"nullif(trim(found[{place}]), '') as {name}"
        if name in _TEXTS
        else f"try_cast(found[{place}] as decimal(18, 4)) as {name}"
        for place, name in enumerate(PROPERTIES, 1)
    )
    columns = ", ".join(f"{sql.replace('taken', _TAKEN)} as {name}" for name, (_, sql) in TRAITS.items())
    return f"""
        with events as (
            select profiles.canonical_id, tracks.message_id, tracks.timestamp, tracks.event_text as event,
                json_extract_string(tracks.properties, [{paths}]) as found
            from stg_revetl__tracks as tracks
            inner join revetl_events as profiles
                on profiles.source = 'track' and profiles.message_id = tracks.message_id
            where tracks.event_text in ({_READ})
        ),
        typed as (select canonical_id, message_id, timestamp, event, {values} from events)
        select canonical_id, {columns} from typed group by canonical_id
    """


def make_messages(connection: duckdb.DuckDBPyConnection, events: int) -> None:
    """Fill raw.tracks: half a year of messages, of few who do much and many who do little; always the same."""

    def draw(choice: str, sides: int) -> str:
        return f"hash(number, '{choice}') % {sides}"

    properties = ", ".join(
        [
            f"'category', 'category ' || {draw('category', 20)}",
            f"'brand', 'brand ' || {draw('brand', 200)}",
            f"'coupon', case when {draw('coupon', 5)} = 0 then 'coupon ' || {draw('which', 9)} end",
            f"'page', '/products/' || {draw('page', 1000)}",
            f"'price', ({draw('price', 10_000)}) / 100.0",
            f"'quantity', 1 + {draw('quantity', 5)}",
            f"'total', ({draw('total', 50_000)}) / 100.0",
            f"'rating', {draw('rating', 6)}",
        ]
    )
    connection.execute(
        f"""
        insert into raw.tracks (id, user_id, event, event_text, properties, context, timestamp, received_at)
        with chosen as (
            select
                number,
                floor({events // 10} * pow({draw("person", 1_000_000)} / 1000000.0, 1.5))::bigint as person,
                case
                    when {draw("event", 100)} < 60 then '{_V}'
                    when {draw("event", 100)} < 80 then '{_A}'
                    when {draw("event", 100)} < 90 then '{_C}'
                    when {draw("event", 100)} < 98 then '{_O}'
                    else '{_R}'
                end as event,
                timestamp '2026-01-01' + to_seconds({draw("time", 181 * 86_400)}::bigint) as timestamp
            from range({events}) as numbers (number)
        )
        select
            'm' || number, 'u' || person, lower(replace(event, ' ', '_')), event, json_object({properties}),
            '{{}}', timestamp, timestamp
        from chosen
        """
    )
