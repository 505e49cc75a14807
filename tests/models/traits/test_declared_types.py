"""Traits that messages say keep their types: from the message to the tables, and to the destination."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from revetl import Project
from tests.conftest import SandboxClient
from tests.helpers.backends import make_backend
from tests.models.traits.world import World

pytestmark = [pytest.mark.slow, pytest.mark.long]

AS_OF = "2026-02-01"
PROFILE_TRAITS = [
    "email",
    "plan",
    {"newsletter": "boolean"},
    {"age": "bigint", "score": "double", "balance": "decimal(10, 2)"},
    {"born_on": "date"},
    {"created_at": "timestamp"},
    {"city": {"trait": "address.city"}, "seats": {"trait": "subscription.seats", "data_type": "bigint"}},
]
ACCOUNT_TRAITS = {"name": None, "plan": "varchar", "employees": "bigint", "is_partner": "boolean"}
TRAITS = {
    "first_purchase_date": {"type": "first_at", "event": "Order Completed", "data_type": "date"},
    "last_delivery_date": {
        "type": "max",
        "event": "Order Completed",
        "property": "deliver_on",
        "data_type": "date",
    },
    "told_date": {"type": "last", "event": "Order Completed", "property": "deliver_on", "data_type": "date"},
}
PERSON = {
    "plan": "Pro",
    "newsletter": False,
    "age": 36,
    "score": 0.5,
    "balance": 1499.85,
    "born_on": "1990-12-10",
    "createdAt": "2025-01-15T00:00:00+02:00",
    "address": {"city": " London "},
    "subscription": {"seats": 12},
}
SENT = {
    "u1": {
        **{name: PERSON[name] for name in ("plan", "newsletter", "age", "score", "born_on")},
        "balance": 1499.85,
        "created_at": "2025-01-14T22:00:00.000000Z",
        "city": "London",
        "seats": 12,
        "first_purchase_date": "2026-01-03",
        "last_delivery_date": "2026-01-09",
        "told_date": "2026-01-09",
    },
    # What does not fit its type is null, and nobody else's.
    "u2": {
        **dict.fromkeys([*PERSON, "created_at", "city", "seats"]),
        "plan": "true",
        "newsletter": True,
        "first_purchase_date": None,
    }
    | dict.fromkeys(["last_delivery_date", "told_date"]),
}
for name in ("createdAt", "address", "subscription"):
    del SENT["u2"][name]
ACCOUNTS = {
    "acme": {"name": "Acme Corp", "plan": "Enterprise", "employees": 250, "is_partner": True, "seats": 250},
    "bits": {"name": "7", "plan": None, "employees": None, "is_partner": None, "seats": "50-100"},
}


def lines() -> list[str]:
    """The messages: two people, two accounts."""
    odd = {"plan": True, "newsletter": "true", "age": "old", "born_on": "soon", "createdAt": "2026-02-30"}
    orders = [("2026-01-03T23:30:00Z", "2026-01-05"), ("2026-01-04T00:30:00Z", "2026-01-09T10:00:00Z")]
    made: list[dict[str, Any]] = [
        {"type": "identify", "userId": "u1", "traits": PERSON},
        {"type": "identify", "userId": "u2", "traits": odd},
        {
            "type": "group",
            "userId": "u1",
            "groupId": "acme",
            "traits": {"name": "Acme Corp", "plan": "Enterprise", "employees": 250, "isPartner": True},
        },
        {"type": "group", "userId": "u2", "groupId": "bits", "traits": {"name": 7, "employees": "50-100"}},
        *(
            {
                "type": "track",
                "event": "Order Completed",
                "userId": "u1",
                "properties": {"deliver_on": day},
                "timestamp": moment,
            }
            for moment, day in orders
        ),
    ]
    common = {"timestamp": "2026-01-01T00:00:00Z", "receivedAt": "2026-01-20T00:00:00Z"}
    return [json.dumps({"messageId": f"m{at}", **common, **each}) for at, each in enumerate(made)]


SYNC = {"to": "crm", "identifiers": {"id": "user_id"}}
PEOPLE = """
{{ config(meta={'revetl': {'key': 'user_id', 'sync': [SYNC]}}) }}
select user_id, FIELDS from {{ ref('revetl', 'revetl_profiles') }}
where
    ({{ revetl.trait('newsletter', '=', false) }} and {{ revetl.trait('age', '>', 35) }}
    and {{ revetl.trait('born_on', 'before', '1991-01-01') }}
    and {{ revetl.trait('first_purchase_date', 'after', '2026-01-02') }})
    or {{ revetl.trait('newsletter', '=', true) }}
"""
# The trait as it was sent, of the document itself, goes along.
COMPANIES = """
{{ config(meta={'revetl': {'key': 'account_id', 'sync': [SYNC]}}) }}
select accounts.account_id, FIELDS, messages.traits
from {{ ref('revetl', 'revetl_accounts') }} as accounts
inner join {{ ref('revetl', 'stg_revetl__groups') }} as messages on accounts.account_id = messages.group_id
"""


def audience(model: str, key: str, columns: Iterable[str], **fields: str) -> str:
    """A model of an audience that sends such columns."""
    sync = {**SYNC, "identifiers": {"id": key}, "fields": {**{each: each for each in columns}, **fields}}
    of = "accounts." if key == "account_id" else ""
    return model.replace("SYNC", repr(sync)).replace("FIELDS", ", ".join(f"{of}{each}" for each in columns))


@pytest.mark.parametrize("warehouse", ["duckdb", "postgres"])
def test_traits_keep_their_types_to_the_destination(
    warehouse: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    models = {
        "people": audience(PEOPLE, "user_id", SENT["u1"]),
        "companies": audience(COMPANIES, "account_id", ACCOUNT_TRAITS, seats="traits.employees"),
    }
    output = None if warehouse == "duckdb" else make_backend(warehouse, tmp_path).output
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world", models, output=output)
    world.declare(TRAITS, order_traits={}, profile_traits=PROFILE_TRAITS, account_traits=ACCOUNT_TRAITS)
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    (world.folder / "revetl.yml").write_text(json.dumps({"destinations": {"crm": crm}}))
    world.load(lines=lines())
    world.build(as_of=AS_OF, select=["+people", "+companies"])
    project = Project(world.folder, profiles_dir=world.folder)
    runs = [*project.sync("people"), *project.sync("companies")]
    assert [run.status for run in runs] == ["success", "success"]
    found = [sandbox.members("crm", name) for name in ("people", "companies")]
    assert found == [SENT, ACCOUNTS]
    sent = found[0]["u1"]
    assert {name: type(sent[name]) for name in sent} == {name: type(SENT["u1"][name]) for name in sent}
