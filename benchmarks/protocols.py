"""The tracking plan's check, against the floor: parse each message's properties once, into their values.

    python benchmarks/protocols.py [--rows 1000000] [--arrays] [--unplanned] [--json]

50 events of eight properties each: texts, of which one has a pattern and one an enum, numbers with limits,
a boolean. Messages have the eight and three more that everything has; one in a hundred breaks a rule. With
`--arrays`, every tenth event has an array of objects too; with `--unplanned`, properties that are not planned
are looked for (and none is there). To parse them without taking the values (json_type) is half of the floor.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from _report import Report, peak_mb, timed

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import duckdb  # noqa: E402

from revetl.governance.tracking_plan.plan import TrackingPlan  # noqa: E402
from tests.governance.rendering import Renderer  # noqa: E402

EVENTS = 50
_WRONG = "hash(i, 9) % 100 = 0"
_KINDS: list[tuple[dict[str, Any], str]] = [
    ({"type": "string", "required": True, "pattern": "^[0-9a-f]{32}$"}, "md5(i::varchar)"),
    (
        {"type": "number", "required": True, "minimum": 0, "maximum": 100000},
        f"case when {_WRONG} then -1 else (hash(i, 1) % 100000) / 100.0 end",
    ),
    ({"type": "string", "enum": ["USD", "EUR", "GBP"]}, "['USD', 'EUR', 'GBP'][1 + (hash(i, 2) % 3)::int]"),
    ({"type": "integer", "minimum": 1}, "1 + (hash(i, 3) % 9)::int"),
    ({"type": "string"}, "'SUMMER' || hash(i, 4) % 100"),
    ({"type": "boolean"}, "hash(i, 5) % 2 = 0"),
    ({"type": "string", "required": True}, "'https://shop.example.com/products/' || i || '?ref=newsletter'"),
    ({"type": ["string", "null"]}, "'Home and garden ' || hash(i, 6) % 20"),
]
_WORDS = ["id", "total", "currency", "quantity", "coupon", "is_gift", "url", "category"]
_PRODUCTS = {
    "name": "products",
    "type": "array",
    "items": {
        "type": "object",
        "properties": [
            {"name": "sku", "type": "string", "required": True},
            {"name": "price", "type": "number", "minimum": 0},
        ],
    },
}
_OTHERS = {"session_id": "md5((i // 10)::varchar)", "experiment": "'checkout-2026'", "variant": "'b'"}


def names_of(event: int) -> list[str]:
    """The properties of an event: some that others have too, some its own."""
    return [word if (event + place) % 2 else f"{word}_{event}" for place, word in enumerate(_WORDS)]


def make_plan(*, arrays: bool, unplanned: bool) -> TrackingPlan:
    """The plan."""
    events = []
    for event in range(EVENTS):
        properties = [
            {"name": name, **rules} for name, (rules, _) in zip(names_of(event), _KINDS, strict=True)
        ]
        others = [{"name": name} for name in _OTHERS] if unplanned else []
        products = [_PRODUCTS] if arrays and event % 10 == 0 else []
        events.append({"name": f"Event {event}", "properties": [*properties, *others, *products]})
    return TrackingPlan.model_validate(
        {"events": events, "unplanned_properties": "flag" if unplanned else "allow"}
    )


def make_messages(connection: duckdb.DuckDBPyConnection, rows: int, *, arrays: bool) -> None:
    """A raw table, stored as revetl lands it."""
    documents = []
    for event in range(EVENTS):
        planned = {name: value for name, (_, value) in zip(names_of(event), _KINDS, strict=True)}
        members = ", ".join(f"'{name}', {value}" for name, value in (planned | _OTHERS).items())
        products = "'products', [{'sku': 'S' || i, 'price': i % 90}, {'sku': 'T' || i, 'price': 2.5}]"
        more = f", {products}" if arrays and event % 10 == 0 else ""
        documents.append(f"when {event} then json_object({members}{more})")
    connection.execute(
        f"""
        create table tracks as select
            'm' || i as id, 'Event ' || (hash(i) % {EVENTS}) as event_text,
            case hash(i) % {EVENTS} {" ".join(documents)} end as properties,
            timestamp '2026-01-01' + to_seconds(i) as timestamp,
            timestamp '2026-01-01' + to_seconds(i) as received_at,
            timestamp '2026-01-01' + to_seconds(i) as uuid_ts
        from range({rows}) as numbers (i)
        """
    )
    connection.execute(
        """
        create table stored (id varchar, event_text varchar, properties json using compression zstd,
            timestamp timestamp, received_at timestamp, uuid_ts timestamp);
        insert into stored from tracks;
        drop table tracks;
        checkpoint
        """
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--arrays", action="store_true")
    parser.add_argument("--unplanned", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        renderer = Renderer(Path(folder))
        query = renderer.violations(
            make_plan(arrays=arguments.arrays, unplanned=arguments.unplanned),
            "select 'track' as message_type, id as message_id, event_text as event, properties as content, "
            "timestamp, received_at, uuid_ts from stored",
        )
        connection = duckdb.connect(f"{folder}/messages.duckdb")
        connection.execute("set enable_progress_bar = false")
        make_messages(connection, arguments.rows, arrays=arguments.arrays)
        floor = "select count(json_extract(properties, '$.*')) from stored"
        connection.execute(floor).fetchall()
        lowest, ours = [], []
        for _ in range(3):
            with timed() as clock:
                connection.execute(floor).fetchall()
            lowest.append(clock.seconds)
            with timed() as clock:
                connection.execute(f"create or replace table violations as {query}")
            ours.append(clock.seconds)
        ((found, size),) = connection.execute(
            "select (select count(*) from violations), (select sum(strlen(properties)) from stored)"
        ).fetchall()
        assert (
            arguments.unplanned
            or found
            == connection.execute(
                f"select count(*) from range({arguments.rows}) as numbers (i) where {_WRONG}"
            ).fetchall()[0][0]
        ), found
        Report(
            benchmark=", ".join(
                ["protocols", *(name for name in ("arrays", "unplanned") if vars(arguments)[name])]
            ),
            sizes={"rows": arguments.rows, "events": EVENTS, "violations": found, "bytes": int(size)},
            seconds=min(ours),
            floor_seconds=min(lowest),
            ratio=min(ours) / min(lowest),
            peak_mb=peak_mb(),
            goal="at most 3 times",
        ).print(arguments.json)
        connection.close()


if __name__ == "__main__":
    main()
