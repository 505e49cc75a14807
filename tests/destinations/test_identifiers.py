"""What identifies nobody reaches no destination: every connector, every mode, and the SQL before it."""

from __future__ import annotations

import string
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import httpx
import orjson
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from revetl.config.models import SyncConfig
from revetl.delivery.batches import cut_batches
from revetl.delivery.serializer import record_of, shaping_of
from revetl.destinations import TYPES, make_destination
from revetl.destinations.base.destination import (
    Destination,
    Identifier,
    Record,
    Records,
)
from revetl.destinations.intercom.destination import Intercom
from revetl.identifiers.normalize import NO_VALUES, RULES
from revetl.mapping.blocklist import is_email
from revetl.mapping.fields import MappedField, made_alike, make_mapping
from revetl.warehouse.templates import column

CASES = Path(__file__).parent / "cases"
BLANKS = ("", "  ", "\r\n", "\t", "\u00a0", "\u200b", "\ufeff \u2003", "\x0b\x1f")
NOT_EMAILS = (
    *("N/A", "n/a", "unknown", "-", "foo", "a b@c.co", "@example.com", "ann@", "ann@localhost"),
    *("ann@example", "ann@@example.com", "ann.@example.com", ".ann@example.com", "a..b@example.com"),
    *("ann@exam_ple.com", "ann@-example.com", "ann@example-.com", "ann@example..com", "ann@example.c0m1"),
    *("ann@10.0.0.1", "ann@printer.local", "ann@x.invalid", "a@x.example,b@x.example", "<ann@example.com>"),
    *("mailto:ann@example.com", "ann@exam\u200bple.com", "ann@example.com\nbcc: x@example.com", "null"),
    f"ann@{'a' * 61}.{'b' * 61}.{'c' * 61}.{'d' * 61}.{'e' * 20}.com",
)
EMAILS = (
    *("ann@example.com", "Ann.Lee+news@Mail.Example.co.uk", "o'neil@example.com", "a@b.co", "1@2.io"),
    *("ann@m\u00fcnchen.example", "j\u00f6rg@example.com", "ann_b-c@x.test", "!#$%&*+/=?^_`{|}~@example.org"),
    *("\u7528\u6237@example.com", "ann@xn--mnchen-3ya.example", "\U0001f3af@example.com"),
)


def destination_of(kind: str) -> Destination:
    """A destination of a kind, as one of its cases configures it."""
    cases = orjson.loads((CASES / f"{kind}.json").read_bytes())["cases"]
    case = next(each for each in cases if each["operation"] != "create_audience")
    return make_destination({"type": kind, **case.get("config", {}), **case.get("secrets", {})}, kind)


def sent(identifier: Identifier, values: tuple[str, ...]) -> list[Any]:
    """What the warehouse makes of values."""
    return _sent(replace(identifier, name="id", column="id"), values)


@cache
def _sent(identifier: Identifier, values: tuple[str, ...]) -> list[Any]:
    item = made_alike(MappedField("id", column("value"), "VARCHAR"), identifier)
    listed = exp.values([(at, value) for at, value in enumerate(values)], alias="t", columns=["at", "value"])
    query = exp.select(item.of("t")).from_(listed).order_by("at")
    return [found for (found,) in duckdb.execute(query.sql("duckdb")).fetchall()]


def requests_of(destination: Destination, mode: str, operation: str, record: Record) -> list[httpx.Request]:
    """The requests that a record is planned to make; what is refused is so with a reason."""
    event = "Seen" if "events" in mode else None
    whole = Records("s", "high_churn", "run", operation, (), event=event, at="2026-01-02T03:04:05.000Z")
    cuts = list(cut_batches(destination, mode, whole, [(0, [record])]))
    assert any(cut.refused.get(0) for cut in cuts)
    return [cut.request for cut in cuts if cut.request is not None]


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_blank_identifier_is_none_in_every_mode(kind: str) -> None:
    destination = destination_of(kind)
    for identifier in destination.known_by:
        assert sent(identifier, BLANKS) == [None] * len(BLANKS), identifier.name
    shaping = shaping_of(SyncConfig(to="case"), destination)
    names = [each.name for each in destination.known_by]
    for mode in destination.modes():
        for operation in ("add", "update", "remove") if mode == "mirror" else ("add",):
            for blank in (*BLANKS[:1], *BLANKS[4:6]):
                known = orjson.dumps(dict.fromkeys(names, blank)).decode()
                record = record_of(shaping, operation, "k", known, "{}", "run")
                assert record.identifiers == {}
                assert requests_of(destination, mode, operation, record) == [], (mode, operation)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_an_id_that_is_a_word_for_no_value_is_none(kind: str) -> None:
    """But not a name, and not where the destination gives a format: a street may be called Null."""
    for identifier in destination_of(kind).known_by:
        rule = RULES.get(identifier.hashed or identifier.normalised or identifier.checked or "")
        if identifier.alone and (rule is None or rule.literals):
            assert sent(identifier, NO_VALUES) == [None] * len(NO_VALUES), identifier.name
            assert None not in sent(identifier, ("nullable", "0", "Nil Armstrong", "trueman", "a{}"))


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_an_email_that_is_none_is_not_sent(kind: str) -> None:
    for identifier in destination_of(kind).known_by:
        rule = RULES.get(identifier.hashed or identifier.normalised or identifier.checked or "")
        if rule is not None and rule.kind == "email address":
            assert sent(identifier, NOT_EMAILS) == [None] * len(NOT_EMAILS)
            assert None not in sent(identifier, EMAILS)


def test_the_warehouse_and_the_library_agree_on_what_an_email_is() -> None:
    assert [is_email(each) for each in EMAILS] == [True] * len(EMAILS)
    assert [is_email(each) for each in NOT_EMAILS] == [False] * len(NOT_EMAILS)


_PARTS = st.text(string.ascii_letters + string.digits + ".-_+@ \u00fc'", min_size=1, max_size=12)


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.one_of(st.emails(), st.builds("{}@{}.com".format, _PARTS, _PARTS)), min_size=12, max_size=12)
)
def test_the_warehouse_takes_no_email_that_the_library_refuses(texts: list[str]) -> None:
    identifier = Identifier("email", column="email", normalised="email")
    for text, found in zip(texts, sent(identifier, tuple(texts)), strict=True):
        try:
            validate_email(text.strip(), check_deliverability=False, test_environment=True)
        except EmailNotValidError as error:
            assert found is None or "IDN" in str(error) or "hyphen" in str(error) or "long" in str(error), (
                text
            )
        else:
            assert found == text.strip().lower()


def test_clean_values_are_hashed_as_they_were() -> None:
    """Whoever was sent before is not sent again for the same address."""
    hashed = "1c6d5fc8f39bc4ad43d1ab2f8c2b6b3e7a1a0ab1c4f0ad6e8b5b0c41d5e1b6a9"
    email = Identifier("EMAIL", column="email", hashed="email")
    assert sent(email, (" Ann@Example.com ", hashed.upper())) == [
        "71d4f55f72fa128dfb468a1a3901507c804b74316488744d769d7f4b16696476",
        hashed,
    ]


def test_intercom_takes_no_contact_for_a_persons_that_has_none_of_their_identifiers() -> None:
    """Its search finds contacts without an id by an empty one, and a mistaken search erases them."""
    contacts = [
        {"id": "1", "external_id": None, "email": None, "role": "user"},
        {"id": "2", "external_id": "", "email": "", "role": "user"},
        {"id": "3", "external_id": None, "email": "other@example.com", "role": "user"},
        {"id": "4", "external_id": None, "email": "Ann@example.com", "role": "user"},
        {"id": "5", "external_id": "u9", "email": "ann@example.com", "role": "user"},
        {"id": "6", "external_id": "u1", "email": None, "role": "user"},
    ]
    intercom = destination_of("intercom")
    assert isinstance(intercom, Intercom)
    erased = []
    for known in ({"external_id": "u1", "email": "ann@example.com"}, {"external_id": "u1"}):
        records = Records("s", "a", "run", "add", (Record("u1", known, {}, "run"),))
        flow = intercom.delete(records)
        step = next(flow)
        found = httpx.Response(200, json={"data": contacts})
        try:
            while True:
                assert isinstance(step, httpx.Request)
                if step.method == "DELETE":
                    erased.append(step.url.path.rsplit("/", 1)[1])
                step = flow.send(found)
        except StopIteration:
            pass
    assert erased == ["6", "4", "6"]


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_an_identifier_in_a_json_column_is_sent_as_from_a_column_of_text(kind: str) -> None:
    destination = destination_of(kind)
    # One of each rule.
    known = {(each.hashed, each.normalised, each.checked): each for each in destination.known_by}.values()
    mode = {"mode": "update"} if "update" in destination.modes() else {}
    columns = {"k": "VARCHAR", "doc": "JSON", "plain": "VARCHAR"}
    document = """'{"it": {"id": " Ada@Example.com "}}'::json"""
    rows = f"from (select 'k' as k, {document} as doc, ' Ada@Example.com ' as plain)"

    def sent_from(text: str) -> list[Any]:
        sync = SyncConfig.model_validate({"to": "x", "identifiers": {x.name: text for x in known}, **mode})
        mapping = make_mapping("k", sync, destination, columns, "case")
        made = ", ".join(item.expression.sql("duckdb") for item in mapping.identifiers)
        found = duckdb.execute(f"select {made} {rows}").fetchone()
        return list(found or ())

    assert sent_from("doc.it.id") == sent_from("plain")
