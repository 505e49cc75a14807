"""Checks of the data on real warehouses: what alerts, and that each change is told once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from revetl.config.base import check
from revetl.config.data_alerts import CHECK_KINDS, DataCheck
from revetl.config.models import RevetlConfig
from revetl.errors import UsageError, WarehouseError
from revetl.inspect.data_alerts import CheckResult, check_data
from revetl.inspect.data_alerts.verdict import Measurement, judge
from revetl.observability.alerts import check_alerts, check_data_alerts
from revetl.sync.state.tables import StateTables
from tests.conftest import Cli
from tests.helpers.built import ROOT
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.observability.support import Receiver, receiving
from tests.warehouses.postgres import PostgresServer

NOW = datetime(2026, 3, 10, 12)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STAGED = (
    "stg_revetl__tracks",
    "stg_revetl__identifies",
    "stg_revetl__groups",
    "stg_revetl__pages",
    "stg_revetl__screens",
)
META = {"key": "user_id", "sync": []}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


class World:
    """A project whose staging models, violations and builds a test writes."""

    def __init__(self, root: Path, engine: str) -> None:
        self.project = ProjectFolder(root, {}, engine)
        self._number = 0
        columns = "message_id varchar, source_id varchar, received_at timestamp, loaded_at timestamp"
        for name in STAGED:
            self.model(name, columns + (", event_text varchar" if name == "stg_revetl__tracks" else ""))
        self.model(
            "revetl_tracking_plan_violations",
            "message_id varchar, message_type varchar, event varchar, rule_name varchar, action varchar, "
            "received_at timestamp, source_id varchar",
        )
        self.model("revetl_events", "source varchar, message_id varchar")
        self.project.audience("vips", "select 'u' as user_id", dict(META))

    def model(self, name: str, columns: str) -> None:
        """An empty table that the manifest has as a model."""
        self.project.sql(f"create table {name} ({columns})")
        self.project.declare(name, {})
        self.project._nodes[f"model.shop.{name}"]["config"] = {"tags": [], "meta": {}}
        self.project.write_manifest()

    def tracks(
        self, count: int, at: datetime, source: str | None = "web", event: str = "Viewed"
    ) -> list[str]:
        """Messages received at a moment; gives their ids."""
        names = [f"m{self._number + index}" for index in range(count)]
        self._number += count
        for name in names:
            self.project.sql(
                "insert into stg_revetl__tracks values (?, ?, ?, ?, ?)", name, source, at, at, event
            )
        return names

    def violates(self, name: str, at: datetime, action: str = "flag", rule: str = "type", **of: str) -> None:
        """A message that breaks a rule."""
        event, source = of.get("event", "Viewed"), of.get("source", "web")
        self.project.sql(
            "insert into revetl_tracking_plan_violations values (?, 'track', ?, ?, ?, ?, ?)",
            name, event, rule, action, at, source,
        )  # fmt: skip

    def built(self, number: int, at: datetime, entered: int = 0, left: int = 0) -> None:
        """A build of the audience."""
        invocation = f"i{number}"
        state = (
            f"revetl.{self.project.backend.state_schema}"
            if self.project.backend.type != "duckdb"
            else "revetl.revetl"
        )
        self.project.sql(f"insert into {state}.audience_builds values ('vips', ?, ?, 'dev')", at, invocation)
        for change, count in (("entered", entered), ("left", left)):
            for index in range(count):
                self.project.sql(
                    f"insert into {state}.audience_changes values ('vips', ?, ?, ?, ?, ?, null)",
                    f"{invocation}-{change}-{index}", change, at, at, invocation,
                )  # fmt: skip

    def check(
        self, *data: dict[str, Any], now: datetime = NOW, to: str = "", **options: Any
    ) -> list[CheckResult]:
        """Check as of a moment."""
        entry: dict[str, Any] = {"to": to or "{{ env_var('NONE', '') }}", "data": list(data), **options}
        self.project.destinations({}, alerts=[entry])
        return check_data(self.project.open().workspace, now=now)


@pytest.fixture(params=first_fast(["duckdb", "postgres"]))
def world(tmp_path: Path, request: pytest.FixtureRequest) -> World:
    made = World(tmp_path / "shop", request.param)
    with made.project.open().workspace.writing() as warehouse:
        StateTables(made.project.backend.state_schema, warehouse.database).create(warehouse)
    return made


def found(results: list[CheckResult]) -> dict[str, tuple[str, str]]:
    return {each.subject: (each.state, each.detail) for each in results}


def test_each_kind_of_check_alerts_on_the_subject_that_breaks_it(world: World) -> None:
    for day in range(1, 5):
        world.built(day, NOW - DAY * (5 - day), entered=10 if day == 1 else 0)
        world.tracks(4, NOW - DAY * (5 - day) - HOUR)
        world.tracks(2, NOW - DAY * (5 - day) - HOUR, "app")
    world.built(5, NOW - HOUR, entered=1, left=6)
    recent = NOW - 2 * HOUR
    few = world.tracks(1, recent)
    app = world.tracks(2, recent, "app", "Purchased")
    for name in (few[0], "blocked"):
        world.violates(name, recent, "block" if name == "blocked" else "flag")
        world.violates(name, recent, "flag", "enum")
    world.violates(app[0], recent, "flag", "unplanned_event", event="Purchased", source="app")
    world.project.sql("insert into revetl_events values ('track', ?)", app[0])
    results = world.check(
        {"check": "violations", "above": "50%", "source": "*"},
        {"check": "violations", "above": 5, "event": "Viewed"},
        {"check": "volume", "drop": "40%", "builds": 3},
        {"check": "volume", "below": 1, "source": "pos"},
        {"check": "new_events"},
        {"check": "audience_size", "drop": "30%", "builds": 3, "audience": "vips"},
        {"check": "churn", "above": "20%"},
        {"check": "unmatched", "above": "60%", "source": "*"},
        {"check": "freshness", "above": "1 hour", "source": "*"},
        {"check": "freshness", "above": "2 hours", "audience": "vips"},
    )
    assert {(each.alert, each.subject): (each.state, each.detail) for each in results} == {
        ("violations, source *, above 50%", "web"): (
            "alerting",
            "100.0% (2 of 2), above 50%. See revetl_tracking_plan_violations.",
        ),
        ("violations, source *, above 50%", "app"): ("ok", "1. See revetl_tracking_plan_violations."),
        ("violations, event Viewed, above 5", "Viewed from web"): (
            "ok",
            "2. See revetl_tracking_plan_violations.",
        ),
        ("violations, event Viewed, above 5", "Viewed from app"): ("ok", "0"),
        ("volume, drop 40% against 3 builds", "web"): (
            "alerting",
            "48% less (0.087 compared with 0.17, the mean of the previous 3 builds). "
            "Messages per hour, from build to build.",
        ),
        ("volume, drop 40% against 3 builds", "app"): ("ok", "2. Messages per hour, from build to build."),
        ("volume, source pos, below 1", "pos"): ("alerting", "0, below 1"),
        ("new_events", "web"): ("ok", "0"),
        ("new_events", "app"): ("alerting", "1: Purchased"),
        ("audience_size, audience vips, drop 30% against 3 builds", "vips"): (
            "alerting",
            "50% less (5 compared with 10, the mean of the previous 3 builds)",
        ),
        ("churn, above 20%", "vips"): ("alerting", "60.0% (6 of 10), above 20%. Left in the last build."),
        ("unmatched, source *, above 60%", "web"): ("alerting", "100.0%, above 60%"),
        ("unmatched, source *, above 60%", "app"): ("ok", "50.0%"),
        ("freshness, source *, above 1 hour", "web"): (
            "alerting",
            "2.0 hours, above 1 hour. Last: 2026-03-10 10:00 UTC.",
        ),
        ("freshness, source *, above 1 hour", "app"): (
            "alerting",
            "2.0 hours, above 1 hour. Last: 2026-03-10 10:00 UTC.",
        ),
        ("freshness, audience vips, above 2 hours", "vips"): (
            "ok",
            "1.0 hours. Last: 2026-03-10 11:00 UTC.",
        ),
    }


def test_a_change_of_state_is_told_once_and_once_more_when_it_is_over(
    world: World, receiver: Receiver
) -> None:
    check = {"check": "freshness", "above": "6 hours", "source": "web"}
    world.tracks(1, NOW - HOUR)
    told = [world.check(check, now=NOW + hours * HOUR, to=receiver.url)[0] for hours in (0, 6, 7, 8)]
    world.tracks(1, NOW + 9 * HOUR)
    told += [world.check(check, now=NOW + hours * HOUR, to=receiver.url)[0] for hours in (10, 11)]
    assert [(each.state, each.changed, each.told) for each in told] == [
        ("ok", False, False),
        ("alerting", True, True),
        ("alerting", False, False),
        ("alerting", False, False),
        ("ok", True, True),
        ("ok", False, False),
    ]
    assert [(payload["title"], payload["type"]) for payload in map(_json, receiver.requests)] == [
        ("revetl: freshness, source web, above 6 hours: web alerts", "warning"),
        ("revetl: freshness, source web, above 6 hours: web is resolved", "success"),
    ]


def test_a_message_that_nobody_got_is_sent_by_the_next_check(world: World, receiver: Receiver) -> None:
    check = {"check": "freshness", "above": "6 hours", "source": "web"}
    receiver.status = 500
    assert [each.told for each in world.check(check, to=receiver.url)] == [False]
    receiver.status = 200
    assert [each.told for each in world.check(check, to=receiver.url)] == [True]
    assert [each.told for each in world.check(check, to=receiver.url)] == [False]


def test_another_new_event_is_news_although_the_check_alerts_already(
    world: World, receiver: Receiver
) -> None:
    world.tracks(1, NOW - 3 * DAY)
    for event in ("A", "B"):
        world.tracks(1, NOW - HOUR, "web", event)
        for _ in range(2):
            world.check({"check": "new_events"}, to=receiver.url)
    assert [_json(each)["message"].splitlines()[0] for each in receiver.requests] == [
        "web: 1: A.",
        "web: 2: A, B.",
    ]


def test_a_known_name_with_a_comma_is_no_news(world: World, receiver: Receiver) -> None:
    world.tracks(1, NOW - 3 * DAY)
    world.tracks(1, NOW - HOUR, "web", "Cart, Viewed: again")
    told = [world.check({"check": "new_events"}, to=receiver.url)[0].told for _ in range(2)]
    assert (told, len(receiver.requests)) == ([True, False], 1)


def test_new_names_of_a_check_that_does_not_alert_are_not_told(world: World, receiver: Receiver) -> None:
    check = {"check": "new_events", "above": 1}
    world.tracks(1, NOW - 3 * DAY)
    for event in ("A", "B"):
        world.tracks(1, NOW - HOUR, "web", event)
    told = [world.check(check, now=NOW + days * DAY, to=receiver.url)[0] for days in (0, 2)]
    world.tracks(1, NOW + 2 * DAY, "web", "C")
    told += world.check(check, now=NOW + 2 * DAY, to=receiver.url)
    assert [(each.state, each.told) for each in told] == [("alerting", True), ("ok", True), ("ok", False)]


def test_a_change_that_was_seen_where_no_address_is_set_is_told_where_one_is(
    world: World, receiver: Receiver
) -> None:
    check = {"check": "freshness", "above": "6 hours", "source": "web"}
    told = [world.check(check, to=to)[0].told for to in ("", receiver.url, "", receiver.url)]
    assert (told, len(receiver.requests)) == ([False, True, False, False], 1)


def test_nothing_is_sent_by_a_user_who_cannot_keep_the_states(tmp_path: Path, receiver: Receiver) -> None:
    world = World(tmp_path / "shop", "postgres")
    check = {"check": "freshness", "above": "6 hours", "source": "web"}
    with world.project.open().workspace.writing() as warehouse:
        StateTables(world.project.backend.state_schema, warehouse.database).create(warehouse)
    backend = world.project.backend
    reader = f"reader_{backend.schema}"
    schemas = f"schema {backend.schema}, {backend.state_schema}"
    PostgresServer(backend.output["host"], backend.output["port"]).run(
        f"create role {reader} login",
        f"grant usage on {schemas} to {reader}",
        f"grant select on all tables in {schemas} to {reader}",
        database=backend.output["dbname"],
    )
    profiles = yaml.safe_load((world.project.root / "profiles.yml").read_text())
    profiles["shop"]["outputs"]["dev"]["user"] = reader
    (world.project.root / "profiles.yml").write_text(yaml.safe_dump(profiles))
    with pytest.raises(WarehouseError, match="permission denied"):
        world.check(check, to=receiver.url)
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("check", "measured"),
    [
        ({"check": "unmatched", "source": "*", "above": "5%"}, Measurement("web", 1 - 95 / 100, "share")),
        ({"check": "violations", "above": "0.7%"}, Measurement("web", 7, total=1_000)),
        ({"check": "volume", "drop": "30%"}, Measurement("web", 70, before=(100,))),
        ({"check": "volume", "rise": "30%"}, Measurement("web", 130, before=(100,))),
        ({"check": "volume", "below": 1}, Measurement("web", 1)),
        ({"check": "freshness", "source": "*", "above": "6 hours"}, Measurement("web", 21_600, "seconds")),
    ],
)
def test_a_value_at_its_threshold_does_not_alert(check: dict[str, Any], measured: Measurement) -> None:
    assert not judge(DataCheck.model_validate(check), measured).is_alerting


def test_a_dry_run_shows_and_writes_nothing(tmp_path: Path, cli: Cli, receiver: Receiver) -> None:
    world = World(tmp_path / "shop", "duckdb")
    check = {"check": "freshness", "above": "6 hours", "source": "web"}
    world.project.destinations({}, alerts=[{"to": receiver.url, "data": check}])
    shown = [cli(world.project, "alerts", "check", "--dry-run", "-o", "json") for _ in range(2)]
    assert [(each.returncode, json.loads(each.stdout)[0]["changed"]) for each in shown] == [(1, True)] * 2
    assert receiver.requests == []
    sent = cli(world.project, "alerts", "check")
    assert (sent.returncode, len(receiver.requests)) == (1, 1)
    assert "nothing was ever seen" in sent.stdout
    assert sent.stderr.splitlines()[-1] == "Alerting: 1 of 1 value; 1 change told."
    world.tracks(1, datetime.now())
    assert cli(world.project, "alerts", "check").returncode == 0


def test_a_dry_run_does_not_bring_the_tables_of_an_older_revetl_forward(world: World) -> None:
    schema = "revetl.revetl"
    world.project.sql(f"drop table {schema}.alert_states")
    data = [{"check": "freshness", "above": "6 hours", "source": "web"}, {"check": "churn", "above": "10%"}]
    world.project.destinations({}, alerts=[{"to": "{{ env_var('NONE', '') }}", "data": data}])
    assert [each.state for each in check_data(world.project.open().workspace, dry_run=True)] == ["alerting"]
    tables = "select count(*) from information_schema.tables where table_name = 'alert_states'"
    there = f"{tables} and table_schema = '{world.project.backend.state_schema}'"
    assert world.project.sql(there) == [(0,)]


def test_models_that_were_not_built_are_named(tmp_path: Path) -> None:
    project = ProjectFolder(tmp_path / "shop")
    project.audience("vips", "select 'u' as user_id", dict(META))
    project.destinations({}, alerts=[{"to": "json://x", "data": {"check": "volume", "below": 1}}])
    with pytest.raises(WarehouseError, match="dbt has no model 'revetl_tracking_plan_violations'"):
        check_data(project.open().workspace, dry_run=True)


WRONG = {
    "an unknown check": (
        {"check": "volumes", "below": 1},
        "alerts.0.data.0.check: 'volumes' is not known. Did you mean 'volume'?",
    ),
    "a key of another check": (
        {"check": "churn", "above": "5%", "source": "web"},
        "alerts.0.data.0: source: is not valid for 'churn', which accepts audience, above, rise, builds.",
    ),
    "no threshold": (
        {"check": "volume", "source": "web"},
        "alerts.0.data.0: 'volume' requires a threshold: above or below or drop or rise.",
    ),
    "a share of a time": (
        {"check": "freshness", "above": "5%", "source": "web"},
        "alerts.0.data.0: above: '5%' has the wrong unit; use for example '6 hours'.",
    ),
    "no subject": (
        {"check": "freshness", "above": "6 hours"},
        "alerts.0.data.0: 'freshness' requires either source or audience, for example source: '*'.",
    ),
    "no amount": (
        {"check": "volume", "below": "few"},
        "alerts.0.data.0.below: 'few' is not an amount; use 100, 10% or '6 hours'.",
    ),
}


@pytest.mark.parametrize(("entry", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_check_is_told_by_its_place(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        check(RevetlConfig, {"alerts": [{"to": "json://x", "data": [entry]}]}, "revetl.yml")
    assert str(error.value) == f"revetl.yml: {sentence}"


def test_a_check_of_an_audience_that_is_not_there() -> None:
    document = {"alerts": [{"to": "json://x", "data": [{"check": "churn", "above": 1, "audience": "vip"}]}]}
    with pytest.raises(UsageError) as error:
        check_data_alerts(check(RevetlConfig, document, "revetl.yml").alerts, ["vips"], ["vips.crm"])
    assert str(error.value) == (
        "revetl.yml: alerts.0.data.0.audience: no audience matches 'vip'. Did you mean 'vips'?"
    )


def test_alerts_on_data_need_no_sync() -> None:
    document = {"alerts": [{"to": "json://x", "data": [{"check": "new_events"}]}]}
    alerts = check(RevetlConfig, document, "revetl.yml").alerts
    check_alerts(alerts, [])
    assert alerts[0].syncs == ("*",)


def test_the_checks_of_the_docs_are_valid() -> None:
    text = (ROOT / "docs" / "how-to" / "alerts.md").read_text()
    (block,) = [
        part.split("```")[0] for part in text.split("```yaml\n")[1:] if "data:" in part.split("```")[0]
    ]
    (alert,) = check(RevetlConfig, yaml.safe_load(block), "revetl.yml").alerts
    assert {each.check for each in alert.data} == set(CHECK_KINDS)
    assert len({each.key for each in alert.data}) == len(alert.data) == 11


def _json(request: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.body)
    return found
