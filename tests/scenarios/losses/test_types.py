"""The same value in another type: what is sent of it, and whether a change of the type alone is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.scenarios.losses.recorder import recording, records
from tests.sync.test_sync import synced

MOMENT = "2026-01-02T03:04:05.500000Z"
AT = "timestamp '2026-01-02 03:04:05.5'"
SENT: dict[str, tuple[str, Any]] = {
    "a float of 32 bits": ("cast(0.1 as real)", 0.1),
    "a large float of 32 bits": ("cast(16777216 as real)", 16777216),
    "a list of floats of 32 bits": ("array[cast(0.1 as real), null]", [0.1, None]),
    "a moment": (AT, MOMENT),
    "a list of moments": (f"array[{AT}, null]", [MOMENT, None]),
    "a list of whole seconds": ("array[timestamp '2026-01-02 03:04:05']", ["2026-01-02T03:04:05.000000Z"]),
    "a list of moments with a zone": ("array[cast('2026-01-02 05:04:05.5+02' as timestamptz)]", [MOMENT]),
    "a list of lists of moments": (f"array[array[{AT}]]", [[MOMENT]]),
    "a list of dates": ("array[date '2026-01-02']", ["2026-01-02"]),
    "a list of texts that look like moments": ("array['2026-01-02T03:04:05']", ["2026-01-02T03:04:05"]),
    "a list of words": ("array['NaN', 'infinity']", ["NaN", "infinity"]),
}
NESTED = {
    "a struct": (f"{{'a b': {AT}, 'f': 0.1::float, 't': 'x'}}", {"a b": MOMENT, "f": 0.1, "t": "x"}),
    "a struct that is null": (f"case when false then {{'a': {AT}}} end", None),
    "a map": (f"map {{'k': {AT}}}", {"k": MOMENT}),
    "a map by moments": (f"map {{{AT}: 1}}", {MOMENT: 1}),
    "a list of structs of maps": (f"[{{'m': map {{'k': [{AT}]}}}}]", [{"m": {"k": [MOMENT]}}]),
    "a union": (f"union_value(at := {AT})", {"at": MOMENT}),
    "a decimal beside a moment": (
        f"{{'a': {AT}, 'd': 12345678901234567890::decimal(38, 0)}}",
        {"a": MOMENT, "d": "12345678901234567890"},
    ),
}
REJECTED = {
    "a moment": ("cast('infinity' as timestamp)", "is infinity, which is not a valid JSON date"),
    "a moment with a zone": (
        "cast('-infinity' as timestamptz)",
        "is -infinity, which is not a valid JSON date",
    ),
    "a date": ("cast('infinity' as date)", "is infinity, which is not a valid JSON date"),
    "a list of moments": (
        "array[cast('infinity' as timestamp)]",
        "is infinity, which is not a valid JSON date",
    ),
    "a list of dates": ("array[cast('-infinity' as date)]", "is -infinity, which is not a valid JSON date"),
    "NaN": ("cast('NaN' as double precision)", "is nan, which is not a valid JSON number"),
    "an infinite float of 32 bits": (
        "cast('-Infinity' as real)",
        "is -inf, which is not a valid JSON number",
    ),
    "a list of NaN": ("array[cast('NaN' as double precision)]", "is nan, which is not a valid JSON number"),
}


@pytest.fixture(params=first_fast(["duckdb", "postgres"]))
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> ProjectFolder:
    """A project on an engine."""
    return ProjectFolder(tmp_path / "shop", engine=request.param)


def built(project: ProjectFolder, columns: str, meta: dict[str, Any] | None = None) -> None:
    """The audience of one person, as an engine says it: arrays and casts are not translated alike."""
    project.sql("drop table if exists vips")
    project.sql(f"create table vips as select 'u1' as user_id, {columns}")
    project.declare("vips", meta or {"key": "user_id", "sync": [{"to": "crm"}]})


def fields_of(values: dict[str, tuple[str, Any]]) -> str:
    return ", ".join(f"{expression} as v{at}" for at, (expression, _) in enumerate(values.values()))


def test_values_of_any_type_are_sent_the_same_by_every_engine(shop: ProjectFolder) -> None:
    values = {**SENT, **(NESTED if shop.backend.type == "duckdb" else {})}
    with recording() as (url, kept):
        shop.destinations({"crm": {"type": "webhook", "url": url}})
        built(shop, fields_of(values))
        assert synced(shop).status == "success"
        ((record),) = records(kept)
        got = {name: record["fields"][f"v{at}"] for at, name in enumerate(values)}
        assert got == {name: expected for name, (_, expected) in values.items()}
        assert sum(synced(shop).planned.values()) == 0


def test_what_json_has_no_word_for_is_rejected_by_the_fields_name(shop: ProjectFolder) -> None:
    with recording() as (url, _):
        shop.destinations({"crm": {"type": "webhook", "url": url}})
        reasons = {}
        for name, (expression, _) in REJECTED.items():
            built(shop, f"'{name}' as name, {expression} as value")
            assert synced(shop).status == "rejected", name
            (row,) = shop.open().rejections()
            reasons[name] = row["reason"]
        assert reasons == {name: f"field 'value' {why}" for name, (_, why) in REJECTED.items()}


RETYPED = {
    "a decimal of another scale": ("cast(1.5 as decimal(10, 2))", "cast(1.5 as decimal(12, 4))"),
    "a decimal of many digits": ("cast(1.5 as decimal(10, 2))", "cast(1.5 as decimal(30, 4))"),
    "a decimal that no float holds": (
        "cast('12345678901234567.890' as decimal(20, 3))",
        "cast('12345678901234567.89' as decimal(38, 10))",
    ),
    "a whole decimal that no float holds": (
        "cast('90071992547409930' as decimal(19, 1))",
        "cast('90071992547409930' as decimal(38, 4))",
    ),
    "an integer of more bits": ("cast(7 as integer)", "cast(7 as bigint)"),
    "a timestamp with a zone": (AT, "cast('2026-01-02 03:04:05.5+00' as timestamptz)"),
    "a text of a length": ("cast('a' as varchar)", "cast('a' as char(1))"),
}


def test_a_change_of_type_that_leaves_the_same_bytes_sends_nobody_again(shop: ProjectFolder) -> None:
    with recording() as (url, kept):
        shop.destinations({"crm": {"type": "webhook", "url": url}})
        built(shop, fields_of(RETYPED))
        assert synced(shop).status == "success"
        retyped = fields_of({name: (after, before) for name, (before, after) in RETYPED.items()})
        built(shop, retyped)
        assert sum(synced(shop).planned.values()) == 0
        built(
            shop,
            fields_of({name: (after, before) for name, (before, after) in RETYPED.items()}).replace(
                "1.5", "1.6"
            ),
        )
        assert synced(shop).delivered["update"] == 1
        assert len(records(kept)) == 2


IDS = {
    "a double": ("cast(123 as double precision)", 123),
    "a decimal": ("cast(123 as decimal(10, 2))", 123),
    "a fraction": ("cast(1.5 as double precision)", 1.5),
    "an integer": ("cast(123 as bigint)", 123),
}


@pytest.mark.parametrize("key", ["user_id", "number"])
def test_an_id_that_is_an_integer_is_sent_as_one_whatever_its_type(shop: ProjectFolder, key: str) -> None:
    with recording() as (url, kept):
        shop.destinations({"crm": {"type": "webhook", "url": url}})
        sync = {"to": "crm", "identifiers": {"id": "number"}, "fields": {}}
        sent = []
        for expression, _ in IDS.values():
            built(shop, f"{expression} as number", {"key": key, "sync": [sync]})
            synced(shop, force=["max_change", "empty"])
            sent.append([each["id"] for each in records(kept)][-1] if kept else None)
        assert [repr(each) for each in sent] == [repr(number) for _, number in IDS.values()]
