"""Whom a destination finds: what a plan counts as identified is what the sync sends, also of accounts."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from revetl.delivery.batches import cut_batches
from revetl.destinations import TYPES, make_destination
from revetl.destinations.base.destination import Destination, Record, Records
from revetl.destinations.facebook.conversions import TOO_BROAD, FacebookConversions
from revetl.errors import UsageError
from revetl.sandbox.setups import setups
from tests.conftest import Cli, SandboxClient
from tests.destinations.test_identifiers import destination_of
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast

ACCOUNTS = """
    select * from (values ('a1', 'Acme', 'acme.com', 'u1'), ('a2', 'Initech', 'initech.com', null))
    as t (account_id, name, company_domain, owner)
"""
PEOPLE = """
    select * from (values
        ('u1', 'b1', 'Ada', 'Lovelace', 'GB', 'W1', null), ('u2', null, 'Alan', null, 'GB', 'W1', null),
        ('u3', null, null, null, null, null, 'n/a'), ('u4', 'b4', null, null, null, null, 'ada@example.com')
    ) as t (user_id, browser, first_name, last_name, country, postal_code, email)
"""
GROUPS = {"calls": "group"}
SEGMENT = {"type": "segment", "write_key": "KEY"}
CASES: dict[str, tuple[str, dict[str, Any], str, str, dict[str, Any], float]] = {
    "accounts to Segment": ("segment", GROUPS, ACCOUNTS, "account_id", {}, 1.0),
    "accounts to RudderStack": ("segment.rudderstack", GROUPS, ACCOUNTS, "account_id", {"fields": {}}, 1.0),
    "accounts by their owners to Segment": (
        "segment",
        GROUPS,
        ACCOUNTS,
        "account_id",
        {"identifiers": {"userId": "owner", "groupId": "account_id"}},
        1.0,
    ),
    "companies to HubSpot": (
        "hubspot.companies",
        {},
        ACCOUNTS,
        "account_id",
        {"identifiers": {}, "fields": {"name": "name"}},
        1.0,
    ),
    "accounts to Salesforce": (
        "salesforce",
        {"object": "Account"},
        ACCOUNTS,
        "account_id",
        {"fields": {"Name": "name"}},
        1.0,
    ),
    "companies to LinkedIn": (
        "linkedin_ads",
        {"segment_type": "COMPANY"},
        ACCOUNTS,
        "account_id",
        {"mode": "mirror"},
        1.0,
    ),
    "half a name to LinkedIn": ("linkedin_ads", {}, PEOPLE, "user_id", {"mode": "mirror"}, 0.5),
    "half an address to Google Ads": ("google_ads", {}, PEOPLE, "user_id", {"mode": "mirror"}, 0.5),
    "users without a browser to GA4": (
        "google_analytics",
        {},
        PEOPLE,
        "user_id",
        {"identifiers": {"client_id": "browser", "user_id": "user_id"}, "fields": {}},
        0.5,
    ),
}


LONG = frozenset(CASES) - {"accounts to Segment", "accounts to Salesforce", "users without a browser to GA4"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in CASES]
)
def test_who_counts_as_identified_is_sent(name: str, tmp_path: Path, sandbox: SandboxClient) -> None:
    setup_name, config, query, key, sync, share = CASES[name]
    setup = setups()[setup_name]
    project = ProjectFolder(tmp_path / "shop", {"crm": {**setup.destination(sandbox.url), **config}})
    entry = {"to": "crm", "mode": "upsert", **{k: v for k, v in setup.sync.items() if k == "fields"}, **sync}
    project.audience("them", query, {"key": key, "sync": [entry]})
    opened = project.open()
    (plan,) = opened.plan("them")
    assert plan.preview is not None
    (run,) = opened.sync("them")
    counts = (run.delivered["add"], run.rejected["add"])
    assert (plan.preview.share, counts[0] / sum(counts)) == (share, share)


def test_a_group_call_about_an_account_alone_has_an_anonymous_member_of_it(
    tmp_path: Path, sandbox: SandboxClient
) -> None:
    segment = {**setups()["segment"].destination(sandbox.url), **GROUPS}
    project = ProjectFolder(tmp_path / "shop", {"crm": segment})
    entry = {
        "to": "crm",
        "fields": {"name": "name"},
        "identifiers": {"groupId": "account_id", "userId": "owner"},
    }
    project.audience("key_accounts", ACCOUNTS, {"key": "account_id", "sync": [entry]})
    project.open().sync("key_accounts")
    (request,) = sandbox.requests("segment")
    assert request["ids"] == ["u1", "group-a2"]


def configured(kind: str) -> Destination:
    """A destination of a kind, with what all of its modes need."""
    if kind == "sendgrid":
        mail = {"from": "shop@example.com", "template_id": "d-1"}
        return make_destination({"type": kind, "api_key": "KEY", "mail": mail}, kind)
    return destination_of(kind)


def judged(kind: str, mode: str, given: frozenset[str]) -> bool:
    """Whether a record with these identifiers is sent by a destination as one of its cases configures it."""
    destination = configured(kind)
    event = "Seen" if "events" in mode else None
    whole = Records("s", "a", "run", "add", (), event=event, at="2026-01-02T03:04:05.000Z")
    record = Record("k", dict.fromkeys(given, "x1"), {}, "run")
    wrong = destination.unidentified(mode, record)
    cuts = list(cut_batches(destination, mode, whole, [(0, [record])]))
    refused = {str(why) for cut in cuts for why in cut.refused.values()}
    assert wrong is None or wrong in refused
    return wrong is None


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_each_set_of_identifiers_that_finds_somebody_is_sent_and_no_other(kind: str) -> None:
    destination = configured(kind)
    names = {each.name for each in destination.known_by}
    for mode in destination.modes():
        ways = destination.found_by(mode)
        assert ways
        assert all(way <= names for way in ways)
        for way in ways[:8]:
            assert judged(kind, mode, way), (mode, way)
            for name in way:
                rest = way - {name}
                assert judged(kind, mode, rest) == any(each <= rest for each in ways), (mode, rest)


def test_meta_finds_somebody_by_whatever_is_not_too_broad() -> None:
    meta = destination_of("facebook_conversions")
    assert isinstance(meta, FacebookConversions)
    ways = meta.found_by("events")
    broad = set().union(*TOO_BROAD)
    for number in range(1, len(broad) + 1):
        for given in combinations(sorted(broad), number):
            is_found = not any({*given} <= each for each in TOO_BROAD)
            assert any(way <= {*given} for way in ways) == is_found, given


@pytest.mark.parametrize(
    ("config", "mode", "identifiers", "sentence"),
    [
        (
            {"type": "segment", "write_key": "KEY"},
            "upsert",
            {"groupId": "account_id"},
            "userId or anonymousId",
        ),
        ({"type": "segment", "write_key": "KEY", **GROUPS}, "upsert", {"userId": "owner"}, "map groupId"),
        (
            {"type": "google_analytics", "api_secret": "S", "measurement_id": "G-1234567890"},
            "upsert",
            {"user_id": "owner"},
            "map client_id",
        ),
        ({"type": "heap", "app_id": 1, "api_key": "K"}, "upsert", {"user_id": "owner"}, "map identity"),
    ],
    ids=str,
)
def test_identifiers_that_find_nobody_are_an_error_before_anything_is_sent(
    config: dict[str, Any], mode: str, identifiers: dict[str, str], sentence: str, tmp_path: Path, cli: Cli
) -> None:
    project = ProjectFolder(tmp_path / "shop", {"crm": config})
    entry = {"to": "crm", "mode": mode, "identifiers": identifiers, "fields": {"name": "name"}}
    project.audience("them", ACCOUNTS, {"key": "account_id", "sync": [entry]})
    with pytest.raises(UsageError, match=rf"cannot identify a record by \w+ alone\. Also .*{sentence}"):
        project.open().plan("them")
    done = cli(project, "validate")
    assert (done.returncode, sentence in done.stderr + done.stdout) == (2, True)


@pytest.mark.parametrize("kind", first_fast(["facebook_ads", "google_conversions"]))
def test_a_plan_shows_phones_and_countries_that_are_none_as_such(
    kind: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    project = ProjectFolder(tmp_path / "shop", {kind: setups()[kind].destination(sandbox.url)})
    rows = ", ".join(
        f"('u{at}', '{phone}', 'Ada', 'L', '{country}', 'W1', 'a@example.com')"
        for at, (phone, country) in enumerate([("n/a", "null"), ("-", "n/a"), ("null", "-"), ("abc", "?")])
    )
    columns = "user_id, phone, first_name, last_name, country, postal_code, email"
    sync: dict[str, Any] = {"to": kind, "mode": "events", "event": "Seen", "fields": {}}
    if kind == "facebook_ads":
        sync = {"to": kind}
    meta = {"key": "user_id", "sync": [sync]}
    project.audience("vips", f"select * from (values {rows}) as t ({columns})", meta)
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    phone = next(each for each in plan.preview.identifiers if each.name.lower().startswith("phone"))
    assert (phone.share, {sent for _, _, sent in phone.examples}) == (0.0, {None})
    (run,) = project.open().sync("vips")
    assert run.delivered["add"] == plan.preview.share * 4 == 4
