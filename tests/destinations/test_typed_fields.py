"""Typed fields, over all connectors that have any: what does not fit is converted, or refused by name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb
import httpx
import orjson
import pytest
from sqlglot import exp

from revetl.delivery.batches import cut_batches
from revetl.destinations import make_destination
from revetl.destinations.base.destination import (
    Identifier,
    Record,
    Records,
    Rejection,
)
from revetl.identifiers.normalize import RULES, finish
from revetl.mapping.fields import MappedField, made_alike

MOMENT, DAY = "2026-03-04T23:30:00Z", "2026-03-04"


@dataclass(frozen=True)
class Tool:
    """A configuration, what the tool says of its fields (by a part of the address), and fields of each kind:
    date, moment, number, boolean."""

    type: str
    config: Mapping[str, Any]
    answers: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    date: str = DAY


TOOLS = [
    Tool(
        "hubspot",
        {"access_token": "T"},
        {
            "/crm/v3/properties/contacts": {
                "results": [
                    {"name": "born", "type": "date"},
                    {"name": "seen", "type": "datetime"},
                    {"name": "points", "type": "number"},
                    {"name": "vip", "type": "bool"},
                ]
            }
        },
        {"date": "born", "moment": "seen", "number": "points", "boolean": "vip"},
    ),
    Tool(
        "salesforce",
        {"access_token": "T", "instance_url": "https://x.my.salesforce.com", "external_id_field": "Key__c"},
        {
            "/describe": {
                "name": "Contact",
                "fields": [
                    {"name": "Key__c", "type": "string", "externalId": True, "createable": True},
                    *(
                        {"name": name, "type": kind, "createable": True, "updateable": True}
                        for name, kind in {
                            "Birthdate": "date",
                            "Seen__c": "datetime",
                            "Points__c": "double",
                            "Vip__c": "boolean",
                        }.items()
                    ),
                ],
            }
        },
        {"date": "Birthdate", "moment": "Seen__c", "number": "Points__c", "boolean": "Vip__c"},
    ),
    Tool(
        "marketo",
        {"client_id": "i", "client_secret": "s", "munchkin_id": "1-A"},
        {
            "describe2": {
                "success": True,
                "result": [
                    {
                        "fields": [
                            {"name": name, "dataType": kind, "updateable": True}
                            for name, kind in {
                                "born": "date",
                                "seen": "datetime",
                                "points": "integer",
                                "vip": "boolean",
                            }.items()
                        ]
                    }
                ],
            }
        },
        {"date": "born", "moment": "seen", "number": "points", "boolean": "vip"},
    ),
    Tool(
        "mailchimp",
        {"api_key": "k-us1", "list_id": "L"},
        {
            "/merge-fields": {
                "merge_fields": [
                    {"name": "Joined", "tag": "JOINED", "type": "date"},
                    {"name": "Points", "tag": "POINTS", "type": "number"},
                ]
            }
        },
        {"date": "JOINED", "number": "Points"},
    ),
    Tool(
        "close",
        {"api_key": "k", "audience_field": "cf_1"},
        {
            "/custom_field_schema/contact/": {
                "fields": [
                    {"id": "cf_1", "name": "Born", "type": "date"},
                    {"id": "cf_2", "name": "Seen", "type": "datetime"},
                    {"id": "cf_3", "name": "Points", "type": "number"},
                ]
            }
        },
        {"date": "Born", "moment": "Seen", "number": "Points"},
    ),
    Tool(
        "pipedrive",
        {"api_token": "k", "company_domain": "acme"},
        {
            "/personFields": {
                "data": [
                    {"field_code": code, "field_name": name, "field_type": kind, "is_custom_field": True}
                    for code, name, kind in (
                        ("c1", "Born", "date"),
                        ("c2", "Points", "double"),
                        ("c3", "Vip", "boolean"),
                    )
                ]
            }
        },
        {"date": "Born", "moment": "add_time", "number": "Points", "boolean": "Vip"},
    ),
    Tool(
        "copper",
        {"access_token": "k", "user_email": "a@example.com"},
        {
            "/custom_field_definitions": [
                {"id": at, "name": name, "data_type": kind, "available_on": ["person"]}
                for at, (name, kind) in enumerate(
                    {"Born": "Date", "Points": "Float", "Vip": "Checkbox"}.items(), start=1
                )
            ]
        },
        {"date": "Born", "number": "Points", "boolean": "Vip"},
        date="03/04/2026",
    ),
    Tool(
        "sendgrid",
        {"api_key": "k"},
        {
            "/field_definitions": {
                "reserved_fields": [],
                "custom_fields": [
                    {"id": "e1_D", "name": "born", "field_type": "Date"},
                    {"id": "e2_N", "name": "points", "field_type": "Number"},
                ],
            }
        },
        {"date": "born", "number": "points"},
    ),
    Tool(
        "pendo",
        {"integration_key": "k"},
        {
            "/metadata/schema/visitor": {
                "custom": {
                    "seen": {"Type": "time"},
                    "points": {"Type": "integer"},
                    "vip": {"Type": "boolean"},
                }
            }
        },
        {"moment": "seen", "number": "points", "boolean": "vip"},
    ),
    Tool(
        "iterable",
        {"api_key": "k", "create_new_fields": False},
        {"/users/getFields": {"fields": {"seen": "date", "points": "double", "vip": "boolean"}}},
        {"moment": "seen", "number": "points", "boolean": "vip"},
    ),
    Tool(
        "intercom",
        {"access_token": "k"},
        {
            "/data_attributes": {
                "data": [
                    {
                        "name": name,
                        "data_type": kind,
                        "custom": True,
                        "api_writable": True,
                        "archived": False,
                    }
                    for name, kind in {"seen": "date", "points": "integer", "vip": "boolean"}.items()
                ]
            }
        },
        {"moment": "signed_up_at", "number": "points", "boolean": "vip"},
    ),
    Tool("customer_io", {"site_id": "s", "api_key": "k"}, {}, {"moment": "created_at"}),
    Tool("braze", {"api_key": "k", "base_url": "https://rest.iad-01.braze.com"}, {}, {"date": "dob"}),
]

VALUES: list[tuple[str, Any, Any]] = [
    ("date", MOMENT, "DATE"),
    ("date", DAY, "DATE"),
    ("date", "2026-03-05T01:00:00+02:00", "DATE"),
    ("date", "the 4th of March", None),
    ("date", "2026-13-40", None),
    ("moment", MOMENT, MOMENT),
    ("moment", DAY, f"{DAY}T00:00:00Z"),
    ("moment", "2026-03-04T23:30:00", "2026-03-04T23:30:00Z"),
    ("moment", "yesterday", None),
    ("number", "12.50", "12.50"),
    ("number", 7, 7),
    ("number", "seven", None),
    ("number", {"n": 7}, None),
    ("boolean", "true", True),
    ("boolean", 0, False),
    ("boolean", "perhaps", None),
]


def prepared(tool: Tool) -> tuple[Any, Records]:
    """The destination, and what it knows after it has asked for its fields."""
    destination = make_destination({"type": tool.type, **tool.config}, tool.type)
    whole = Records("a.b", "a", "run", "update", ())
    asking = destination.prepare("upsert", whole, dict.fromkeys(tool.fields.values(), ""))
    try:
        step = next(asking)
        while True:
            assert isinstance(step, httpx.Request)
            answer = next(told for part, told in tool.answers.items() if part in str(step.url))
            step = asking.send(httpx.Response(200, json=answer, request=step))
    except StopIteration as end:
        return destination, end.value


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.type)
def test_a_typed_field_gets_a_value_of_its_type_or_the_record_is_refused_by_its_name(tool: Tool) -> None:
    destination, whole = prepared(tool)
    known = {destination.known_by[0].name: "ada@example.com"}
    wrong = []
    for kind, value, wanted in VALUES:
        if (name := tool.fields.get(kind)) is None:
            continue
        record = Record("k", known, {name: value}, "run")
        (cut,) = cut_batches(destination, "upsert", whole, [(0, [record])])
        refusal = cut.refused.get(0)
        if isinstance(refusal, Rejection):
            found = (refusal.field, None)
            assert f"field '{name}' requires" in refusal.reason
        else:
            assert refusal is None
            found = (name, cut.records.records[0].fields[name])
        wanted = tool.date if wanted == "DATE" and tool.type != "sendgrid" else wanted
        wanted = DAY if wanted == "DATE" else wanted
        if found != (name, wanted) or type(found[1]) is not type(wanted):
            wrong.append((kind, value, found, wanted))
    assert wrong == []


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.type)
def test_empty_values_and_what_clears_a_field_stay(tool: Tool) -> None:
    destination, whole = prepared(tool)
    known = {destination.known_by[0].name: "ada@example.com"}
    for name in tool.fields.values():
        for value in (None, "", destination.cleared):
            record = Record("k", known, {name: value}, "run")
            (cut,) = cut_batches(destination, "upsert", whole, [(0, [record])])
            assert (cut.refused, cut.records.records[0].fields[name]) == ({}, value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("woman", "F"), ("M", "M"), ("Frau", "F"), ("Non-Binary", "O"), ("yes", None), ("unknown", None)],
)
def test_braze_gets_a_letter_for_a_gender(value: str, wanted: str | None) -> None:
    braze = make_destination(
        {"type": "braze", "api_key": "k", "base_url": "https://rest.iad-01.braze.com"}, "braze"
    )
    record = Record("k", {"external_id": "1"}, {"gender": value, "country": "Turkey"}, "run")
    (cut,) = cut_batches(braze, "upsert", Records("s", "a", "r", "update", ()), [(0, [record])])
    fields = cut.records.records[0].fields if cut.records.records else None
    assert fields == (None if wanted is None else {"gender": wanted, "country": "TR"})


HASHED = "a" * 64
RULE_CASES: dict[str, dict[str, str | None]] = {
    "gender": {
        "woman": "f",
        "Female ": "f",
        "W": "f",
        "mujer": "f",
        "Man": "m",
        "male": "m",
        "x": None,
        "unknown": None,
        HASHED: HASHED,
    },
    "birth_year": {
        "1990": "1990",
        "1990.0": "1990",
        "1990-05-01": "1990",
        "90": None,
        "19900": None,
        "0000": None,
        HASHED: HASHED,
    },
    "birth_month": {
        "5": "05",
        "05": "05",
        "5.0": "05",
        "12": "12",
        "May": "05",
        "Sept.": "09",
        "february": "02",
        "1990-05-01": "05",
        "13": None,
        "0": None,
        "Mayor": None,
        HASHED: HASHED,
    },
    "birth_day": {"1": "01", "31.0": "31", "1990-05-07": "07", "32": None, "0": None, "first": None},
    "birth_date": {
        "1990-05-01": "19900501",
        "1990-05-01 00:00:00": "19900501",
        "19900501": "19900501",
        "05/01/1990": None,
        "1990": None,
        HASHED: HASHED,
    },
    "digits": {"12": "12", "12.0": "12", "user12": None, "1.5": None},
}


@pytest.mark.parametrize("rule", sorted(RULE_CASES))
def test_an_identifier_is_of_its_type_or_nothing(rule: str) -> None:
    """Of Meta's demographics, and X's ids: a wrong one is the hash of somebody else."""
    read = {}
    for text in RULE_CASES[rule]:
        made = made_alike(
            MappedField("it", exp.convert(text), ""), Identifier("it", column="it", normalised=rule)
        )
        ((read[text],),) = duckdb.execute(f"select {made.expression.sql('duckdb')}").fetchall()
    assert read == RULE_CASES[rule]


ADDRESS = "Ada@Example.com "
SHA512 = hashlib.sha512(b"ada@example.com").hexdigest()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (ADDRESS, SHA512),
        (SHA512.upper(), SHA512),
        (hashlib.sha256(b"ada@example.com").hexdigest(), None),
        ("Ada", None),
    ],
)
def test_linkedin_never_gets_an_address_in_plain(value: str, wanted: str | None) -> None:
    linkedin = make_destination(
        {"type": "linkedin_ads", "ad_account_id": "1", "access_token": "T"}, "linkedin_ads"
    )
    (identifier,) = [each for each in linkedin.known_by if each.name == "SHA512_EMAIL"]
    rule = identifier.normalised
    assert rule is not None and RULES[rule].late is not None
    assert finish(rule, value, None, hashed=False) == wanted


@pytest.mark.parametrize(
    ("known", "before", "secondary"),
    [
        ({"id": "u1"}, "ada@example.com", {"email": "ada@example.com"}),
        ({"id": "u1"}, "u0", {"id": "u0"}),
        ({"email": "ada@example.com"}, "old@example.com", {"email": "old@example.com"}),
        ({"email": "ada@example.com"}, "u0", {"id": "u0"}),
        ({"id": "ada@example.com"}, "old@example.com", {"id": "old@example.com"}),
    ],
)
def test_customer_io_merges_from_an_address_as_an_address(
    known: dict[str, str], before: str, secondary: dict[str, str]
) -> None:
    tool = make_destination({"type": "customer_io", "site_id": "s", "api_key": "k"}, "customer_io")
    record = Record("k", known, {"merge_from": before}, "run")
    request = next(tool.upsert(Records("s", "a", "r", "update", (record,))))
    assert isinstance(request, httpx.Request)
    merge = orjson.loads(request.content)["batch"][1]
    assert merge["secondary"] == secondary


@pytest.mark.parametrize(("mode", "fits"), [("mirror", False), ("events", False), ("upsert", True)])
def test_a_comma_in_a_lookup_value_of_marketo_is_of_nobody_else(mode: str, fits: bool) -> None:
    """Marketo takes `a@x.io,b@x.io` for two leads, who would be removed."""
    marketo = make_destination(
        {"type": "marketo", "client_id": "i", "client_secret": "s", "munchkin_id": "1-A"}, "marketo"
    )
    record = Record("k", {"email": "a@x.io,b@x.io"}, {}, "run")
    (cut,) = cut_batches(marketo, mode, Records("s", "a", "r", "remove", ()), [(0, [record])])
    assert ("comma" in str(cut.refused.get(0))) is not fits
