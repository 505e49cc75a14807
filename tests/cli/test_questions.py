"""Questions of a person at the command line: who is where, what failed, a query, and undoing a cut."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from revetl.cli.history import moment
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people


@pytest.fixture
def shop(project: ProjectFolder) -> ProjectFolder:
    project.audience("vips", people(("u1", 1), ("u2", 2)), {**META})
    project.audience("lapsed", people(("u2", 2), ("u3", 3)), {"key": "user_id", "sync": [{"to": "crm"}]})
    project.declare("planned", {"key": "user_id", "sync": [{"to": "crm"}]})
    return project


def test_every_audience_of_a_person_with_who_holds_them(shop: ProjectFolder, cli: Cli) -> None:
    assert cli(shop, "sync", "vips").returncode == 0
    done = cli(shop, "why", "u2", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = {each["audience"]: each for each in json.loads(done.stdout)}
    assert {name: each["member"] for name, each in found.items()} == {
        "vips": True,
        "lapsed": True,
        "planned": None,
    }
    assert [(each["sync"], each["key"]) for each in found["vips"]["held"]] == [("vips.crm", "u2")]
    assert found["lapsed"]["held"] == []
    lines = cli(shop, "why", "u2").stdout.splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [
        ["vips", "yes"],
        ["lapsed", "yes"],
        ["planned", "not"],
    ]


def test_a_person_that_no_audience_knows(shop: ProjectFolder, cli: Cli) -> None:
    done = cli(shop, "why", "nobody")
    assert (done.returncode, "No person found for 'nobody'" in done.stderr) == (2, True)


def test_failed_runs_since_yesterday_with_their_reasons(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "^u2$", "reason": "no such person"})
    assert cli(shop, "sync", "vips").returncode == 1
    sandbox.behave()
    sandbox.misbehave({"kind": "status", "status": 401})
    assert cli(shop, "sync", "lapsed").returncode == 4
    sandbox.behave()
    assert cli(shop, "sync", "lapsed").returncode == 0
    rows = json.loads(cli(shop, "history", "--since", "yesterday", "--failed", "-o", "json").stdout)
    assert [(row["sync"], row["status"]) for row in rows] == [
        ("lapsed.crm", "refused"),
        ("vips.crm", "rejected"),
    ]
    (reason,) = rows[1]["reasons"]
    assert ("no such person" in reason, rows[1]["reasons"][reason]) == (True, 1)
    text = cli(shop, "history", "--failed").stdout
    assert f"1 record rejected: {reason}" in text
    assert "refused the request: 401" in text
    shop.sql("update revetl.revetl.sync_runs set started_at = started_at - interval 3 day")
    done = cli(shop, "history", "--since", "yesterday", "--failed")
    assert done.stdout == ""
    assert "No run failed since" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31)),
        ("2026-01-31 12:00", datetime(2026, 1, 31, 12)),
        ("2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10)),
    ],
)
def test_moments_as_people_write_them(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    ("text", "age"), [("7 days", timedelta(days=7)), ("2 weeks ago", timedelta(weeks=2))]
)
def test_an_age(text: str, age: timedelta) -> None:
    before = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    assert before - age <= moment(text) <= datetime.now(UTC).replace(tzinfo=None) - age


@pytest.mark.parametrize(("text", "days"), [("today", 0), ("yesterday", 1)])
def test_a_day_by_its_word(text: str, days: int) -> None:
    found = moment(text)
    assert (found.hour, found.minute, found.second) == (0, 0, 0)
    assert timedelta(days=days) <= datetime.now(UTC).replace(tzinfo=None) - found < timedelta(days=days + 1)


@pytest.mark.parametrize("text", ["last week", "31.01.2026", "days", "nan days"])
def test_a_moment_that_is_none_is_an_error(text: str) -> None:
    with pytest.raises(click.UsageError, match=r"is not a time\. Write yesterday"):
        moment(text)


def test_a_query_and_its_result_as_json(shop: ProjectFolder, cli: Cli) -> None:
    query = "select user_id, score from {{ ref('vips') }} order by 1"
    done = cli(shop, "sql", query, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"user_id": "u1", "score": 1}, {"user_id": "u2", "score": 2}]
    cut = cli(shop, "sql", query, "--limit", "1")
    assert cut.stdout.splitlines()[2:] == ["u1            1"]
    assert "Only 1 rows are shown" in cut.stderr


WRITES = (
    "delete from vips",
    "insert into vips select * from vips",
    "create table x as select 1",
    "drop table vips",
    "with gone as (delete from vips returning *) select * from gone",
    "select * into copied from vips",
    "copy vips to 'x.csv'",
    "attach 'x.duckdb'",
    "set memory_limit = '1GB'",
    "update vips set score = 0",
    "truncate vips",
)


@pytest.mark.parametrize("statement", WRITES)
def test_a_statement_that_writes_is_refused_before_it_runs(
    shop: ProjectFolder, cli: Cli, statement: str
) -> None:
    done = cli(shop, "sql", statement)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (2, "", False)
    assert "only reads" in done.stderr or "Fix the statement" in done.stderr
    assert shop.sql("select count(*) from vips") == [(2,)]
    assert not (shop.root / "x.csv").exists()


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("select 1; select 2", "There are 2 statements. Write one query."),
        ("select * from {{ ref('vip') }}", "dbt has no model 'vip'. Did you mean 'vips'?"),
        ("select {{ 1 + 1 }}", "Of Jinja, only {{ ref('model') }} is rendered here."),
        ("select (1", "Fix the statement."),
    ],
)
def test_a_wrong_query_is_one_sentence(shop: ProjectFolder, cli: Cli, statement: str, sentence: str) -> None:
    done = cli(shop, "sql", statement)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert sentence in done.stderr


def test_an_unknown_column_is_the_warehouses_to_say(shop: ProjectFolder, cli: Cli) -> None:
    done = cli(shop, "sql", "select nothing from vips")
    assert (done.returncode, "nothing" in done.stderr, "Traceback" in done.stderr) == (5, True, False)


def test_queries_from_stdin(shop: ProjectFolder, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("select 1 as a;\nselect\n  2 as b"))
    assert cli(shop, "sql").stdout.split() == ["a", "─", "1", "b", "─", "2"]


def test_the_prompt_goes_on_after_an_error(shop: ProjectFolder) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "revetl", "sql"],
        cwd=shop.root,
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
    )
    os.close(slave)
    os.write(master, b"delete from vips;\nselect count(*) as people\nfrom vips;\n\x04")
    out, err = process.communicate(timeout=60)
    os.close(master)
    assert (process.returncode, "DELETE isn't a query" in err) == (0, True), err
    assert "people" in out
    assert "     2" in out


CUTS = (
    "left_type,left_value,right_type,right_value,cut_at,reason\n"
    'email,a@b.example,phone,+447,2026-01-01 00:00:00,"one, family"\n'
    "user_id,u1,user_id,u2,2026-01-02 00:00:00,\n"
)


def seed(shop: ProjectFolder, text: str = CUTS) -> Path:
    file = shop.root / "seeds" / "cut_edges.csv"
    file.parent.mkdir()
    file.write_bytes(text.encode())
    return file


@pytest.mark.parametrize("pair", [("u1", "u2"), ("user_id:u2", "u1")])
def test_a_cut_is_undone(shop: ProjectFolder, cli: Cli, pair: tuple[str, str]) -> None:
    file = seed(shop)
    done = cli(shop, "identity", "uncut", *pair)
    assert done.returncode == 0, done.stderr
    assert file.read_text() == "".join(CUTS.splitlines(keepends=True)[:2])
    again = cli(shop, "identity", "uncut", *pair)
    assert again.returncode == 2
    assert "has no pair of" in again.stderr
    assert "It has: email:a@b.example and phone:+447." in again.stderr


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "seeds/cut_edges.csv: does not exist"),
        (
            CUTS + "phone,u1,user_id,u2,2026-01-02 00:00:00,\n",
            "several pairs match 'u1' and 'u2'. Write type:value.",
        ),
        ("left_type,left_value\na,b\n", "the column 'right_type' is missing"),
    ],
)
def test_a_cut_that_cannot_be_undone(shop: ProjectFolder, cli: Cli, text: str | None, sentence: str) -> None:
    if text is not None:
        seed(shop, text)
    done = cli(shop, "identity", "uncut", "u1", "u2")
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr


def test_destinations_as_a_list_that_fits_a_terminal(cli: Cli, tmp_path: Path) -> None:
    done = cli(tmp_path, "destinations")
    assert done.stdout == cli(tmp_path, "destinations", "list").stdout
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[2:]] == sorted(line.split()[0] for line in lines[2:])


def test_a_new_project_with_the_demos_events(cli: Cli, tmp_path: Path) -> None:
    done = cli(tmp_path, "init", "my_shop", "--demo")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my_shop" / "demo_events.ndjson.gz").stat().st_size > 100_000
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Next: ")]
    steps: list[Any] = line.removeprefix("Next: ").split(" && ")
    assert steps == [
        "cd my_shop",
        "dbt deps",
        "revetl load demo_events.ndjson.gz",
        "dbt build --vars 'as_of: 2011-07-01'",
        "revetl plan high_churn",
    ]


@pytest.mark.parametrize("option", ["--here", "--minimal", "--upgrade"])
def test_demo_events_are_for_a_new_project(cli: Cli, tmp_path: Path, option: str) -> None:
    done = cli(tmp_path, "init", "my_shop", "--demo", option)
    assert (done.returncode, "--demo is for a new project" in done.stderr) == (2, True)
