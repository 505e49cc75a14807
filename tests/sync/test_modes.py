"""What each sync mode sends, and what it does not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from revetl.errors import UsageError
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people, synced

FIRST = people(("u1", 1), ("u2", 2))
SECOND = people(("u2", 20), ("u3", 3))


def meta(**options: Any) -> dict[str, Any]:
    return {"key": "user_id", "sync": [{"to": "crm", **options}]}


def sent(sandbox: SandboxClient) -> list[tuple[str, list[str]]]:
    """Operation and ids of every request, in order."""
    return [(entry["operation"], entry["ids"]) for entry in sandbox.requests("crm")]


def profiles(sandbox: SandboxClient) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/crm").json()["profiles"]
    return found


@pytest.mark.parametrize(
    ("options", "log"),
    [
        ({"mode": "mirror"}, [("remove", ["u1"]), ("update", ["u2"]), ("add", ["u3"])]),
        ({"mode": "upsert"}, [("update", ["u2"]), ("add", ["u3"])]),
        ({"mode": "insert"}, [("insert", ["u3"])]),
        ({"mode": "update"}, [("update", ["u2", "u3"])]),
        (
            {"mode": "archive", "archive": {"state": "gone"}, "constants": {"state": "here"}},
            [("update", ["u1"]), ("update", ["u2"]), ("add", ["u3"])],
        ),
    ],
    ids=["mirror", "upsert", "insert", "update", "archive"],
)
def test_what_a_mode_sends_of_a_leave_a_change_and_an_entry(
    project: ProjectFolder, sandbox: SandboxClient, options: dict[str, Any], log: list[Any]
) -> None:
    project.audience("vips", FIRST, meta(**options))
    synced(project)
    before = len(sandbox.requests("crm"))
    project.audience("vips", SECOND)
    synced(project)
    assert [(op, sorted(ids)) for op, ids in sent(sandbox)[before:]] == log
    assert sum(synced(project).planned.values()) == 0


def test_delete_erases_each_once_and_tells_nothing_else(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)), meta())
    synced(project)
    project.audience("erased", people(("u1", 1), ("u4", 4)), meta(mode="delete"))
    before = len(sandbox.requests("crm"))
    (run,) = project.open().sync("erased")
    assert run.status == "success"
    assert sent(sandbox)[before:] == [("delete", ["u1", "u4"])]
    assert set(profiles(sandbox)) == {"u2", "u3"}
    assert set(sandbox.members("crm", "vips")) == {"u2", "u3"}
    project.audience("erased", people(("u1", 2)))
    (again,) = project.open().sync("erased")
    assert sum(again.planned.values()) == 0


def test_insert_creates_whom_it_finds_missing_and_leaves_the_others_alone(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    other = {"url": f"{sandbox.url}/crm"}
    httpx.post(
        other["url"],
        json={
            "operation": "add",
            "audience": "x",
            "batch_id": "b",
            "records": [{"id": "u1", "fields": {"score": "by hand"}}],
        },
    )
    project.audience("vips", FIRST, meta(mode="insert"))
    assert synced(project).delivered["add"] == 2
    assert profiles(sandbox) == {"u1": {"score": "by hand"}, "u2": {"score": 2}}
    # Who left and came back was created before.
    for query in (SECOND, FIRST):
        project.audience("vips", query)
        synced(project)
    assert sent(sandbox)[1:] == [("insert", ["u1", "u2"]), ("insert", ["u3"])]


def test_update_creates_nobody(project: ProjectFolder, sandbox: SandboxClient) -> None:
    httpx.post(
        f"{sandbox.url}/crm",
        json={
            "operation": "add",
            "audience": "x",
            "batch_id": "b",
            "records": [{"id": "u1", "fields": {"score": 0}}],
        },
    )
    project.audience("vips", FIRST, meta(mode="update"))
    run = synced(project)
    assert (run.status, run.delivered["update"], run.rejected["update"]) == ("rejected", 1, 1)
    assert profiles(sandbox) == {"u1": {"score": 1}}
    ((reason,),) = project.sql("select reason from revetl.revetl.sync_rejections")
    assert reason == "no such person"


def test_archive_sets_a_field_and_coming_back_sets_it_again(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    options = {"mode": "archive", "archive": {"state": "gone"}, "constants": {"state": "here"}}
    project.audience("vips", FIRST, meta(**options))
    synced(project)
    project.audience("vips", SECOND)
    synced(project)
    assert profiles(sandbox)["u1"] == {"score": 1, "state": "gone"}
    project.audience("vips", FIRST)
    synced(project)
    assert profiles(sandbox)["u1"] == {"score": 1, "state": "here"}


def test_an_archive_field_that_nothing_sets_back_is_refused(project: ProjectFolder) -> None:
    project.audience("vips", FIRST, meta(mode="archive", archive={"state": "gone"}))
    with pytest.raises(UsageError, match="archive: there is no field 'state'"):
        synced(project)


EVENTS = "select * from (values {}) as t (order_id, user_id, total, ordered_at)"
EVENT_META = {
    "key": "order_id",
    "sync": [
        {
            "to": "crm",
            "mode": "events",
            "event": "Order Scored",
            "timestamp": "ordered_at",
            "identifiers": {"id": "user_id"},
            "fields": {"total": "total"},
        }
    ],
}
ROW1 = "('o1', 'u1', 5, timestamp '2026-01-02 03:04:05')"
ROW2 = "('o2', 'u1', 6, timestamp '2026-01-03 03:04:05')"


def test_events_are_tracked_once_each(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("orders", EVENTS.format(ROW1), EVENT_META)
    synced(project, "orders")
    # A changed row is the same event, and one that is gone is not taken back.
    project.audience("orders", EVENTS.format(ROW1.replace("5", "50", 1) + "," + ROW2))
    assert synced(project, "orders").delivered == {"add": 1, "update": 0, "remove": 0}
    project.audience("orders", EVENTS.format(ROW2))
    assert sum(synced(project, "orders").planned.values()) == 0
    events = httpx.get(f"{sandbox.url}/_/members/crm").json()["events"]
    assert [(e["person"], e["event"], e["properties"]) for e in events] == [
        ("u1", "Order Scored", {"total": 5}),
        ("u1", "Order Scored", {"total": 6}),
    ]


def test_events_sent_anew_have_the_message_ids_they_had(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("orders", EVENTS.format(ROW1 + "," + ROW2), EVENT_META)
    synced(project, "orders")
    assert synced(project, "orders", full_refresh=True).delivered["add"] == 2
    # The sandbox drops an event whose message it knows, as a tool with idempotent tracking does.
    assert len(httpx.get(f"{sandbox.url}/_/members/crm").json()["events"]) == 2


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("segment", {"type": "segment", "write_key": "wk"}),
        ("braze", {"type": "braze", "api_key": "k"}),
    ],
)
def test_events_to_the_tools(
    project: ProjectFolder, sandbox: SandboxClient, kind: str, config: dict[str, Any]
) -> None:
    project.destinations({kind: {**config, "base_url": f"{sandbox.url}/{kind}"}})
    name = {"segment": "userId", "braze": "external_id"}[kind]
    sync = {**EVENT_META["sync"][0], "to": kind, "identifiers": {name: "user_id"}}  # type: ignore[dict-item]
    project.audience("orders", EVENTS.format(ROW1), {"key": "order_id", "sync": [sync]})
    (plan,) = project.open().plan("orders")
    assert plan.preview is not None
    body: Any = plan.preview.requests[0].body
    (event,) = body["batch" if kind == "segment" else "events"]
    assert (event.get("timestamp") or event["time"]) == "2026-01-02T03:04:05.000000Z"
    synced(project, "orders")
    (kept,) = httpx.get(f"{sandbox.url}/_/members/{kind}").json()["events"]
    assert (kept["person"], kept["event"], kept["properties"]) == ("u1", "Order Scored", {"total": 5})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mode": "archive"}, "archive: {FIELD: VALUE} and mode 'archive' require each other"),
        ({"archive": {"a": 1}}, "archive: {FIELD: VALUE} and mode 'archive' require each other"),
        ({"mode": "events"}, "mode 'events' and event: NAME (or event_column: COLUMN) require each other"),
        ({"event": "x"}, "mode 'events' and event: NAME (or event_column: COLUMN) require each other"),
        ({"timestamp": "at"}, "timestamp: is the time of an event and requires mode 'events'"),
        ({"mode": "mirrored"}, "'mirrored' is not known. Did you mean 'mirror'?"),
        ({"salt": "x"}, "salt: requires holdout:"),
        ({"order_by": "x"}, "order_by: sorts members for a limit and requires limit:"),
        ({"holdout": "ten"}, "'ten' is not a valid fraction; use 10% or 0.1"),
        ({"max_age": "soon"}, "'soon' is not a valid duration; use a form like '36 hours'"),
    ],
)
def test_options_that_do_not_go_together(
    project: ProjectFolder, options: dict[str, Any], sentence: str
) -> None:
    project.audience("vips", FIRST, meta(**options))
    with pytest.raises(UsageError) as raised:
        synced(project)
    assert sentence in str(raised.value)
    assert str(raised.value).startswith("models/audiences.yml: vips: meta.revetl")


def test_a_mode_that_a_destination_does_not_have(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.destinations({"crm": {"type": "segment", "write_key": "wk"}})
    project.audience("vips", FIRST, meta(mode="insert"))
    with pytest.raises(UsageError, match=r"'crm' \(segment\) does not support mode 'insert'"):
        synced(project)


def test_a_full_refresh_sends_all_and_still_removes(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", FIRST, meta())
    synced(project)
    project.audience("vips", people(("u2", 2), ("u3", 3)))
    run = synced(project, full_refresh=True)
    assert run.delivered == {"add": 1, "update": 1, "remove": 1}
    assert set(sandbox.members("crm", "vips")) == {"u2", "u3"}
