"""Values that break naive encoders: delivered exactly, or rejected by name."""

from __future__ import annotations

from typing import Any

import pytest

from revetl.delivery.serializer import Serializer, record_of
from tests.helpers.project import ProjectFolder
from tests.scenarios.losses.recorder import META, Bodies, left, quoted, records, table
from tests.sync.test_sync import synced

TEXTS = {
    "quotes": "\"double\" 'single' `back`",
    "backslashes": "C:\\new\\table \\u0041 \\",
    "line ends": "one\ntwo\r\nthree\u2028four",
    "NUL": "\0 and after it",
    "controls": "tab\tbell\x07escape\x1b",
    "emoji": "👩‍👩‍👧‍👦 é ñ 漢字 \u202eright to left",
    "SQL": "'); drop table vips; --",
    "a template": "{{ env_var('HOME') }} {% raw %} ${x} %s {0}",
    "JSON": '{"a": [1, null]}',
    "HTML": "<script>alert(1)</script> &amp;",
    "a number": "007",
    "a word of JSON": "null",
    "nothing": "",
    "a megabyte": "x" * 1_000_000,
}


def test_texts_are_delivered_as_they_are(project: ProjectFolder, kept: Bodies) -> None:
    project.sql("create table given (user_id varchar, value varchar)")
    for name, text in TEXTS.items():
        project.sql("insert into given values (?, ?)", name, text)
    project.audience("vips", "select * from given", META)
    assert synced(project).status == "success"
    assert {record["id"]: record["fields"]["value"] for record in records(kept)} == TEXTS
    assert sum(synced(project).planned.values()) == 0
    assert left(project, kept) == ({"remove"}, [*TEXTS])


VALUES = {
    "a decimal of two places": ("12.50::decimal(10, 2)", 12.5),
    "a decimal of 38 digits": (
        "12345678901234567890123456789012345678::decimal(38, 0)",
        "12345678901234567890123456789012345678",
    ),
    "a fraction of 38 digits": (
        "'1234567890123456789012345678.0123456789'::decimal(38, 10)",
        "1234567890123456789012345678.0123456789",
    ),
    "the largest bigint": ("9223372036854775807::bigint", 9223372036854775807),
    "a hugeint": (
        "170141183460469231731687303715884105727::hugeint",
        "170141183460469231731687303715884105727",
    ),
    "a small double": ("5e-324::double", 5e-324),
    "minus zero": ("-0.0::double", -0.0),
    "before 1970": ("date '1901-02-03'", "1901-02-03"),
    "the year 9999": ("timestamp '9999-12-31 23:59:59.999999'", "9999-12-31T23:59:59.999999Z"),
    "a time before 1970": ("timestamp '1969-12-31 23:59:59.5'", "1969-12-31T23:59:59.500000Z"),
    "a time with a zone": ("timestamptz '2026-07-01 12:00:00+02'", "2026-07-01T10:00:00.000000Z"),
    "null": ("null::varchar", None),
    "a truth": ("true", True),
    "a list": ("['a\"b', null]", ['a"b', None]),
    "a document": ("'{\"a\": [1, 2.5, null]}'::json", {"a": [1, 2.5, None]}),
    "JSON's null": ("'null'::json", None),
    "the largest unsigned bigint": ("18446744073709551615::ubigint", 18446744073709551615),
    "the largest unsigned hugeint": (
        "340282366920938463463374607431768211455::uhugeint",
        "340282366920938463463374607431768211455",
    ),
    "a time of day": ("time '01:02:03.000004'", "01:02:03.000004"),
    "a list in a list": ("[[1], [null], []]", [[1], [None], []]),
    "a map": ("map {'k': 1, 'q\"': 2}", {"k": 1, 'q"': 2}),
    "a struct": ("{'a b': 'c\"d', 'e': null}", {"a b": 'c"d', "e": None}),
    "a word of a few": ("'b\"'::enum('a', 'b\"')", 'b"'),
    "NUL in a document": ('\'{"a": "x\\u0000y"}\'::json', {"a": "x\0y"}),
    "a surrogate pair in a document": ('\'{"a": "\\ud83d\\ude00"}\'::json', {"a": "😀"}),
    "a uuid": ("'6b1f2a52-6c0c-4b0f-9a6c-8f0f6f1a2b3c'::uuid", "6b1f2a52-6c0c-4b0f-9a6c-8f0f6f1a2b3c"),
}


def test_values_are_delivered_exactly(project: ProjectFolder, kept: Bodies) -> None:
    columns = ", ".join(f"{expression} as {quoted(name)}" for name, (expression, _) in VALUES.items())
    project.sql(f"create table given as select 'u1' as user_id, {columns}")
    project.audience("vips", "select * from given", META)
    assert synced(project).status == "success"
    ((record),) = records(kept)
    assert record["fields"] == {name: expected for name, (_, expected) in VALUES.items()}
    assert sum(synced(project).planned.values()) == 0
    assert left(project, kept) == ({"remove"}, ["u1"])


def test_times_in_a_list_are_delivered(project: ProjectFolder, kept: Bodies) -> None:
    table(project, "[timestamp '2026-01-02 03:04:05.5', null]")
    assert synced(project).status == "success"
    (record,) = records(kept)
    moment, nothing = record["fields"]["value"]
    assert str(moment).replace("T", " ").startswith("2026-01-02 03:04:05.5")
    assert nothing is None


@pytest.mark.parametrize(
    ("before", "after"),
    [("", None), (None, ""), ("null", None), ("a", "a "), ("\u00e9", "e\u0301")],
    ids=repr,
)
def test_what_looks_alike_is_a_change(
    project: ProjectFolder, kept: Bodies, before: str | None, after: str | None
) -> None:
    table(project, "?::varchar", before)
    synced(project)
    table(project, "?::varchar", after)
    assert synced(project).delivered["update"] == 1
    assert [record["fields"]["value"] for record in records(kept)] == [before, after]


ROUNDED = {
    "a bignum": ("12345678901234567890123::bignum", 12345678901234567890123),
    "a hugeint in a list": (
        "[170141183460469231731687303715884105727::hugeint]",
        [170141183460469231731687303715884105727],
    ),
    "a decimal in a list": (
        "[12345678901234567890123456789012345678::decimal(38, 0)]",
        [12345678901234567890123456789012345678],
    ),
    "a decimal in a struct": (
        "{'d': 12345678901234567890123456789012345678::decimal(38, 0)}",
        {"d": 12345678901234567890123456789012345678},
    ),
    "an integer in a document": ("'{\"n\": 12345678901234567890123}'::json", {"n": 12345678901234567890123}),
}


@pytest.mark.parametrize(("expression", "number"), ROUNDED.values(), ids=ROUNDED.keys())
def test_a_number_that_readers_of_json_would_round_is_not_rounded(
    project: ProjectFolder, kept: Bodies, expression: str, number: Any
) -> None:
    """As the number or as its digits; or it is rejected, by the field's name."""
    table(project, expression)
    if synced(project).status == "rejected":
        (row,) = project.open().rejections()
        assert "field 'value'" in row["reason"]
        return
    (record,) = records(kept)
    assert record["fields"]["value"] in (number, as_digits(number))


def as_digits(value: Any) -> Any:
    """The same with its numbers as texts."""
    if isinstance(value, dict):
        return {name: as_digits(each) for name, each in value.items()}
    return [as_digits(each) for each in value] if isinstance(value, list) else str(value)


UNSENDABLE = {
    "not a number": ("'nan'::double", "is nan"),
    "infinity": ("'infinity'::double", "is inf"),
    "minus infinity": ("'-infinity'::float", "is -inf"),
    "not a number, in a list": ("[1.5, 'nan'::double]", "is nan"),
    "infinity, in a struct": ("{'a': 'inf'::double}", "is inf"),
    "not a number, in a document": ("'{\"a\": NaN}'::json", "cannot be sent as JSON"),
    "too large, in a document": ("'{\"a\": 1e400}'::json", "cannot be sent as JSON"),
}


def test_what_json_cannot_hold_is_rejected_by_name_and_blocks_nobody(
    project: ProjectFolder, kept: Bodies
) -> None:
    columns = ", ".join(f"{expression} as {quoted(name)}" for name, (expression, _) in UNSENDABLE.items())
    project.sql(f"create table whole as select {columns}")
    # Each on a person of its own, who has nothing else.
    each = (
        f"select {_literal(name)} as user_id, "
        f"{', '.join(_only(name, column) for column in UNSENDABLE)} from whole"
        for name in UNSENDABLE
    )
    project.sql(f"create table given as {' union all '.join(each)}")
    project.sql("insert into given (user_id) values ('fine')")
    project.audience("vips", "select * from given", META)
    run = synced(project)
    assert (run.status, run.delivered["add"], run.rejected["add"]) == ("rejected", 1, len(UNSENDABLE))
    assert [record["id"] for record in records(kept)] == ["fine"]
    for row in project.open().rejections():
        _, how = UNSENDABLE[row["key"]]
        assert row["reason"].startswith(f"field '{row['key']}' {how}"), row
    # Sent again only once they are mended; whoever was never there is not removed.
    assert sum(synced(project).planned.values()) == 0
    for name in UNSENDABLE:
        project.sql(f"update given set {quoted(name)} = null")
    project.audience("vips", "select * from given")
    assert synced(project).delivered["add"] == len(UNSENDABLE)
    assert project.open().rejections() == []


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _only(name: str, column: str) -> str:
    return quoted(column) if name == column else f"null as {quoted(column)}"


def test_half_a_surrogate_pair_is_rejected_by_name() -> None:
    """DuckDB takes none into a JSON column; another engine may."""
    record = record_of(
        Serializer(), "add", "u1", '{"id": "u1"}', r'{"note": "fine", "name": "\ud800"}', "run"
    )
    assert str(record.problem).startswith("field 'name' cannot be sent as JSON")
