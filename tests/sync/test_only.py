"""`--only` sends one member for real, and `--undo` takes it back."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from revetl.errors import UsageError
from revetl.sandbox.setups import setups
from tests.conftest import Cli, SandboxClient
from tests.destinations.test_round_trip import people as everybody
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.scenarios.test_kill import start
from tests.scenarios.test_lost import lose_all
from tests.sync.test_sync import people, synced

COLUMNS = "user_id, email, score"
ADA, MARIE, EMMY = ("u1", "Ada@example.com", 1), ("u2", "marie@example.com", 2), ("u3", "emmy@example.com", 3)
STATE = (
    "select key, row_hash, hash_by, identifiers, fields, presence from revetl.revetl.sync_state order by 1"
)


def meta(**options: Any) -> dict[str, Any]:
    return {"key": "user_id", "sync": [{"to": "crm", "fields": {"score": "score"}, **options}]}


def sent(sandbox: SandboxClient) -> list[tuple[str, list[str]]]:
    return [(each["operation"], each["ids"]) for each in sandbox.requests("crm")]


def was_sent(project: ProjectFolder) -> bool:
    """Whether a run has written down that it is about to send something."""
    for file in (project.root / ".revetl" / "runs").rglob("journal.sqlite"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as journal:
            return bool(journal.execute("select count(*) from sent").fetchone()[0])
    return False


@pytest.mark.parametrize("asked", first_fast([" ada@EXAMPLE.com", "u1"]))
def test_one_member_is_sent_counted_and_taken_back(
    asked: str, project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(ADA, MARIE, EMMY, columns=COLUMNS), meta())
    (plan,) = project.open().plan("vips", only=asked)
    assert plan.preview is not None
    assert (plan.counts, len(plan.preview.requests)) == ({"add": 1, "update": 0, "remove": 0}, 1)
    done = cli(project, "sync", "vips", "--to", "crm", "--only", asked)
    assert (done.returncode, sent(sandbox)) == (0, [("add", ["u1"])]), done.stderr
    assert "/crm: 200 {" in done.stdout
    again = cli(project, "sync", "vips", "--to", "crm", "--only", asked)
    assert "nothing changed for this member" in again.stderr
    assert [row[0] for row in project.sql(STATE)] == ["u1"]
    undone = cli(project, "sync", "vips", "--to", "crm", "--only", asked, "--undo")
    assert (undone.returncode, sent(sandbox)[1:]) == (0, [("remove", ["u1"])]), undone.stderr
    assert (sandbox.members("crm", "vips"), project.sql(STATE)) == ({}, [])
    twice = cli(project, "sync", "vips", "--only", asked, "--undo")
    assert (twice.returncode, "that could be undone" in twice.stderr) == (2, True)
    synced(project, only=asked)
    full = synced(project)
    assert full.delivered == {"add": 2, "update": 0, "remove": 0}
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2", "u3"}


def test_an_update_and_a_remove_of_one_member_are_restored_to_what_was_acknowledged(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(ADA, MARIE, EMMY, columns=COLUMNS), meta())
    synced(project)
    before, held = project.sql(STATE), sandbox.members("crm", "vips")
    changed = [("u1", "Ada@example.com", 10), ("u2", "marie@example.com", 20)]
    project.audience("vips", people(*changed, columns=COLUMNS))
    updated = synced(project, only="u1")
    removed = synced(project, only="u3")
    assert (updated.delivered["update"], removed.delivered["remove"]) == (1, 1)
    assert sandbox.members("crm", "vips") == {"u1": {"score": 10}, "u2": {"score": 2}}
    # Tried twice, it goes back to before the first time.
    synced(project, only="u1", full_refresh=True)
    assert synced(project, only="u1", undo=True).delivered["update"] == 1
    assert synced(project, only="u3", undo=True).delivered["add"] == 1
    assert (project.sql(STATE), sandbox.members("crm", "vips")) == (before, held)
    full = synced(project)
    assert full.delivered == {"add": 0, "update": 2, "remove": 1}


def test_a_member_under_another_identifier_gets_the_former_one_back(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    by_email = meta(identifiers={"id": "email"})
    project.audience("vips", people(("u1", "ada@x.co", 1), ("u2", "b@x.co", 2), columns=COLUMNS), by_email)
    synced(project)
    before = project.sql(STATE)
    project.audience("vips", people(("u1", "new@x.co", 1), ("u2", "c@x.co", 2), columns=COLUMNS))
    # By the identifier that was sent before.
    run = synced(project, only="ada@x.co")
    assert run.delivered == {"add": 1, "update": 0, "remove": 1}
    assert set(sandbox.members("crm", "vips")) == {"new@x.co", "b@x.co"}
    assert synced(project, only="new@x.co", undo=True).delivered == {"add": 1, "update": 0, "remove": 1}
    assert (set(sandbox.members("crm", "vips")), project.sql(STATE)) == ({"ada@x.co", "b@x.co"}, before)


def test_nobody_two_and_those_left_out_are_said_in_a_sentence(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    rows = [ADA, ("u2", "shared@example.com", 2), ("u3", "shared@example.com", 3), ("u4", "d@example.com", 4)]
    project.sql("create table staff as select 'u4' as user_id")
    excluding = meta(exclude=[{"model": "staff", "column": "user_id"}])
    project.audience("vips", people(ADA, columns=COLUMNS), meta())
    synced(project)
    project.audience("staff", "select 'u4' as user_id", {"key": "user_id", "sync": []})
    project.audience("vips", people(*rows, columns=COLUMNS), excluding)
    suppress = "insert into revetl.revetl.suppressions values ('email', ?, 'opt-out', timestamp '2026-01-01')"
    project.sql(suppress, "shared@example.com")
    for asked, words in (
        ("nobody@example.com", "is known by that"),
        ("shared@example.com", "2 members match (u2, u3). Name one by user_id"),
        ("u2", "u2 is suppressed"),
        ("u4", "u4 is excluded"),
    ):
        for command in ("sync", "plan"):
            done = cli(project, command, "vips", "--only", asked)
            assert (done.returncode, words in done.stderr) == (2, True), (asked, done.stderr)
    assert sent(sandbox) == [("add", ["u1"])]
    # Who is suppressed and still there is removed, and not put back.
    project.sql(suppress, "ada@example.com")
    assert synced(project, only="u1").delivered["remove"] == 1
    refused = cli(project, "sync", "vips", "--only", "u1", "--undo")
    assert (refused.returncode, "u1 is suppressed" in refused.stderr) == (2, True), refused.stderr
    assert sandbox.members("crm", "vips") == {}


def test_what_cannot_be_taken_back_is_said_and_exits_2(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    for mode, more, words in (
        ("events", {"event": "Scored"}, "has mode events, and a sent event cannot be undone"),
        ("delete", {"fields": None}, "has mode delete, and an erasure cannot be undone"),
        ("upsert", {}, "mode upsert never removes members, and the values that crm had"),
    ):
        name = f"of_{mode}"
        project.audience(name, people(ADA, MARIE, columns=COLUMNS), meta(mode=mode, **more))
        run = synced(project, name, only="u1")
        assert (run.status, run.delivered["add"]) == ("success", 1)
        done = cli(project, "sync", name, "--only", "u1", "--undo")
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert synced(project, name).delivered["add"] == 1


def test_guards_and_destinations_of_whole_audiences_stop_a_run_of_one_member(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(ADA, ADA, MARIE, columns=COLUMNS), meta())
    assert synced(project, only="u2").stopped_by == "keys"
    project.audience("vips", people(ADA, MARIE, columns=COLUMNS), meta(max_removes=0))
    synced(project)
    project.audience("vips", people(MARIE, columns=COLUMNS))
    assert synced(project, only="u1").stopped_by == "max_removes"
    project.destinations({"crm": {"type": "census", "api_key": "secret-token:K", "sync_id": "1"}})
    with pytest.raises(UsageError, match="one member cannot be sent alone"):
        synced(project, only="u1")
    for wrong in (["--undo"], ["--only", "u1", "--undo", "--full-refresh"], ["--all", "--only", "u1"]):
        assert cli(project, "sync", "vips", *wrong).returncode == 2


def test_a_rejection_of_another_member_and_a_run_cut_short_are_left_as_they_were(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(ADA, MARIE, EMMY, columns=COLUMNS), meta())
    sandbox.misbehave({"kind": "reject", "pattern": "^u2$"})
    assert synced(project).rejected["add"] == 1
    project.audience("vips", people(("u1", "Ada@example.com", 5), MARIE, EMMY, columns=COLUMNS))
    run = synced(project, only="u1")
    assert (run.delivered["update"], run.scope) == (1, "one")
    assert project.sql("select key from revetl.revetl.sync_rejections") == [("u2",)]
    # One who is named is sent although it was refused before, and the answer is shown.
    refused = synced(project, only="u2")
    assert (refused.status, refused.rejected["add"]) == ("rejected", 1)
    assert "rejected by the sandbox" in refused.answers[-1].body
    scopes = project.sql("select scope, count(*) from revetl.revetl.sync_runs group by 1 order by 1")
    assert scopes == [("all", 1), ("one", 2)]


def test_a_member_who_was_synced_since_is_not_undone(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(ADA, columns=COLUMNS), meta())
    synced(project, only="u1")
    assert sum(synced(project).planned.values()) == 0
    project.audience("vips", people(("u1", "Ada@example.com", 9), columns=COLUMNS))
    synced(project)
    with pytest.raises(UsageError, match="was synced again after run"):
        synced(project, only="u1", undo=True)
    assert sandbox.members("crm", "vips") == {"u1": {"score": 9}}
    # Whoever was removed, came back and was removed again is as little there as before.
    everybody = people(("u1", "Ada@example.com", 9), MARIE, columns=COLUMNS)
    project.audience("vips", people(MARIE, columns=COLUMNS))
    assert synced(project, only="u1").delivered["remove"] == 1
    for query in (everybody, people(MARIE, columns=COLUMNS)):
        project.audience("vips", query)
        synced(project)
    with pytest.raises(UsageError, match="was synced again after run"):
        synced(project, only="u1", undo=True)
    assert set(sandbox.members("crm", "vips")) == {"u2"}


def test_one_member_is_named_and_suppressed_by_a_phone_in_any_spelling(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    sendgrid = {"type": "sendgrid", "api_key": "SG.K", "base_url": f"{sandbox.url}/sendgrid.x"}
    project.destinations({"crm": {**sendgrid, "phone_region": "US"}})
    rows = [("u1", "(650) 555-1212", 1), ("u2", "+16505551213", 2), ("u3", "650.555.1213", 3)]
    columns, by_phone = "user_id, phone, score", meta(identifiers={"phone_number_id": "phone"}, fields={})
    project.audience("vips", people(*rows, columns=columns), by_phone)
    for asked in ("+16505551212", "650-555-1212"):
        (plan,) = project.open().plan("vips", only=asked)
        assert plan.counts["add"] == 1, asked
    for asked, words in (
        ("650 555 1213", "2 members match (u2, u3)"),
        ("ext +16505551212", "nobody in vips"),
    ):
        done = cli(project, "plan", "vips", "--only", asked)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    synced(project)
    project.audience("vips", people(*rows[1:], columns=columns))
    assert synced(project, only="16505551212").delivered["remove"] == 1
    suppress = "insert into revetl.revetl.suppressions values ('phone', ?, 'opt-out', timestamp '2026-01-01')"
    project.sql(suppress, "650.555 1212")
    with pytest.raises(UsageError, match="u1 is suppressed"):
        synced(project, only="650-555-1212", undo=True)


def test_an_undo_without_an_answer_is_tried_again(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", "retries": 1}})
    project.audience("vips", people(ADA, MARIE, columns=COLUMNS), meta())
    synced(project)
    before = project.sql(STATE)
    project.audience("vips", people(("u1", "Ada@example.com", 10), MARIE, columns=COLUMNS))
    synced(project, only="u1")
    for rule in (
        {"kind": "drop", "when": "after", "times": 2},
        {"kind": "status", "status": 500, "times": 2},
    ):
        sandbox.misbehave(rule)
        assert synced(project, only="u1", undo=True).status == "refused"
    assert synced(project, only="u1", undo=True).delivered["update"] == 1
    assert (project.sql(STATE), sandbox.members("crm", "vips")["u1"]) == (before, {"score": 1})
    with pytest.raises(UsageError, match="that could be undone"):
        synced(project, only="u1", undo=True)


@pytest.mark.slow
@pytest.mark.parametrize(("disk", "undo"), [("kept", False), ("lost", False), ("kept", True)])
def test_a_killed_run_of_one_member_loses_nothing(
    disk: str, undo: bool, project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(ADA, MARIE, columns=COLUMNS), meta())
    if undo:
        synced(project, only="u1")
    sandbox.misbehave({"kind": "slow", "seconds": 3, "times": 1})
    process = start(project, "--only", "u1", *(["--undo"] if undo else []))
    deadline = time.monotonic() + 60
    while not was_sent(project) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # What was on its way is dealt with before anything else is sent.
    time.sleep(3.5)
    sandbox.behave()
    if disk == "lost":
        lose_all(project.root / ".revetl" / "runs")
    if not undo:
        # What is not known to be there is taken back all the same.
        done = cli(project, "sync", "vips", "--only", "u1", "--undo")
        assert done.returncode == 0, done.stderr
        assert sent(sandbox)[-1] == ("remove", ["u1"])
        assert (sandbox.members("crm", "vips"), project.sql(STATE)) == ({}, [])
    synced(project)
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}
    assert [row[0] for row in project.sql(STATE) if row[1] is not None] == ["u1", "u2"]


def test_answers_show_no_secret_and_are_in_the_json(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", "secret": "s3cr3t-token"}})
    project.audience("vips", people(ADA, columns=COLUMNS), meta())
    sandbox.misbehave({"kind": "reject", "pattern": "^u1$", "reason": "no: s3cr3t-token"})
    done = cli(project, "sync", "vips", "--only", "u1", "-o", "json")
    (run,) = json.loads(done.stdout)
    (answer,) = run["answers"]
    assert (answer["method"], answer["status"]) == ("POST", 200)
    assert "no: ***" in answer["body"]
    assert "s3cr3t-token" not in done.stdout + done.stderr
    assert httpx.get(f"{sandbox.url}/_/members/crm").json()["audiences"] == {}


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(setups()))
def test_one_member_is_sent_to_every_tool_and_taken_back(
    name: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    setup = setups()[name]
    project = ProjectFolder(tmp_path / "shop", {name: setup.destination(sandbox.url)})
    entry = {"to": name, "max_change": "200%", **setup.sync}
    project.audience("vips", everybody(0, 3, "7"), {"key": "user_id", "sync": [entry]})
    shop = project.open()
    (sync,) = shop.select("vips")
    if not shop.workspace.destination(sync).takes_one:
        with pytest.raises(UsageError, match="one member cannot be sent alone"):
            shop.sync("vips", only="u1")
        return
    (run,) = shop.sync("vips", only="u1@example.com")
    assert (run.status, run.delivered) == ("success", {"add": 1, "update": 0, "remove": 0}), run.error
    assert all(each.status < 500 for each in run.answers)
    assert run.answers
    assert [key for (key,) in project.sql("select key from revetl.revetl.sync_state")] == ["u1"]
    if sync.config.mode != "mirror":
        return
    (undone,) = shop.sync("vips", only="u1@example.com", undo=True)
    assert (undone.status, undone.delivered["remove"]) == ("success", 1), undone.error
    assert project.sql("select key from revetl.revetl.sync_state") == []
    assert sandbox.members(name, "vips") == {}
