"""A warehouse that was restored from an older copy, on a machine that has lost `.revetl`: the destination
itself has the mark of a later run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from revetl.destinations import TYPES, destination_class
from revetl.destinations.base.destination import Destination
from revetl.destinations.base.marks import mark_of, run_in, with_mark
from revetl.sandbox.setups import setups
from tests.conftest import SandboxClient
from tests.destinations.test_round_trip import people
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.sync.test_identity import targets
from tests.sync.test_sync import synced

LISTS = ["facebook_ads", "google_ads", "google_ads.data_manager"]
LONG = ["google_ads", "google_ads.data_manager"]
PLACES = [
    *first_fast(["file", "file, whole", "sql", "facebook_ads"]),
    *(pytest.param(place, marks=pytest.mark.long) for place in LONG),
]


def made(folder: Path, place: str, sandbox: SandboxClient) -> ProjectFolder:
    """A project with one sync to a place that keeps marks."""
    sync: dict[str, Any] = {"fields": {"score": "score"}}
    if place in LISTS:
        config, sync = setups()[place].destination(sandbox.url), setups()[place].sync
    elif place == "sql":
        connection = {"type": "duckdb", "path": str(folder / "there.duckdb")}
        config = {"type": "sql", "connection": connection, "table": "vips", "create": True}
    else:
        contents = "full" if place == "file, whole" else "changes"
        config = {"type": "file", "path": str(folder / "exports"), "format": "ndjson", "contents": contents}
    project = ProjectFolder(folder / "shop", {"tool": config})
    project.audience("vips", people(0, 20, "7"), {"key": "user_id", "sync": [{"to": "tool", **sync}]})
    return project


def restored(project: ProjectFolder) -> None:
    """Sync 20 people, then 5 more; restore the warehouse as it was, on a machine that knows nothing."""
    assert synced(project).delivered["add"] == 20
    shutil.copy(project.database, project.root / "backup")
    project.audience("vips", people(0, 25, "7"))
    assert synced(project).status == "success"
    lost(project)


def lost(project: ProjectFolder) -> None:
    shutil.copy(project.root / "backup", project.database)
    shutil.rmtree(project.root / ".revetl")


@pytest.mark.parametrize("place", PLACES)
def test_a_restored_warehouse_is_noticed_by_the_mark_at_the_destination(
    place: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    project = made(tmp_path, place, sandbox)
    restored(project)
    runs = [synced(project) for _ in range(2)]
    assert [(run.stopped_by, run.exit_code, sum(run.attempted.values())) for run in runs] == [
        ("restored", 3, 0)
    ] * 2
    assert "recorded at 'tool', is not in the state" in str(runs[0].error)
    assert sum(synced(project, full_refresh=True).delivered.values()) >= 20
    assert (synced(project).status, synced(project).stopped_by) == ("success", None)


def adopted(project: ProjectFolder) -> None:
    """Accept the state as it is."""
    opened = project.open()
    opened.adopt([opened.sync_named("vips.tool")])


@pytest.mark.parametrize("place", first_fast(["file", "facebook_ads"]))
def test_an_accepted_state_is_held_against_the_runs_that_follow(
    place: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    project = made(tmp_path, place, sandbox)
    restored(project)
    adopted(project)
    assert synced(project).stopped_by is None
    shutil.copy(project.database, project.root / "backup")
    project.audience("vips", people(0, 30, "7"))
    assert synced(project).status == "success"
    lost(project)
    assert synced(project).stopped_by == "restored"


@pytest.mark.parametrize("place", first_fast(["file", "sql", "facebook_ads"]))
def test_a_mark_of_another_warehouse_or_sync_says_nothing(
    place: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    project = made(tmp_path, place, sandbox)
    restored(project)
    project.database.rename(project.root / "other.duckdb")
    targets(project, dev={"type": "duckdb", "path": "other.duckdb"})
    project.move("other")
    assert synced(project).stopped_by is None


def test_a_mark_that_cannot_be_read_or_written_stops_no_run(tmp_path: Path, sandbox: SandboxClient) -> None:
    project = made(tmp_path, "file", sandbox)
    restored(project)
    mark = tmp_path / "exports" / "vips.tool" / "_last_run.json"
    told = mark.read_bytes()
    for content in (
        b"",
        b"[",
        b"[]",
        b'{"mark": 1}',
        b'{"mark": "revetl run"}',
        told.replace(b"of ", b"of f"),
    ):
        mark.write_bytes(content)
        run = synced(project)
        assert (content, run.stopped_by, run.status) == (content, None, "success")
        lost(project)
    mark.unlink()
    mark.mkdir()
    assert synced(project).status == "success"


def test_a_description_that_somebody_wrote_is_left_alone(tmp_path: Path, sandbox: SandboxClient) -> None:
    project = made(tmp_path, "facebook_ads", sandbox)
    synced(project)
    address = f"{setups()['facebook_ads'].destination(sandbox.url)['base_url']}/v23.0/1001"
    headers = {"Authorization": "Bearer t"}

    def description() -> str:
        answer = httpx.get(address, params={"fields": "description"}, headers=headers)
        return str(answer.json().get("description", ""))

    found: list[tuple[bool, bool, bool]] = []
    for text in ("Our best customers", f"Our best customers ({description()})"):
        httpx.post(address, json={"description": text}, headers=headers).raise_for_status()
        project.audience("vips", people(0, 21 + len(found), "7"))
        run = synced(project)
        now = description()
        found.append((now == text, now.startswith("Our best customers"), run.run_id in now))
    assert found == [(True, True, False), (False, True, True)]


def test_a_table_is_not_made_for_marks_where_none_may_be_made(tmp_path: Path, sandbox: SandboxClient) -> None:
    project = made(tmp_path, "sql", sandbox)
    there = {"type": "duckdb", "path": str(tmp_path / "there.duckdb")}
    with duckdb.connect(str(tmp_path / "there.duckdb")) as connection:
        connection.execute("create table vips (user_id text, score bigint)")
    project.destinations({"tool": {"type": "sql", "connection": there, "table": "vips"}})
    synced(project)
    with duckdb.connect(str(tmp_path / "there.duckdb")) as connection:
        assert connection.execute("select table_name from duckdb_tables()").fetchall() == [("vips",)]


def test_a_run_without_changes_leaves_no_mark(tmp_path: Path, sandbox: SandboxClient) -> None:
    project = made(tmp_path, "file", sandbox)
    synced(project)
    mark = tmp_path / "exports" / "vips.tool" / "_last_run.json"
    before = mark.read_bytes()
    synced(project)
    assert mark.read_bytes() == before


def test_the_documentation_names_every_destination_that_keeps_no_mark() -> None:
    kinds = {name: destination_class(name, name) for name in TYPES}
    without = {name for name, kind in kinds.items() if kind.marked is Destination.marked}
    text = (Path(__file__).parents[2] / "docs" / "explanation" / "guarantees.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("  No mark is kept by ")]
    assert {word.strip("`,. ") for word in line.split("No mark is kept by ")[1].split()} - {"and"} == without


@pytest.mark.parametrize(
    ("text", "made_of_it"),
    [
        ("", "revetl run 20260102T030405-0a1b2c3d of 0123456789abcdef"),
        (" ", "revetl run 20260102T030405-0a1b2c3d of 0123456789abcdef"),
        ("Ours", None),
        (
            "Ours. revetl run 20250102T030405-00000000 of fedcba9876543210.",
            "Ours. revetl run 20260102T030405-0a1b2c3d of 0123456789abcdef.",
        ),
    ],
)
def test_a_mark_takes_the_place_of_the_one_before(text: str, made_of_it: str | None) -> None:
    mark = mark_of("20260102T030405-0a1b2c3d", "0123456789abcdef")
    found = with_mark(text, mark)
    runs = (run_in(found, "0123456789abcdef"), run_in(found, "fedcba9876543210"))
    assert (found, runs) == (made_of_it, ("20260102T030405-0a1b2c3d" if made_of_it else None, None))
