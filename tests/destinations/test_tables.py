"""The destination `sql`, with real databases: a DuckDB file, the project's own, and PostgreSQL."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from revetl.delivery.transports.tables import TableTransport
from revetl.destinations.base.destination import Batch
from revetl.destinations.sql.destination import Sql
from tests.destinations.test_round_trip import people
from tests.helpers.backends import Backend, DuckDBFile, make_backend
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast

ENGINES = ["duckdb", "postgres", "own"]


def database(engine: str, root: Path) -> Backend:
    """A database to write to; `own` is the file that is the project's warehouse, too."""
    root.mkdir(parents=True, exist_ok=True)
    if engine == "postgres":
        return make_backend("postgres", root)
    made = DuckDBFile(root)
    if engine == "duckdb":
        made.file = root / "crm.duckdb"
        made.output = {"type": "duckdb", "path": "crm.duckdb"}
    return made


def project_of(root: Path, to: Backend, **config: Any) -> ProjectFolder:
    project = ProjectFolder(root)
    point(project, to, **config)
    return project


def point(project: ProjectFolder, to: Backend, **config: Any) -> None:
    """Have the destination be a table of a database."""
    given = {"type": "sql", "connection": to.output, "table": "people", "retries": 1, **config}
    project.destinations({"db": given})


def meta(**sync: Any) -> dict[str, Any]:
    fields = {"score": "score", "company": "company"}
    return {"key": "user_id", "sync": [{"to": "db", "max_change": "200%", "fields": fields, **sync}]}


def held(to: Backend, columns: str = "user_id, score") -> list[tuple[Any, ...]]:
    return sorted(to.sql(f"select {columns} from people"))


@pytest.mark.parametrize("engine", first_fast(ENGINES))
def test_there_and_back(tmp_path: Path, engine: str) -> None:
    to = database(engine, tmp_path)
    project = project_of(tmp_path, to, create=True)
    project.audience("vips", people(0, 1_200, "7"), meta())
    assert project.open().sync("vips")[0].status == "success"
    assert held(to) == sorted((f"u{i}", 7) for i in range(1_200))
    project.audience("vips", people(300, 1_200, "case when i < 400 then 9 else 7 end"))
    assert project.open().sync("vips")[0].status == "success"
    assert held(to) == sorted((f"u{i}", 9 if i < 400 else 7) for i in range(300, 1_200))
    # Sending all of it again changes nothing.
    assert project.open().sync("vips", full_refresh=True)[0].status == "success"
    assert held(to) == sorted((f"u{i}", 9 if i < 400 else 7) for i in range(300, 1_200))


@pytest.mark.parametrize("engine", first_fast(ENGINES[:2]))
def test_a_table_is_made_with_the_types_of_the_fields(tmp_path: Path, engine: str) -> None:
    to = database(engine, tmp_path)
    project = project_of(tmp_path, to, create=True, table="sales.people")
    query = """
        select 'u1' as user_id, cast(12.5 as decimal(10, 2)) as price, true as is_new,
            date '2026-01-02' as day, timestamp '2026-01-02 03:04:05.678' as seen, cast(null as bigint) as no,
            ['a', 'b'] as tags, 'ö "quoted" 🎉 ''; drop table people --' as name
    """
    project.audience("vips", query, {"key": "user_id", "sync": [{"to": "db"}]})
    (run,) = project.open().sync("vips")
    assert run.status == "success", run.error
    found = to.sql(
        "select cast(price as varchar), is_new, cast(day as varchar), cast(seen as varchar), no, name "
        "from sales.people"
    )
    name = 'ö "quoted" 🎉 \'; drop table people --'
    assert found == [("12.50", True, "2026-01-02", "2026-01-02 03:04:05.678", None, name)]


@pytest.mark.parametrize("engine", first_fast(ENGINES[:2]))
def test_a_row_that_the_table_refuses_is_rejected_alone(tmp_path: Path, engine: str) -> None:
    to = database(engine, tmp_path)
    to.sql("create table people (user_id varchar, score integer check (score < 100), company varchar)")
    project = project_of(tmp_path, to)
    project.audience("vips", people(0, 100, "case when i = 33 then 333 else i end"), meta())
    (run,) = project.open().sync("vips")
    assert run.status == "rejected"
    assert held(to) == sorted((f"u{i}", i) for i in range(100) if i != 33)
    ((key, reason),) = project.sql("select key, reason from revetl.revetl.sync_rejections")
    assert key == "u33"
    assert "422" in reason
    assert "check" in reason.lower()


@pytest.mark.parametrize("engine", first_fast(ENGINES[:2]))
def test_who_left_is_flagged(tmp_path: Path, engine: str) -> None:
    for column, kind in (("_removed_at", "timestamp"), ("is_gone", "boolean")):
        root = tmp_path / column
        to = database(engine, root)
        to.sql(f"create table people (user_id varchar, score integer, company varchar, {column} {kind})")
        project = project_of(root, to, removed="flag", removed_column=column)
        project.audience("vips", people(0, 4, "7"), meta())
        project.open().sync("vips")
        project.audience("vips", people(1, 4, "7"))
        project.open().sync("vips")
        gone = f"coalesce(cast({column} as varchar), 'false') <> 'false'"
        assert held(to, f"user_id, score, {gone}") == [
            ("u0", 7, True),
            *((f"u{i}", 7, False) for i in (1, 2, 3)),
        ]
        project.audience("vips", people(0, 4, "7"))
        project.open().sync("vips")
        assert held(to, gone) == [(False,)] * 4


@pytest.mark.parametrize("engine", first_fast(ENGINES[:2]))
def test_modes(tmp_path: Path, engine: str) -> None:
    """Insert leaves who is there; update makes nobody; set_if_empty leaves what is there."""
    scores = {"insert": (1, 7), "update": (7, None), "upsert": (7, 7), "delete": (None, None)}
    for mode, (there, new) in scores.items():
        root = tmp_path / mode
        to = database(engine, root)
        to.sql("create table people (user_id varchar, score integer, company varchar)")
        to.sql("insert into people values ('u0', 1, 'Old')")
        project = project_of(root, to)
        sync: dict[str, Any] = {"mode": mode}
        if mode == "upsert":
            sync["set_if_empty"] = ["company"]
        if mode == "delete":
            sync["fields"] = {}
        project.audience("vips", people(0, 2, "7"), meta(**sync))
        (run,) = project.open().sync("vips")
        assert run.status == "success", run.error
        found = {person: (score, company) for person, score, company in held(to, "user_id, score, company")}
        assert [found.get(person, (None,))[0] for person in ("u0", "u1")] == [there, new]
        if mode == "upsert":
            assert found == {"u0": (7, "Old"), "u1": (7, "Company 1")}


def test_nulls_that_are_skipped_empty_nothing(tmp_path: Path) -> None:
    to = database("duckdb", tmp_path)
    to.sql("create table people (user_id varchar, score integer, company varchar)")
    to.sql("insert into people values ('u0', 1, 'Old')")
    project = project_of(tmp_path, to)
    query = (
        "select 'u0' as user_id, 2 as score, cast(null as varchar) as company union all select 'u1', 3, 'New'"
    )
    project.audience("vips", query, meta(null="skip"))
    (run,) = project.open().sync("vips")
    assert run.status == "success", run.error
    assert held(to, "user_id, score, company") == [("u0", 2, "Old"), ("u1", 3, "New")]


def test_an_event_is_there_once_however_often_it_is_sent(tmp_path: Path) -> None:
    to = database("postgres", tmp_path)
    project = project_of(tmp_path, to, create=True)
    query = """
        select 'e' || i as event_id, 'u1' as user_id, i as score, timestamp '2026-01-02' as at
        from range(3) as t (i)
    """
    sync = {"mode": "events", "event": "Seen", "timestamp": "at", "identifiers": {"user_id": "user_id"}}
    project.audience(
        "vips", query, {"key": "event_id", "sync": [{"to": "db", "fields": {"score": "score"}, **sync}]}
    )
    for full_refresh in (False, True):
        (run,) = project.open().sync("vips", full_refresh=full_refresh)
        assert run.status == "success", run.error
    assert held(to, "event, user_id, score") == [("Seen", "u1", i) for i in range(3)]
    assert len(set(held(to, "message_id"))) == 3


class TestRefusals:
    """What is wrong ends the run before the first record, with a sentence that says what to set."""

    @pytest.mark.parametrize(
        ("made", "said"),
        [
            (
                "create table people (user_id varchar, scor integer, company varchar)",
                "no writable field 'score'.*'scor'",
            ),
            ("create table people (user_id varchar, score boolean, company varchar)", "requires a boolean"),
            ("create table other (user_id varchar)", "table people does not exist.*create: true"),
        ],
    )
    def test_a_table_that_does_not_fit(self, tmp_path: Path, made: str, said: str) -> None:
        to = database("duckdb", tmp_path)
        to.sql(made)
        project = project_of(tmp_path, to)
        project.audience("vips", people(0, 2, "7"), meta())
        (run,) = project.open().sync("vips")
        assert run.exit_code == 4
        assert re.search(said, str(run.error)), run.error

    def test_a_connection_of_an_unknown_engine(self, tmp_path: Path) -> None:
        to = database("duckdb", tmp_path)
        project = project_of(tmp_path, to, connection={"type": "postgre"})
        project.audience("vips", people(0, 2, "7"), meta())
        (run,) = project.open().sync("vips")
        assert "revetl.yml: connection of a destination has type 'postgre'" in str(run.error)
        assert "'postgres'" in str(run.error)

    def test_who_may_not_is_refused_and_no_password_is_shown(self, tmp_path: Path) -> None:
        to = database("postgres", tmp_path)
        to.sql("create table people (user_id varchar, score integer, company varchar)")
        to.sql("drop role if exists nobody_there")
        connection = {**to.output, "user": "nobody_there", "password": "verysecret"}
        project = project_of(tmp_path, to, connection=connection)
        project.audience("vips", people(0, 2, "7"), meta())
        (run,) = project.open().sync("vips")
        assert (run.status, run.exit_code) == ("refused", 4)
        assert "403" in str(run.error)
        opened = project.open()
        destination = opened.workspace.destination(opened.sync_named("vips.db"))
        assert destination.secrets() == ("verysecret",)
        assert "verysecret" not in str(run.error)

    def test_a_server_that_is_away_is_tried_again(self, tmp_path: Path) -> None:
        to = database("postgres", tmp_path)
        connection = {**to.output, "host": "127.0.0.1", "port": 9}
        project = project_of(tmp_path, to, connection=connection)
        project.audience("vips", people(0, 2, "7"), meta())
        (run,) = project.open().sync("vips")
        assert run.exit_code == 4
        assert "no connection" in str(run.error)


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", [each if each == "duckdb" else pytest.param(each, marks=pytest.mark.long) for each in ENGINES]
)
def test_killed_between(tmp_path: Path, engine: str) -> None:
    to = database(engine, tmp_path)
    project = project_of(tmp_path, to, create=True, requests_per_second=4)
    project.audience("vips", people(0, 60_000, "7"), meta())
    killed = 0
    for number in range(3):
        command = [sys.executable, "-m", "revetl", "sync", "audience", "vips", "--force", "max_change"]
        run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1.5 + 0.4 * number)
        run.send_signal(signal.SIGKILL)
        run.communicate()
        killed += run.returncode == -signal.SIGKILL
    assert killed
    (done,) = project.open().sync("vips", force=("max_change",))
    assert done.status == "success", done.error
    assert held(to) == sorted((f"u{i}", 7) for i in range(60_000))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["duckdb", pytest.param("postgres", marks=pytest.mark.long)])
def test_connections_that_break_are_made_anew(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each third statement is lost, before or after it was run."""
    to = database(engine, tmp_path)
    project = project_of(tmp_path, to, create=True, retries=8)
    changed, calls = TableTransport._changed, [0]

    def breaks(self: TableTransport, *given: Any) -> httpx.Response:
        calls[0] += 1
        if calls[0] % 3 == 1:
            raise httpx.ReadError("lost before")
        response = changed(self, *given)
        if calls[0] % 3 == 2:
            raise httpx.ReadError("lost after")
        return response

    monkeypatch.setattr(TableTransport, "_changed", breaks)
    monkeypatch.setattr(Sql, "batch", Batch(50))
    project.audience("vips", people(0, 400, "7"), meta())
    assert project.open().sync("vips")[0].status == "success"
    assert held(to) == sorted((f"u{i}", 7) for i in range(400))


@pytest.mark.warehouses
@pytest.mark.parametrize("engine", ["snowflake", "spark"])
def test_engines_of_other_forms(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose names are upper case there, and one whose rows cannot be changed."""
    monkeypatch.chdir(tmp_path)
    to = make_backend(engine, tmp_path)
    project = project_of(tmp_path / "shop", to, create=True, removed="flag")
    project.audience("vips", people(0, 300, "7"), meta())
    assert project.open().sync("vips")[0].status == "success"
    project.audience("vips", people(100, 300, "case when i < 150 then 9 else 7 end"))
    assert project.open().sync("vips")[0].status == "success"
    rows = to.sql(
        f"select user_id, score, case when _removed_at is null then 0 else 1 end from {to.schema}.people"
    )
    expected = sorted((f"u{i}", 9 if 100 <= i < 150 else 7, int(i < 100)) for i in range(300))
    assert sorted((person, int(score), int(gone)) for person, score, gone in rows) == expected
