"""Suppressed and excluded people are left out in whatever spelling they are listed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
import phonenumbers
import pytest

from revetl.destinations import TYPES
from revetl.identifiers.normalize import PHONE_ENDS, RULES
from revetl.identifiers.phones import e164
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.eligibility import LEFT_OUT
from revetl.sync.plan.inputs import read_inputs
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement
from tests.conftest import SandboxClient
from tests.destinations.test_identifiers import CASES, destination_of
from tests.helpers.project import ProjectFolder


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
        about = {"to": case.to, "identifiers": case.identifiers, "fields": {}, "max_change": "100%"}
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
        self.tables = StateTables(self.workspace.state_schema, warehouse.database)

    def suppress(self, kind: str, value: str) -> None:
        """Have one suppression and no other."""
        self.warehouse.run(statement("delete from :list", list=self.tables.suppressions))
        self.warehouse.run(statement(SUPPRESS, list=self.tables.suppressions, kind=kind, value=value))

    def left_out(self, name: str, to: str | None = None) -> set[tuple[str, str, str]]:
        """Key, cause and since of those whom a plan leaves out."""
        (sync,) = self.workspace.syncs(self.workspace.audience(name), to)
        destination = self.workspace.destination(sync, placeholders=True)
        diff = read_inputs(self.workspace, sync, destination, self.warehouse, self.tables)
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


def test_who_another_audience_claims_is_left_out_in_every_spelling(
    opened: Opened, shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    about = {"key": "phone", "sync": [{"to": "sendgrid", "fields": {}, "priority": "offers"}]}
    shop.audience("first", f"select '{PHONE}' as phone", about.copy())
    shop.audience("second", "select '(650) 555-1212' as phone union all select '6505551213'", about.copy())
    shop.destinations(destinations(sandbox.url), priorities={"offers": ["first", "second"]})
    opened = Opened(shop, opened.warehouse)
    assert opened.left_out("second") == {("(650) 555-1212", "claimed", "None")}


def test_who_is_suppressed_in_another_spelling_is_removed(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    """Though nothing of them has changed since they were sent."""
    schema = "revetl.revetl" if shop.backend.database == "revetl" else shop.backend.state_schema
    held = f"select key from {schema}.sync_state where sync = 'phone.facebook_ads' order by 1"
    values = "'phone', '650-555-1212', 'opt-out', timestamp '2026-01-01'"
    before = len(shop.sql(held))
    shop.sql(f"insert into {schema}.suppressions values ({values})")
    (run,) = shop.open().sync("phone")
    assert (before, run.delivered["remove"]) == (len(PHONES) + 4, len(PHONES))
    assert shop.sql(held) == [("o0",), ("o2",), ("o3",), ("o5",)]


def normalizing() -> dict[str, list[tuple[str, str]]]:
    """By type of destination: identifiers that it normalizes addresses and phone numbers of."""
    found: dict[str, list[tuple[str, str]]] = {}
    for kind in sorted(TYPES):
        for identifier in destination_of(kind).known_by:
            rule = RULES.get(identifier.hashed or identifier.normalised or "")
            if rule is not None and rule.kind in ("email address", "phone number"):
                spelling = "email" if rule.kind == "email address" else "phone"
                found.setdefault(kind, []).append((identifier.name, spelling))
    return found


def test_every_destination_that_normalizes_leaves_suppressed_people_out(
    tmp_path: Path, sandbox: SandboxClient
) -> None:
    configs, syncs = {}, []
    for kind, identifiers in normalizing().items():
        cases = orjson.loads((CASES / f"{kind}.json").read_bytes())["cases"]
        case = next(each for each in cases if each["operation"] != "create_audience")
        configs[kind] = {"type": kind, **case.get("config", {}), **case.get("secrets", {})}
        configs[kind]["phone_region"] = "US"
        mode = destination_of(kind).modes()[0]
        event = {"event": "Seen"} if "events" in mode else {}
        fields = {each.name: "user_id" for each in destination_of(kind).declared if each.required}
        syncs.append({"to": kind, "identifiers": dict(identifiers), "fields": fields, "mode": mode, **event})
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    project = ProjectFolder(tmp_path / "shop", {**configs, "crm": crm})
    people = "('m', ' AnnLee@Gmail.com', null), ('p', null, '650.555.1212'), ('o', 'o@x.co', '2125550100')"
    people = f"select * from (values {people}) as t (user_id, email, phone)"
    project.audience("vips", people, {"key": "user_id", "sync": syncs})
    project.audience("others", people, {"key": "user_id", "sync": [{"to": "crm", "fields": {}}]})
    assert project.open().sync("others")[0].status == "success"
    warehouse = project.open().workspace.warehouse()
    opened = Opened(project, warehouse)
    for kind, identifiers in normalizing().items():
        for spelling, listed, key in (("email", sha256(MAIL), "m"), ("phone", PHONE, "p")):
            if spelling in dict(identifiers).values():
                opened.suppress(spelling, listed if spelling == "phone" or hashes(kind) else MAIL)
                assert opened.left_out("vips", kind) == {(key, "suppressed", "2026-01-01")}, kind
    warehouse.close()


def hashes(kind: str) -> bool:
    """Whether a type of destination takes the SHA-256 of addresses."""
    rules = [each.hashed for each in destination_of(kind).known_by if each.hashed]
    return any(RULES[rule].kind == "email address" for rule in rules)


def test_a_text_ends_as_the_number_does_that_is_read_of_it() -> None:
    """Of every kind of number of every region, as it is written there, abroad and by machines."""
    form, seen = phonenumbers.PhoneNumberFormat, 0
    texts: list[tuple[str, str]] = []
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in range(5):
            if (number := phonenumbers.example_number_for_type(region, kind)) is not None:
                written = {form.NATIONAL, form.INTERNATIONAL, form.E164}
                texts += [(phonenumbers.format_number(number, each), region) for each in written]
                texts += [
                    (phonenumbers.format_out_of_country_calling_number(number, each), each)
                    for each in ("US", "AR")
                ]
    query = statement(PHONE_ENDS.sql, "duckdb", text=statement("t.text")).sql("duckdb")
    listed = duckdb.execute(
        f"select {query} from (select unnest(?) as text) as t", [[text for text, _ in texts]]
    ).fetchall()
    for (text, region), (digits,) in zip(texts, listed, strict=True):
        if digits is not None and (read := e164(text, region)) is not None:
            seen += 1
            assert digits.endswith(PHONE_ENDS.end_of(read)), (text, region)
    assert seen > 3000
