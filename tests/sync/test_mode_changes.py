"""A sync whose mode changed is planned by what the destination has under the new mode."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from revetl.sandbox.setups import setups
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast, only_fast
from tests.sync.test_sync import people, synced

FIRST = people(("u1", 1), ("u2", 2))
SECOND = people(("u2", 20), ("u3", 3))
OPTIONS: dict[str, dict[str, Any]] = {
    "archive": {"archive": {"state": "gone"}, "constants": {"state": "here"}},
    "events": {"event": "Scored"},
}
EVERYONE_ANEW = {"add": 2, "update": 0, "remove": 0}
"""Nobody counts as held."""
LEAVES = {"add": 1, "update": 1, "remove": 1}
STAYS = {"add": 1, "update": 1, "remove": 0}
ONLY_NEW = {"add": 1, "update": 0, "remove": 0}
IN_PLACE = {"add": 0, "update": 2, "remove": 0}
"""In mode `update`, where nobody is added."""
STOPPED = None
PAIRS: dict[tuple[str, str], dict[str, int] | None] = {
    ("mirror", "mirror"): LEAVES,
    ("mirror", "upsert"): STAYS,
    ("mirror", "insert"): ONLY_NEW,
    ("mirror", "update"): IN_PLACE,
    ("mirror", "archive"): LEAVES,
    ("mirror", "events"): STOPPED,
    ("mirror", "audience_events"): STOPPED,
    ("mirror", "delete"): EVERYONE_ANEW,
    ("upsert", "mirror"): LEAVES,
    ("upsert", "upsert"): STAYS,
    ("upsert", "insert"): ONLY_NEW,
    ("upsert", "update"): IN_PLACE,
    ("upsert", "archive"): LEAVES,
    ("upsert", "events"): STOPPED,
    ("upsert", "audience_events"): STOPPED,
    ("upsert", "delete"): EVERYONE_ANEW,
    ("insert", "mirror"): EVERYONE_ANEW,
    ("insert", "upsert"): EVERYONE_ANEW,
    ("insert", "insert"): ONLY_NEW,
    ("insert", "update"): IN_PLACE,
    ("insert", "archive"): EVERYONE_ANEW,
    ("insert", "events"): EVERYONE_ANEW,
    ("insert", "audience_events"): EVERYONE_ANEW,
    ("insert", "delete"): EVERYONE_ANEW,
    ("update", "mirror"): EVERYONE_ANEW,
    ("update", "upsert"): STAYS,
    ("update", "insert"): ONLY_NEW,
    ("update", "update"): IN_PLACE,
    ("update", "archive"): LEAVES,
    ("update", "events"): EVERYONE_ANEW,
    ("update", "audience_events"): EVERYONE_ANEW,
    ("update", "delete"): EVERYONE_ANEW,
    ("archive", "mirror"): LEAVES,
    ("archive", "upsert"): STAYS,
    ("archive", "insert"): ONLY_NEW,
    ("archive", "update"): IN_PLACE,
    ("archive", "archive"): LEAVES,
    ("archive", "events"): STOPPED,
    ("archive", "audience_events"): STOPPED,
    ("archive", "delete"): EVERYONE_ANEW,
    ("events", "mirror"): EVERYONE_ANEW,
    ("events", "upsert"): EVERYONE_ANEW,
    ("events", "insert"): EVERYONE_ANEW,
    ("events", "update"): IN_PLACE,
    ("events", "archive"): EVERYONE_ANEW,
    ("events", "events"): ONLY_NEW,
    ("events", "audience_events"): EVERYONE_ANEW,
    ("events", "delete"): EVERYONE_ANEW,
    ("audience_events", "mirror"): EVERYONE_ANEW,
    ("audience_events", "upsert"): EVERYONE_ANEW,
    ("audience_events", "insert"): EVERYONE_ANEW,
    ("audience_events", "update"): IN_PLACE,
    ("audience_events", "archive"): EVERYONE_ANEW,
    ("audience_events", "events"): EVERYONE_ANEW,
    ("audience_events", "audience_events"): {"add": 1, "update": 0, "remove": 1},
    ("audience_events", "delete"): EVERYONE_ANEW,
    ("delete", "mirror"): EVERYONE_ANEW,
    ("delete", "upsert"): EVERYONE_ANEW,
    ("delete", "insert"): EVERYONE_ANEW,
    ("delete", "update"): IN_PLACE,
    ("delete", "archive"): EVERYONE_ANEW,
    ("delete", "events"): EVERYONE_ANEW,
    ("delete", "audience_events"): EVERYONE_ANEW,
    ("delete", "delete"): ONLY_NEW,
}
MODES = sorted({mode for mode, _ in PAIRS})


def meta(mode: str, **options: Any) -> dict[str, Any]:
    entry = {"to": "crm", "mode": mode, "fields": {"score": "score"}, **OPTIONS.get(mode, {}), **options}
    return {"key": "user_id", "sync": [entry]}


def profiles(sandbox: SandboxClient) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/crm").json()["profiles"]
    return found


@pytest.mark.parametrize("before", only_fast(MODES, "mirror", "upsert", "delete"))
def test_every_other_mode_is_planned_by_what_this_one_has_left_there(
    project: ProjectFolder, sandbox: SandboxClient, before: str
) -> None:
    if before in ("update", "delete"):
        project.audience("vips", FIRST, meta("upsert"))
        httpx.post(
            f"{sandbox.url}/crm",
            json={
                "operation": "add",
                "audience": "x",
                "batch_id": "b",
                "records": [{"id": name, "fields": {}} for name in ("u1", "u2")],
            },
        )
    project.audience("vips", FIRST, meta(before))
    assert synced(project).status == "success"
    project.audience("vips", SECOND)
    planned: dict[tuple[str, str], Any] = {}
    for now in MODES:
        project.declare("vips", meta(now))
        planned[before, now] = counts_of(project)
    assert planned == {pair: what for pair, what in PAIRS.items() if pair[0] == before}


def counts_of(project: ProjectFolder) -> dict[str, int] | None:
    """What would be sent; STOPPED where the change of mode stops it."""
    (plan,) = project.open().plan("vips", sample=0)
    stops = [stop.guard for stop in plan.stops]
    assert stops in ([], ["mode"])
    return STOPPED if stops else dict(plan.counts)


@pytest.mark.parametrize(
    ("before", "now", "planned"),
    first_fast(
        [
            ("upsert", "mirror", EVERYONE_ANEW),
            ("mirror", "upsert", STAYS),
            ("mirror", "archive", STOPPED),
            ("upsert", "audience_events", EVERYONE_ANEW),
            ("upsert", "delete", EVERYONE_ANEW),
            ("archive", "mirror", EVERYONE_ANEW),
            ("archive", "upsert", STAYS),
        ],
        3,
    ),
)
def test_where_an_upsert_puts_nobody_into_the_audience_its_people_do_not_count_as_members(
    project: ProjectFolder, sandbox: SandboxClient, before: str, now: str, planned: dict[str, int] | None
) -> None:
    setup = setups()["iterable"]
    project.destinations({"crm": setup.destination(sandbox.url)})
    project.audience("vips", FIRST, meta(before))
    assert synced(project).status == "success"
    project.audience("vips", SECOND, meta(now))
    assert counts_of(project) == planned


def test_whoever_had_events_is_put_into_the_audience_when_it_is_mirrored(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", FIRST, meta("events"))
    synced(project)
    project.declare("vips", meta("mirror"))
    assert synced(project).delivered["add"] == 2
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}
    assert synced(project).planned == {"add": 0, "update": 0, "remove": 0}


def test_a_mirrored_audience_is_erased_when_the_mode_becomes_delete_and_comes_back_as_adds(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", FIRST, meta("mirror"))
    synced(project)
    project.declare("vips", meta("delete"))
    assert synced(project).delivered["add"] == 2
    assert (profiles(sandbox), sandbox.members("crm", "vips")) == ({}, {})
    project.declare("vips", meta("mirror"))
    run = synced(project)
    assert (run.delivered["add"], run.planned["update"]) == (2, 0)
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}


def test_who_left_while_nobody_was_removed_is_removed_when_the_audience_is_mirrored_again(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", FIRST, meta("mirror"))
    synced(project)
    project.audience("vips", SECOND, meta("upsert"))
    synced(project)
    project.audience("vips", people(("u3", 3)), meta("mirror"))
    run = synced(project)
    assert (run.delivered["remove"], run.delivered["add"]) == (2, 0)
    assert set(sandbox.members("crm", "vips")) == {"u3"}


def test_a_mode_that_would_forget_members_is_stopped_until_they_are_left_there_for_good(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", FIRST, meta("mirror"))
    synced(project)
    project.declare("vips", meta("events"))
    before = len(sandbox.requests("crm"))
    stopped = synced(project)
    assert (stopped.status, stopped.stopped_by, stopped.exit_code) == ("stopped", "mode", 3)
    assert "the 2 people" in str(stopped.error)
    assert "--full-refresh" in str(stopped.error)
    assert len(sandbox.requests("crm")) == before
    (run,) = project.open().sync("vips", full_refresh=True)
    assert (run.status, run.delivered["add"]) == ("success", 2)


@pytest.mark.parametrize("last_mode", ["events", "mirror"])
def test_state_of_a_version_that_kept_no_presence_is_read_by_the_mode_of_its_last_run(
    project: ProjectFolder, sandbox: SandboxClient, last_mode: str
) -> None:
    project.audience("vips", FIRST, meta(last_mode))
    synced(project)
    project.sql("alter table revetl.revetl.sync_state drop column presence")
    project.sql("drop table revetl.revetl.sync_identities")
    project.sql("update revetl.revetl.state_version set version = 2")
    project.audience("vips", people(("u2", 2), ("u3", 3)), meta("mirror"))
    expected = {"mirror": (1, 1), "events": (2, 0)}[last_mode]
    (plan,) = project.open().plan("vips")
    assert (plan.add, plan.remove) == expected
    run = synced(project)
    assert (run.delivered["add"], run.delivered["remove"]) == expected
    assert set(sandbox.members("crm", "vips")) == {"u2", "u3"}
    presences = project.sql("select key, presence from revetl.revetl.sync_state order by key")
    left = [("u1", "event")] if last_mode == "events" else []
    assert presences == [*left, ("u2", "member"), ("u3", "member")]
