"""Replays to destinations in the sandbox: which messages arrive, each once, in order, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from revetl.errors import GuardStopped, UsageError
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.staged import Message, declare, stage
from tests.helpers.suites import first_fast

DESTINATIONS: dict[str, dict[str, Any]] = {
    "crm": {"type": "webhook", "batch_size": 5},
    "mixpanel": {"type": "mixpanel", "project_token": "t"},
    "amplitude": {"type": "amplitude", "api_key": "a", "secret_key": "s"},
    "braze": {"type": "braze", "api_key": "k"},
    "segment": {"type": "segment", "write_key": "w"},
}


def destinations(sandbox: SandboxClient, **more: Any) -> dict[str, Any]:
    found = {}
    for name, config in {**DESTINATIONS, **more}.items():
        url = "url" if config["type"] == "webhook" else "base_url"
        place = {} if config["type"] in ("file", "sql") else {url: f"{sandbox.url}/{name}"}
        found[name] = {**place, **config}
    return found


def event(number: int, person: str = "user-1", **more: Any) -> Message:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    return {
        "type": "track",
        "event": "Order Completed" if number % 2 else "Product Viewed",
        "messageId": f"m{number}",
        "timestamp": moment.isoformat(),
        "userId": person,
        "properties": {"order_id": str(number), "total": number, "currency": "EUR"},
        **more,
    }


def shop(
    project: ProjectFolder, sandbox: SandboxClient, messages: list[Message], **more: Any
) -> ProjectFolder:
    project.destinations(destinations(sandbox, **more))
    stage(project, messages)
    return project


def events_at(sandbox: SandboxClient, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{sandbox.url}/_/members/{name}").json()["events"]
    return found


def ids_at(sandbox: SandboxClient, name: str) -> list[str]:
    return [str(each["message_id"]) for each in events_at(sandbox, name)]


MANY = [event(number, f"user-{number % 7}") for number in range(60)]


@pytest.mark.parametrize("to", ["crm", "mixpanel", "amplitude", "segment"])
def test_every_event_arrives_once_under_its_own_message_id(
    project: ProjectFolder, sandbox: SandboxClient, to: str
) -> None:
    shop(project, sandbox, MANY)
    done = project.open().replay(to)
    assert (done.run.status, done.run.delivered, done.run.exit_code) == ("success", {"add": 60}, 0)
    assert sorted(ids_at(sandbox, to)) == sorted(each["messageId"] for each in MANY)


def test_the_events_of_a_person_arrive_in_order_of_time(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    shop(project, sandbox, list(reversed(MANY)))
    project.open().replay("crm")
    held = events_at(sandbox, "crm")
    orders = {
        person: [each for each in held if each["person"] == person] for person in {e["person"] for e in held}
    }
    assert len(orders) == 7
    for of_person in orders.values():
        numbers = [each["properties"]["total"] for each in of_person]
        assert numbers == sorted(numbers)


def test_a_second_replay_does_no_harm_where_events_are_recognized(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    shop(project, sandbox, MANY)
    for _ in range(2):
        assert project.open().replay("mixpanel").run.status == "success"
    assert len(ids_at(sandbox, "mixpanel")) == 60


def test_a_second_replay_is_asked_for_where_events_are_not_recognized(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    shop(project, sandbox, MANY)
    project.open().replay("braze", until="2026-01-01")
    assert len(events_at(sandbox, "braze")) == 24
    with pytest.raises(GuardStopped, match="24 messages of these days were sent to 'braze' by replays"):
        project.open().replay("braze")
    # Other days are another matter.
    project.open().replay("braze", since="2026-01-02", until="2026-01-02")
    assert len(events_at(sandbox, "braze")) == 48
    project.open().replay("braze", again=True)
    assert len(events_at(sandbox, "braze")) == 48 + 60


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({"since": "2026-01-02"}, range(24, 60)),
        ({"until": "2026-01-01"}, range(24)),
        ({"until": "2026-01-01T10:00:00"}, range(10)),
        ({"events": ("Order *",)}, range(1, 60, 2)),
        ({"events": ("order_?ompleted",)}, range(1, 60, 2)),
        ({"where": "cast(properties.total as double) > 50"}, range(51, 60)),
        ({"where": "user_id = 'user-3'"}, range(3, 60, 7)),
        ({"sources": ("web",)}, [1]),
        ({"people": "vips"}, [*range(3, 60, 7)]),
    ],
)
def test_filters_select_messages(
    project: ProjectFolder, sandbox: SandboxClient, asked: dict[str, Any], numbers: Any
) -> None:
    shop(
        project, sandbox, [{**each, "source": "web" if each["messageId"] == "m1" else "app"} for each in MANY]
    )
    project.audience("vips", "select 'user-3' as user_id", {"key": "user_id"})
    project.open().replay("crm", **asked)
    assert sorted(ids_at(sandbox, "crm")) == sorted(f"m{number}" for number in numbers)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"to": "nowhere"}, "revetl.yml has no destination 'nowhere'"),
        ({"to": "ads"}, "google_ads does not take events"),
        ({"since": "2999-01-01"}, "the window is in the future"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "the window is empty"),
        ({"since": "soon"}, "--from soon: is not a date or time"),
        (
            {"until": "2020-01-01"},
            "No track, page, screen messages match. The earliest there are is of 2026-01-01",
        ),
        ({"where": "count(*) > 1"}, "reads several rows"),
        ({"where": "properties.total > 50"}, "--where: 'properties.total > 50' cannot be evaluated"),
        ({"where": "totl > 1"}, "has no column 'totl'"),
        ({"where": "1 +"}, "is neither a column nor a SQL expression"),
        ({"people": "nobody"}, "There is no audience 'nobody'"),
        ({"sources": ("ios",)}, "--source ios: no message is of that source"),
        ({"types": ("tracks",)}, "--as tracks: there is no such type of message. Did you mean 'track'?"),
        ({"types": ("group",)}, "webhook has no group calls"),
        ({"between": "1-5"}, "--between 1-5: is not a span of hours"),
        ({"mapping": "vips"}, "--mapping vips: no sync of messages of that audience goes to 'crm'"),
        ({"to": "hubspot"}, "hubspot identifies people by email, which messages do not have"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_sent(
    project: ProjectFolder, sandbox: SandboxClient, asked: dict[str, Any], sentence: str
) -> None:
    ads = {"type": "google_ads", "customer_id": "1", "developer_token": "d", "access_token": "a"}
    shop(project, sandbox, MANY[:3], ads=ads, hubspot={"type": "hubspot", "access_token": "t"})
    given = {"to": "crm", **asked}
    with pytest.raises(UsageError) as raised:
        project.open().replay(**given)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sandbox.requests("crm") == []


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({"messageId": ""}, "1 messages have no message_id"),
        ({"timestamp": "2999-01-01T00:00:00+00:00"}, "1 messages are more than an hour in the future"),
    ],
)
def test_messages_that_cannot_be_replayed_stop_it(
    project: ProjectFolder, sandbox: SandboxClient, message: dict[str, Any], sentence: str
) -> None:
    shop(project, sandbox, [event(1), event(2, **message)])
    with pytest.raises(UsageError, match=sentence):
        project.open().replay("crm", until="2999-12-31")
    assert sandbox.requests("crm") == []


def test_bad_input_ends_the_command_with_exit_code_2(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    shop(project, sandbox, MANY[:3])
    ended = cli(project, "replay", "--to", "crm", "--where", "sum(total) > 1")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Error: --where")
    assert sandbox.requests("crm") == []


def live(project: ProjectFolder, to: str, query: str, **sync: Any) -> None:
    """A sync of messages to a destination."""
    common = {"to": to, "mode": "events", "event_column": "event_text", "timestamp": "timestamp"}
    project.audience("shop_events", query, {"key": "message_id", "sync": [{**common, **sync}]})


FIRST_HALF = "select * from stg_revetl__tracks where timestamp < timestamp '2026-01-02 06:00:00'"
EVERYTHING = "select * from stg_revetl__tracks"
LIVE = {
    "crm": {"id": "user_id"},
    "mixpanel": {"distinct_id": "user_id"},
    "amplitude": {"user_id": "user_id"},
    "segment": {"userId": "user_id"},
    "braze": {"external_id": "user_id"},
}


@pytest.mark.parametrize("to", first_fast(LIVE))
def test_live_events_and_a_replay_give_each_event_once(
    project: ProjectFolder, sandbox: SandboxClient, to: str
) -> None:
    shop(project, sandbox, MANY)
    live(project, to, FIRST_HALF, identifiers=LIVE[to])
    (run,) = project.open().sync("shop_events")
    assert run.delivered["add"] == 30
    done = project.open().replay(to)
    assert (done.run.delivered, done.replay.left_out) == ({"add": 30}, 30)
    # The sync goes on with messages that the replay has sent.
    project.audience("shop_events", EVERYTHING)
    (run,) = project.open().sync("shop_events", force=["max_change"])
    # Where the destination recognizes events for ever, sending one again does no harm.
    assert run.planned["add"] == (30 if to in ("crm", "mixpanel") else 0)
    held = events_at(sandbox, to)
    assert sorted(each["properties"].get("order_id", "") for each in held) == sorted(
        str(number) for number in range(60)
    )


@pytest.mark.parametrize("to", ["crm", "mixpanel", "amplitude", "segment"])
def test_a_replay_and_a_sync_that_know_nothing_of_each_other_give_each_event_once(
    project: ProjectFolder, sandbox: SandboxClient, to: str
) -> None:
    shop(project, sandbox, MANY)
    live(project, to, EVERYTHING, identifiers=LIVE[to])
    project.open().sync("shop_events")
    project.open().replay(to, again=True)
    assert sorted(ids_at(sandbox, to)) == sorted(each["messageId"] for each in MANY)


def test_the_mapping_of_a_sync_of_messages_is_used(project: ProjectFolder, sandbox: SandboxClient) -> None:
    shop(project, sandbox, MANY[:10])
    rules = {"Order Completed": {"event": "Sale", "fields": {"order": "properties.order_id"}}}
    sync = {"events": rules, "other_events": "skip", "identifiers": {"id": "user_id"}}
    live(project, "crm", "select * from stg_revetl__tracks where false", **sync)
    done = project.open().replay("crm")
    assert (done.run.delivered, done.replay.left_out) == ({"add": 5}, 5)
    assert {each["event"] for each in events_at(sandbox, "crm")} == {"Sale"}
    assert next(iter(events_at(sandbox, "crm")))["properties"].keys() == {"order"}


def test_suppressed_people_are_left_out_by_any_of_their_identifiers(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    shop(project, sandbox, MANY)
    project.open().replay("crm", until="2026-01-01T07:00:00")
    project.sql(
        "create table revetl_profile_identifiers as select * from (values "
        "('p3', 'user_id', 'user-3'), ('p3', 'email', 'three@example.com'), ('p4', 'user_id', 'user-4')) "
        "as t (canonical_id, identifier_type, identifier_value)"
    )
    declare(project, "revetl_profile_identifiers")
    state = project.backend.state_schema
    project.sql(
        f"insert into revetl.{state}.suppressions (identifier_type, identifier_value) values "
        "('Email', 'Three@example.com'), ('user_id', 'user-5')"
    )
    plan = project.open().plan_replay("crm", since="2026-01-01T07:00:00")
    done = project.open().replay("crm", since="2026-01-01T07:00:00")
    people = {each["person"] for each in events_at(sandbox, "crm") if each["properties"]["total"] >= 7}
    assert people == {f"user-{number}" for number in (0, 1, 2, 4, 6)}
    left_out = sum(1 for number in range(7, 60) if number % 7 in (3, 5))
    assert (done.replay.left_out, plan.left_out) == (left_out, {"suppressed": left_out})


def test_identify_messages_set_traits_in_order(project: ProjectFolder, sandbox: SandboxClient) -> None:
    people = [
        {
            "type": "identify",
            "messageId": f"i{number}",
            "timestamp": f"2026-01-0{number + 1}T00:00:00+00:00",
            "userId": "user-1",
            "traits": {"plan": plan},
        }
        for number, plan in enumerate(("free", "pro", "team"))
    ]
    shop(project, sandbox, [*reversed(people), event(1)])
    done = project.open().replay("mixpanel", types=("identify", "track"))
    assert done.run.delivered == {"add": 4}
    held = httpx.get(f"{sandbox.url}/_/members/mixpanel").json()
    assert held["profiles"]["user-1"] == {"plan": "team"}
    assert len(held["events"]) == 1


def test_a_rejected_event_is_booked_by_reason_and_the_others_arrive(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    shop(project, sandbox, MANY)
    sandbox.misbehave(
        {"destination": "mixpanel", "kind": "reject", "pattern": "user-3", "reason": "unknown person"}
    )
    done = project.open().replay("mixpanel")
    assert (done.run.status, done.run.exit_code) == ("rejected", 1)
    (row,) = project.open().replay_details(done.replay.replay_id)[1]
    assert (row["reason"], row["messages"]) == ("unknown person", 8 if 59 % 7 < 3 else 9)
    assert len(events_at(sandbox, "mixpanel")) + int(str(row["messages"])) == 60


@pytest.mark.parametrize("to", ["mixpanel", "amplitude", "braze", "segment", "crm"])
def test_a_plan_forecasts_the_requests_exactly(
    project: ProjectFolder, sandbox: SandboxClient, to: str
) -> None:
    shop(project, sandbox, MANY)
    plan = project.open().plan_replay(to)
    assert sandbox.requests(to) == []
    project.open().replay(to)
    assert (plan.request_count, plan.is_exact) == (len(sandbox.requests(to)), True)
    assert (plan.total, plan.people, plan.to_send) == (60, 7, 60)


def test_a_plan_says_what_the_destination_would_refuse(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    now = datetime.now(UTC)
    recent = [event(number, timestamp=(now - timedelta(days=number)).isoformat()) for number in range(1, 20)]
    meta = {"type": "facebook_conversions", "pixel_id": "1", "access_token": "t"}
    shop(project, sandbox, recent, facebook_conversions=meta)
    plan = project.open().plan_replay("facebook_conversions")
    assert list(plan.refused.values()) == [sum(1 for number in range(1, 20) if number >= 7)]
    assert "7 days" in next(iter(plan.refused))
    done = project.open().replay("facebook_conversions")
    assert done.run.error is None
    assert (done.run.delivered, done.run.rejected) == ({"add": 6}, {"add": 13})


def test_a_plan_in_a_file_runs_as_long_as_it_holds(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    shop(project, sandbox, MANY)
    made = cli(project, "replay", "--to", "crm", "--event", "Order *", "--out", "plan.json")
    assert made.returncode == 0, made.stderr
    assert "30 messages of 7 people" in made.stdout
    stage(project, [*MANY, event(61)])
    moved = cli(project, "replay", "--plan", "plan.json")
    assert (moved.returncode, sandbox.requests("crm")) == (3, [])
    stage(project, MANY)
    done = cli(project, "replay", "--plan", "plan.json")
    assert done.returncode == 0, done.stderr
    assert len(events_at(sandbox, "crm")) == 30
