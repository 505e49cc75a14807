"""Suppressed and excluded people are left out in whatever spelling they are listed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
import phonenumbers
import pytest

from revetl.destinations import TYPES
from revetl.normalising import PHONE_ENDS, RULES
from revetl.phones import e164
from revetl.sql import statement
from revetl.sync.diff import Diff
from revetl.sync.membership import LEFT_OUT
from revetl.sync.plan import make_diff
from revetl.sync.tables import Tables
from revetl.warehouse import Warehouse
from tests.conftest import SandboxClient
from tests.destinations.test_identifiers import CASES, destination_of
from tests.support.project import ProjectFolder


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


MAIL, PHONE = "annlee@gmail.com", "+16505551212"
PHONES = (
    *(PHONE, "(650) 555-1212", "+1 650 555 1212", " 650.555.1212", "6505551212.0", "001 650 555 1212"),
    *("1-650-555-1212", "Tel. 650 555 1212", "650 555 1212 ext. 5", "650\u00a0555\u20111212"),
    *("+1 (650) 555/1212", "\uff0b\uff11 650 555 1212", sha256("16505551212"), sha256("16505551212").upper()),
)
EMAILS = (MAIL, " AnnLee@Gmail.com", sha256(MAIL), sha256(MAIL).upper())
GMAILS = (*EMAILS, "Ann.Lee+news@gmail.com", "ann.lee@gmail.com")
NOT_PHONES = ("+1 650 555 1213", "650 555 1212 0", "+44 20 7946 0958", "+49 30 5551212", "n/a", sha256(PHONE))
NOT_EMAILS = ("annlee@gmail.co", "ann@lee.example", "n/a", sha256("annlee@gmail.co"))


@dataclass(frozen=True)
class Case:
    """What a sync takes, how the type of a suppression is written, spellings of one value, and others."""

    to: str
    identifiers: dict[str, str]
    kind: str
    same: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def column(self) -> str:
        """The column of the values."""
        return {"e-mail": "email"}.get(self.kind, self.kind)


CASES_OF = {
    "phone": Case("facebook_ads", {"PHONE": "phone"}, "phone", PHONES, NOT_PHONES),
    "mobile": Case("facebook_ads", {"PHONE": "mobile"}, "mobile", PHONES, NOT_PHONES),
    "expression": Case("facebook_ads", {"PHONE": "coalesce(mobile, phone)"}, "mobile", PHONES, NOT_PHONES),
    "email": Case(
        *("facebook_ads", {"EMAIL": "email"}, "e-mail", EMAILS, (*NOT_EMAILS, "ann.lee@gmail.com")),
    ),
    "gmail": Case("google_ads", {"hashedEmail": "email"}, "email", GMAILS, NOT_EMAILS),
    "plain": Case("sendgrid", {"phone_number_id": "phone"}, "phone", PHONES[:12], NOT_PHONES[:5]),
    "unmapped": Case("facebook_ads", {"EXTERN_ID": "user_id"}, "phone", PHONES[:12], NOT_PHONES[:5]),
    "raw": Case("crm", {"id": "user_id"}, "phone", PHONES[:12], NOT_PHONES[:5]),
}
SUPPRESS = """
    insert into :list (identifier_type, identifier_value, reason, suppressed_at)
    values (:kind, :value, 'opt-out', cast('2026-01-01 00:00:00' as timestamp))
"""


def rows(case: Case) -> str:
    """People with the values of a case: `s0` the same person's, `o0` others'."""
    listed = [*((f"s{at}", value) for at, value in enumerate(case.same))]
    listed += [(f"o{at}", value) for at, value in enumerate(case.others)]
    values = ", ".join(f"('{key}', '{value}')" for key, value in listed)
    others = ", ".join(f"cast(null as varchar) as {name}" for name in ("email", "phone", "mobile"))
    others = others.replace(f"cast(null as varchar) as {case.column}", f"t.value as {case.column}")
    return f"select t.user_id, {others} from (values {values}) as t (user_id, value)"


def destinations(url: str) -> dict[str, dict[str, Any]]:
    tools: dict[str, dict[str, Any]] = {
        "facebook_ads": {"ad_account_id": "7", "access_token": "TOKEN"},
        "google_ads": {"access_token": "t", "developer_token": "d", "customer_id": "1"},
        "sendgrid": {"api_key": "SG.x"},
    }
    made = {name: {"type": name, **config, "base_url": f"{url}/{name}"} for name, config in tools.items()}
    made["crm"] = {"type": "webhook", "url": f"{url}/crm"}
    return {name: {**config, "phone_region": "US"} for name, config in made.items()}


@pytest.fixture(params=["duckdb", pytest.param("postgres", marks=pytest.mark.slow)])
def shop(tmp_path: Path, sandbox: SandboxClient, request: pytest.FixtureRequest) -> ProjectFolder:
    """A project whose state tables are there, with an audience of each case."""
    project = ProjectFolder(tmp_path / "shop", destinations(sandbox.url), request.param)
    for name, case in CASES_OF.items():
        about = {"to": case.to, "identifiers": case.identifiers, "fields": {}, "max_change": 99}
        project.audience(name, rows(case), {"key": "user_id", "sync": [about]})
    project.audience("banned", "select '(650) 555-1212' as phone, 'Ann.Lee@gmail.com ' as email")
    project.declare("banned", {})
    # Of one sync, people are held; who has no phone number is rejected.
    assert project.open().sync("phone")[0].status == "rejected"
    return project


class Opened:
    """A project whose plans are looked into."""

    def __init__(self, project: ProjectFolder, warehouse: Warehouse) -> None:
        self.workspace, self.warehouse = project.open().workspace, warehouse
        self.tables = Tables(self.workspace.state_schema, warehouse.database)

    def suppress(self, kind: str, value: str) -> None:
        """Have one suppression and no other."""
        self.warehouse.run(statement("delete from :list", list=self.tables.suppressions))
        self.warehouse.run(statement(SUPPRESS, list=self.tables.suppressions, kind=kind, value=value))

    def left_out(self, name: str) -> set[tuple[str, str, str]]:
        """Key, cause and since of those whom a plan leaves out."""
        (sync,) = self.workspace.syncs(self.workspace.audience(name), None)
        destination = self.workspace.destination(sync, placeholders=True)
        diff = make_diff(self.workspace, sync, destination, self.warehouse, self.tables)
        assert isinstance(diff, Diff)
        if not diff.members.chosen:
            return set()
        found = self.warehouse.rows(statement("select key, cause, since from :left as o", left=LEFT_OUT))
        return {(key, cause, str(since)[:10]) for key, cause, since in found}


@pytest.fixture
def opened(shop: ProjectFolder) -> Iterator[Opened]:
    warehouse = shop.open().workspace.warehouse()
    yield Opened(shop, warehouse)
    warehouse.close()


def test_a_suppressed_person_is_left_out_in_every_spelling(opened: Opened) -> None:
    for name, case in CASES_OF.items():
        everyone = {(f"s{at}", "suppressed", "2026-01-01") for at in range(len(case.same))}
        for listed in (case.same[1], case.same[-1]):
            opened.suppress(case.kind, listed)
            assert opened.left_out(name) == everyone, (name, listed)


def test_excluded_people_are_left_out_in_every_spelling(opened: Opened, shop: ProjectFolder) -> None:
    for name in ("phone", "gmail", "plain"):
        case = CASES_OF[name]
        exclude = [{"model": "banned", "on": case.column}]
        about = {"to": case.to, "identifiers": case.identifiers, "fields": {}, "exclude": exclude}
        shop.declare(name, {"key": "user_id", "sync": [about]})
        everyone = {(f"s{at}", "excluded", "None") for at in range(len(case.same))}
        assert Opened(shop, opened.warehouse).left_out(name) == everyone, name
