"""Tasks of an analyst, on one project that is built once with dbt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from revetl.project.scaffolding import make_project
from revetl.sandbox import running_sandbox
from tests.conftest import SandboxClient

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC).replace(microsecond=0)
WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
PEOPLE = 100

AUDIENCES = {
    "vips": "select user_id, email from {{ ref('revetl', 'revetl_profiles') }}\n"
    "where user_id is not null and lifetime_value >= 1000",
    "lamp_fans": "select user_id, email from {{ ref('revetl', 'revetl_profiles') }}\n"
    "where user_id is not null\n"
    "  and {{ revetl.did('Order Completed', at_least=2, within='60 days',"
    " where={'property': 'products[].name', 'equals': 'Lamp'}) }}\n"
    "  and {{ revetl.did_not('Order Completed', within='14 days') }}\n"
    "  and {{ revetl.trait('email', 'exists') }}\n"
    "  and not {{ revetl.in_audience('vips', on='user_id') }}",
    "favorite_weekday": "with orders as (\n"
    "  select e.canonical_id, extract(isodow from t.timestamp) as weekday, count(*) as orders\n"
    "  from {{ ref('revetl', 'stg_revetl__tracks') }} as t\n"
    "  inner join {{ ref('revetl', 'revetl_events') }} as e on e.message_id = t.message_id\n"
    "  where t.event_text = 'Order Completed' group by 1, 2\n"
    "), ranked as (\n"
    "  select *, row_number() over (partition by canonical_id order by orders desc, weekday) as place\n"
    "  from orders\n"
    ")\n"
    "select p.user_id, r.weekday from ranked as r\n"
    "inner join {{ ref('revetl', 'revetl_profiles') }} as p on p.canonical_id = r.canonical_id\n"
    "where r.place = 1 and p.user_id is not null",
    "top_tenth": "with ranked as (\n"
    "  select user_id, lifetime_value, row_number() over (order by lifetime_value desc, user_id) as place,\n"
    "    count(*) over () as people\n"
    "  from {{ ref('revetl', 'revetl_profiles') }} where user_id is not null and lifetime_value is not null\n"
    ")\n"
    "select user_id, lifetime_value from ranked where place <= people / 10.0",
    "fair_visitors": "select email from {{ ref('fair') }}",
    "consented": "select user_id, email from {{ ref('revetl', 'revetl_profiles') }}\n"
    "where user_id is not null and {{ revetl.trait('marketing_consent', '=', true) }}",
    "everybody": "select user_id, canonical_id, email, first_name\n"
    "from {{ ref('revetl', 'revetl_profiles') }}\n"
    "where user_id is not null",
}
SYNCS: dict[str, Any] = {
    "lamp_fans": [{"to": "crm"}],
    "vips": [{"to": "crm"}, {"to": "archive"}],
    "favorite_weekday": [{"to": "crm", "fields": ["weekday"]}],
    "top_tenth": [{"to": "crm"}],
    "fair_visitors": [{"to": "crm"}],
    "consented": [
        {"to": "mailchimp", "identifiers": {"email_address": "email"}, "fields": {}},
        {"to": "crm", "exclude": [{"model": "employees", "column": "email", "on": "email"}]},
    ],
    "everybody": [
        {"to": "google_ads", "identifiers": {"hashedEmail": "email"}, "fields": {}},
        {
            "to": "mailchimp",
            "identifiers": {"email_address": "email"},
            "fields": {"FNAME": "first_name"},
            "mode": "upsert",
        },
        {"to": "crm", "holdout": "10%", "fields": ["email"]},
    ],
}
KEYS = {"fair_visitors": "email"}


def events() -> Iterator[dict[str, Any]]:
    """Identifies and orders of u000 to u099. Every tenth is an employee, every second consents. Those below
    10 bought a lamp twice, 30 and 20 days ago, u003 and u004 a chair yesterday, and u005 and u006 for a lot.
    """
    for number in range(PEOPLE):
        user = f"u{number:03}"
        traits = {
            "email": f"{user}@{'shop' if number % 10 == 0 else 'mail'}.example",
            "first_name": f"Name {number}",
            "marketing_consent": number % 2 == 0,
        }
        # u007 has not given an email.
        if number == 7:
            del traits["email"]
        yield message("identify", user, 40, traits=traits)
        for days in (30, 20) if number < 10 else (25,):
            name = "Lamp" if number < 10 else "Chair"
            total = 900 if number in (5, 6) else 10 + number
            yield message(
                "track",
                user,
                days,
                event="Order Completed",
                properties={"order_id": f"{user}-{days}", "total": total, "products": [{"name": name}]},
            )
        if number in (3, 4):
            yield message(
                "track",
                user,
                1,
                event="Order Completed",
                properties={"total": 5, "products": [{"name": "Chair"}]},
            )


def message(kind: str, user: str, days: int, **rest: Any) -> dict[str, Any]:
    at = (NOW - timedelta(days=days)).isoformat()
    return {
        "type": kind,
        "messageId": f"{kind}-{user}-{days}",
        "userId": user,
        "timestamp": at,
        "receivedAt": at,
        "sentAt": at,
        "originalTimestamp": at,
        **rest,
    }


@dataclass(frozen=True)
class Shop:
    """The project, and the commands that an analyst types in it."""

    root: Path
    sandbox: SandboxClient

    def run(self, command: str, *arguments: str, code: int = 0) -> str:
        programs = {
            "dbt": [str(Path(sys.executable).with_name("dbt"))],
            "revetl": [sys.executable, "-m", "revetl"],
        }
        done = subprocess.run(
            [*programs[command], *arguments],
            cwd=self.root,
            env={**os.environ, "NO_COLOR": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def members(self, audience: str) -> set[str]:
        key = KEYS.get(audience, "user_id")
        text = self.run(
            "revetl", "sql", f"select {key} from {{{{ ref('{audience}') }}}}", "-o", "json", "--limit", "999"
        )
        return {row[key] for row in json.loads(text)}

    def revetl_json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run("revetl", *arguments, "-o", "json", code=code))


def configure(root: Path, url: str) -> None:
    (root / "seeds").mkdir(exist_ok=True)
    (root / "seeds" / "fair.csv").write_text("email\nann@fair.example\nbob@fair.example\n")
    staff = "".join(f"u{number:03}@shop.example\n" for number in range(0, PEOPLE, 10))
    (root / "seeds" / "employees.csv").write_text(f"email\n{staff}")
    folder = root / "models" / "audiences"
    for file in folder.iterdir():
        file.unlink()
    for name, sql in AUDIENCES.items():
        (folder / f"{name}.sql").write_text(sql + "\n")
    models = []
    for name in AUDIENCES:
        meta: dict[str, Any] = {"key": KEYS.get(name, "user_id"), "sync": SYNCS[name]}
        if name == "everybody":
            meta["goal"] = {"event": "Order Completed", "within": "30 days"}
        models.append({"name": name, "config": {"meta": {"revetl": meta}}})
    (folder / "audiences.yml").write_text(yaml.safe_dump({"models": models}, sort_keys=False))
    document = yaml.safe_load((root / "dbt_project.yml").read_text())
    own = document.setdefault("vars", {}).setdefault("revetl", {})
    own["profile_traits"] = ["email", "first_name", {"marketing_consent": "boolean"}]
    (root / "dbt_project.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    destinations = {
        "crm": {"type": "webhook", "url": f"{url}/crm"},
        "archive": {"type": "webhook", "url": f"{url}/archive"},
        "mailchimp": {
            "type": "mailchimp",
            "base_url": f"{url}/mailchimp",
            "api_key": "any-us1",
            "list_id": "9e67587f52",
            "status_if_new": "transactional",
        },
        "google_ads": {
            "type": "google_ads",
            "base_url": f"{url}/google_ads",
            "customer_id": "123-456-7890",
            "developer_token": "DEV",
            "access_token": "TOKEN",
        },
    }
    (root / "revetl.yml").write_text(yaml.safe_dump({"destinations": destinations}))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The project with its events loaded and everything built, and a sandbox that plays its destinations."""
    root = tmp_path_factory.mktemp("analyst") / "shop"
    make_project(root)
    with running_sandbox() as url:
        configure(root, url)
        found = Shop(root, SandboxClient(url))
        (root / "events.ndjson").write_text("".join(f"{json.dumps(each)}\n" for each in events()))
        found.run("dbt", "deps", "-q")
        found.run("revetl", "load", "events.ndjson")
        found.run("dbt", "build", "-q", *WITHOUT_TESTS)
        yield found


def test_who_bought_it_twice_in_60_days_and_nothing_in_14_with_an_email_and_is_no_vip(shop: Shop) -> None:
    assert shop.members("vips") == {"u005", "u006"}
    # u003 and u004 bought yesterday, u005 and u006 are VIPs, u007 has no email.
    assert shop.members("lamp_fans") == {"u000", "u001", "u002", "u008", "u009"}


def test_the_favorite_weekday_of_everybody(shop: Shop) -> None:
    rows = shop.revetl_json("sql", "select * from {{ ref('favorite_weekday') }}", "--limit", "999")
    found = {row["user_id"]: row["weekday"] for row in rows}
    assert len(found) == PEOPLE
    assert found["u050"] == (NOW - timedelta(days=25)).isoweekday()


def test_the_top_tenth_by_value(shop: Shop) -> None:
    assert shop.members("top_tenth") == {"u005", "u006", *(f"u{number:03}" for number in range(92, 100))}


def test_an_audience_from_a_csv(shop: Shop) -> None:
    shop.run("revetl", "sync", "fair_visitors")
    held = shop.sandbox.members("crm", "fair_visitors")
    assert set(held) == {"ann@fair.example", "bob@fair.example"}


def test_only_who_consented_and_no_employees(shop: Shop) -> None:
    assert shop.members("consented") == {f"u{number:03}" for number in range(0, PEOPLE, 2)}
    shop.run("revetl", "sync", "consented", "--to", "crm")
    held = set(shop.sandbox.members("crm", "consented"))
    assert held == {f"u{number:03}" for number in range(0, PEOPLE, 2) if number % 10}


def test_mailchimp_with_merge_fields(shop: Shop) -> None:
    (plan,) = shop.revetl_json("plan", "everybody", "--to", "mailchimp")
    assert '"FNAME": "Name ' in json.dumps(plan["preview"]["requests"])
    shop.run("revetl", "sync", "everybody", "--to", "mailchimp", code=1)
    # Whoever has no email is rejected, and named with the reason.
    (rejected,) = shop.revetl_json("rejections", "everybody", "--to", "mailchimp")
    assert rejected["key"] == "u007"


def test_google_ads_with_hashed_emails(shop: Shop) -> None:
    (plan,) = shop.revetl_json("plan", "everybody", "--to", "google_ads")
    assert sum(plan["preview"]["shaped"]["rejected"].values()) == 1
    (identifier,) = plan["preview"]["identifiers"]
    for _, normalized, sent in identifier["examples"]:
        assert sent == sha256(normalized.encode()).hexdigest()
    shop.run("revetl", "sync", "everybody", "--to", "google_ads", code=1)
    assert "mail.example" not in json.dumps(shop.sandbox.requests("google_ads"))


def test_a_renamed_audience_sends_nobody_again(shop: Shop) -> None:
    shop.run("revetl", "sync", "top_tenth")
    folder = shop.root / "models" / "audiences"
    (folder / "top_tenth.sql").rename(folder / "best_tenth.sql")
    document = yaml.safe_load((folder / "audiences.yml").read_text())
    for model in document["models"]:
        if model["name"] == "top_tenth":
            model["name"] = "best_tenth"
            model["config"]["meta"]["revetl"]["was"] = "top_tenth"
    (folder / "audiences.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    shop.run("dbt", "build", "-q", "--select", "best_tenth", *WITHOUT_TESTS)
    assert "nothing changed" in shop.run("revetl", "sync", "best_tenth")


def test_why_somebody_is_not_in_an_audience(shop: Shop) -> None:
    found = shop.revetl_json("why", "u003@mail.example", "lamp_fans")
    assert found["membership"]["member"] is False
    reasons = " ".join(found["membership"]["reasons"])
    assert "did(Order Completed, within 14 days)" in reasons


def test_which_audiences_somebody_is_in(shop: Shop) -> None:
    shop.run("revetl", "sync", "vips", "--to", "crm")
    found = {each["audience"]: each for each in shop.revetl_json("why", "u005@mail.example")}
    assert {name for name, each in found.items() if each["member"]} >= {
        "vips",
        "everybody",
        "favorite_weekday",
    }
    assert found["lamp_fans"]["member"] is False
    assert [each["sync"] for each in found["vips"]["held"]] == ["vips.crm"]


def test_what_failed_since_yesterday(shop: Shop) -> None:
    shop.sandbox.misbehave({"kind": "status", "status": 401, "reason": "who are you"})
    shop.run("revetl", "sync", "favorite_weekday", code=4)
    shop.sandbox.behave()
    failed = shop.revetl_json("history", "favorite_weekday", "--since", "yesterday", "--failed")
    assert [(run["sync"], run["status"]) for run in failed] == [("favorite_weekday.crm", "refused")]
    assert "who are you" in failed[0]["error"]


def test_a_new_destination_is_filled_with_everybody(shop: Shop) -> None:
    shop.run("revetl", "sync", "vips", "--to", "archive")
    assert set(shop.sandbox.members("archive", "vips")) == {"u005", "u006"}
    again = shop.run("revetl", "sync", "vips", "--to", "archive", "--full-refresh")
    assert "vips.archive: success: 2 updated" in again


def test_grants_for_who_may_only_read(shop: Shop) -> None:
    # DuckDB is a file, and has no roles.
    assert shop.run("revetl", "roles", "--print") == ""


def test_a_look_at_it(shop: Shop) -> None:
    found = shop.revetl_json("audience", "preview", "vips")
    assert (found["members"], found["would_enter"], found["would_leave"]) == (2, 0, 0)
    text = shop.run("revetl", "sql", "select count(*) as vips from {{ ref('vips') }}")
    assert text.split()[-1] == "2"
