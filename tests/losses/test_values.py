"""Values that break naive encoders: delivered exactly, or rejected by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from revetl.sync.batches import Shaping, record_of
from tests.runner.test_sync import synced
from tests.support.project import ProjectFolder

Bodies = list[dict[str, Any]]


@pytest.fixture
def bodies() -> Iterator[tuple[str, Bodies]]:
    """A server that keeps the bodies it is sent, and its address."""
    kept: Bodies = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            kept.append(json.loads(raw.decode("utf-8", errors="strict")))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", kept
    server.shutdown()


def table(project: ProjectFolder, expression: str, *parameters: Any, name: str = "value") -> None:
    """An audience of one person with one value."""
    quoted = '"' + name.replace('"', '""') + '"'
    project.sql(
        f"create or replace table given as select 'u1' as user_id, {expression} as {quoted}", *parameters
    )
    meta = {"key": "user_id", "sync": [{"to": "crm"}]}
    project.audience("vips", "select * from given", meta)


def records(kept: Bodies) -> list[dict[str, Any]]:
    return [record for body in kept for record in body["records"]]


TEXTS = {
    "quotes": "\"double\" 'single' `back`",
    "backslashes": "C:\\new\\table \\u0041 \\",
    "line ends": "one\ntwo\r\nthree\u2028four",
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


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_text_is_delivered_as_it_is(project: ProjectFolder, bodies: tuple[str, Bodies], text: str) -> None:
    url, kept = bodies
    project.destinations({"crm": {"type": "webhook", "url": url}})
    table(project, "?::varchar", text)
    assert synced(project).status == "success"
    assert records(kept) == [{"id": "u1", "fields": {"value": text}}]
    assert sum(synced(project).planned.values()) == 0


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
    "a uuid": ("'6b1f2a52-6c0c-4b0f-9a6c-8f0f6f1a2b3c'::uuid", "6b1f2a52-6c0c-4b0f-9a6c-8f0f6f1a2b3c"),
}


@pytest.mark.parametrize(("expression", "expected"), VALUES.values(), ids=VALUES.keys())
def test_a_value_is_delivered_exactly(
    project: ProjectFolder, bodies: tuple[str, Bodies], expression: str, expected: Any
) -> None:
    url, kept = bodies
    project.destinations({"crm": {"type": "webhook", "url": url}})
    table(project, expression)
    assert synced(project).status == "success"
    assert [record["fields"]["value"] for record in records(kept)] == [expected]
    assert sum(synced(project).planned.values()) == 0


UNSENDABLE = {
    "not a number": ("'nan'::double", "field 'value' is nan"),
    "infinity": ("'infinity'::double", "field 'value' is inf"),
    "minus infinity": ("'-infinity'::float", "field 'value' is -inf"),
}


@pytest.mark.parametrize(("expression", "reason"), UNSENDABLE.values(), ids=UNSENDABLE.keys())
def test_what_json_cannot_hold_is_rejected_by_name_and_blocks_nobody(
    project: ProjectFolder, bodies: tuple[str, Bodies], expression: str, reason: str
) -> None:
    url, kept = bodies
    project.destinations({"crm": {"type": "webhook", "url": url}})
    table(project, expression)
    project.sql("insert into given select 'u2', null")
    project.audience("vips", "select * from given")
    run = synced(project)
    assert (run.status, run.delivered["add"], run.rejected["add"]) == ("rejected", 1, 1)
    assert [record["id"] for record in records(kept)] == ["u2"]
    (row,) = project.open().rejections()
    assert row["key"] == "u1"
    assert row["reason"].startswith(reason)
    # Once it is mended, it goes out.
    project.sql("update given set value = null where user_id = 'u1'")
    project.audience("vips", "select * from given")
    assert synced(project).delivered["add"] == 1


def test_half_a_surrogate_pair_is_rejected_by_name() -> None:
    """DuckDB takes none into a JSON column; another engine may."""
    record = record_of(Shaping(), "add", "u1", '{"id": "u1"}', r'{"note": "fine", "name": "\ud800"}', "run")
    assert str(record.problem).startswith("field 'name' cannot be sent as JSON")


NAMES = [
    "select",
    "a b",
    'say "hi"',
    "it's",
    "a.b",
    "a/b~c",
    "héé 😀",
    "$.x",
    "1",
    "table; drop table vips",
    "%s",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_column_may_have_any_name(project: ProjectFolder, bodies: tuple[str, Bodies], name: str) -> None:
    url, kept = bodies
    project.destinations({"crm": {"type": "webhook", "url": url}})
    table(project, "1", name=name)
    assert synced(project).status == "success"
    assert records(kept) == [{"id": "u1", "fields": {name: 1}}]
    table(project, "2", name=name)
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    assert plan.preview.changed_fields == {name: 1}
    assert synced(project).delivered["update"] == 1
    # Read back from the state by name: what another hash maker hashed is compared field by field.
    project.sql("update revetl.revetl.sync_state set hash_by = 'another', row_hash = 0")
    assert sum(synced(project).planned.values()) == 0


@pytest.mark.parametrize("key", ["o'neill", 'say "hi"', "a\\b", "😀", " ", "'); drop table vips; --", "a\nb"])
def test_a_key_may_be_any_text_and_names_the_person_to_the_end(
    project: ProjectFolder, bodies: tuple[str, Bodies], key: str
) -> None:
    url, kept = bodies
    project.destinations({"crm": {"type": "webhook", "url": url}})
    project.sql("create table given as select ?::varchar as user_id, 1 as score", key)
    meta = {"key": "user_id", "sync": [{"to": "crm"}]}
    project.audience("vips", "select * from given", meta)
    synced(project)
    project.audience("vips", "select * from given where false")
    assert synced(project, force=["empty"]).delivered["remove"] == 1
    assert [(body["operation"], body["records"][0]["id"]) for body in kept] == [("add", key), ("remove", key)]
