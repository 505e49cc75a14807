"""Syncs that were renamed, removed or paused: they are listed, opt-outs reach them, they can be retired."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from typing import Any

import pytest

from revetl.errors import UsageError
from revetl.sandbox.setups import setups
from revetl.sync.plan.options import SyncOptions
from revetl.sync.retire import OptOuts, Retirement
from revetl.sync.state.run_log import Run
from tests.conftest import Cli, SandboxClient
from tests.destinations.test_round_trip import _shown
from tests.destinations.test_round_trip import people as everyone
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.scenarios.test_lost import lose_all
from tests.sync.test_sync import META, people, synced

THREE = people(("u1", "a@x.co"), ("u2", "b@x.co"), ("u3", "c@x.co"), columns="user_id, email")
SUPPRESS = "insert into revetl.revetl.suppressions values (?, ?, 'opt-out', timestamp '2026-01-01')"


def meta(**options: Any) -> dict[str, Any]:
    enabled = options.pop("enabled", True)
    return {"key": "user_id", "enabled": enabled, "sync": [{"to": "crm", **options}]}


def forget(project: ProjectFolder, name: str = "vips") -> None:
    """Remove the model."""
    project._nodes.pop(f"model.shop.{name}")
    project.write_manifest()


def orphan(project: ProjectFolder, **options: Any) -> None:
    project.audience("vips", THREE, meta(**options))
    project.audience("others", people(("o1", 1)), META.copy())
    synced(project)
    synced(project, "others")
    forget(project)


def pause(project: ProjectFolder, **options: Any) -> None:
    project.audience("vips", THREE, meta(**options))
    project.audience("others", people(("o1", 1)), META.copy())
    synced(project)
    synced(project, "others")
    project.declare("vips", meta(enabled=False, **options))


@pytest.mark.parametrize(("leave", "why"), first_fast([(orphan, "orphaned"), (pause, "paused")]))
def test_what_no_run_touches_is_listed_and_opt_outs_are_removed_from_it(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, leave: Any, why: str
) -> None:
    leave(project)
    said = f"Warning: vips.crm is {why}"
    assert (
        f"| {why}" in cli(project, "status").stdout.replace("\u2502", "|")
        or why in cli(project, "status").stdout
    )
    for command in (["plan", "--all"], ["validate", "--no-secrets"]):
        assert f"{said} (" in cli(project, *command).stderr
        assert "and has 3 members. `revetl retire vips.crm` removes them." in cli(project, *command).stderr
    project.sql(SUPPRESS, "email", " B@x.co")
    project.sql(SUPPRESS, "user_id", "u3")
    done = cli(project, "sync", "--all")
    assert done.returncode == 0, done.stderr
    assert set(sandbox.members("crm", "vips")) == {"u1"}
    assert set(sandbox.members("crm", "others")) == {"o1"}
    # Once is enough.
    assert "vips.crm: success" not in cli(project, "sync", "--all").stdout


@pytest.mark.slow
@pytest.mark.parametrize("leave", [orphan, pause])
def test_an_opt_out_by_a_hashed_identifier_reaches_what_no_run_touches(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, leave: Any
) -> None:
    leave(project)
    sent = {"id": hashlib.sha256(b"b@x.co").hexdigest()}
    project.sql(
        "update revetl.revetl.sync_state set fields = '{}', identifiers = ? where key = 'u2'",
        json.dumps(sent),
    )
    project.sql(SUPPRESS, "email", "b@x.co")
    assert cli(project, "sync", "--all").returncode == 0
    assert project.sql("select key from revetl.revetl.sync_state where sync = 'vips.crm' order by 1") == [
        ("u1",),
        ("u3",),
    ]


@pytest.mark.parametrize(
    ("leave", "arguments"),
    [
        (orphan, ["vips.crm"]),
        (orphan, ["--all"]),
        (pause, ["audience", "vips"]),
    ],
)
def test_a_retired_sync_holds_nobody_and_is_closed(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, leave: Any, arguments: list[str]
) -> None:
    leave(project)
    shown = cli(project, "retire", *arguments, "--dry-run")
    assert (shown.returncode, "3 held" in shown.stdout) == (0, True), shown.stdout
    assert len(sandbox.members("crm", "vips")) == 3
    done = cli(project, "retire", *arguments)
    assert done.returncode == 0, done.stderr
    assert sandbox.members("crm", "vips") == {}
    assert set(sandbox.members("crm", "others")) == {"o1"}
    assert project.sql("select distinct sync from revetl.revetl.sync_state") == [("others.crm",)]
    assert "vips.crm is" not in cli(project, "plan", "--all").stderr
    if leave is pause:
        project.declare("vips", meta())
        assert synced(project).delivered["add"] == 3


def test_a_sync_whose_mode_removes_nobody_is_closed_and_that_is_said(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    orphan(project, mode="upsert")
    done = cli(project, "retire", "vips.crm")
    assert done.returncode == 0, done.stderr
    note = "vips.crm: retired. 3 members stay at crm, because mode upsert never removes members."
    assert note in done.stderr
    assert len(sandbox.requests("crm")) == 2
    assert "vips.crm is" not in cli(project, "plan", "--all").stderr


def test_who_could_not_be_removed_keeps_a_sync_open(project: ProjectFolder, sandbox: SandboxClient) -> None:
    orphan(project)
    sandbox.misbehave({"kind": "reject", "pattern": "u2"})
    opened = project.open()
    (sync,) = opened.to_retire("vips.crm")
    (run,) = opened.run_all([(sync, SyncOptions())], kind=Retirement)
    assert run.exit_code == 1
    assert [(each.sync, each.held) for each in opened.unattended()] == [("vips.crm", 1)]
    sandbox.behave()
    (again,) = opened.run_all([(sync, SyncOptions())], kind=Retirement)
    assert again.exit_code == 0
    assert opened.unattended() == []


def test_a_limit_of_removes_stands_unless_it_is_forced(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    pause(project, max_removes=2)
    assert cli(project, "retire", "audience", "vips").returncode == 3
    assert len(sandbox.members("crm", "vips")) == 3
    assert cli(project, "retire", "audience", "vips", "--force", "max_removes").returncode == 0
    assert sandbox.members("crm", "vips") == {}


def test_a_destination_that_is_gone_has_to_come_back_first(project: ProjectFolder) -> None:
    orphan(project)
    project.destinations({"other": {"type": "webhook", "url": "http://127.0.0.1:1/"}})
    with pytest.raises(UsageError, match=r"'crm' is no longer in revetl\.yml, but still has 3 members\."):
        project.open().to_retire("vips.crm")


@pytest.mark.slow
def test_a_killed_retirement_goes_on(project: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    import subprocess
    import sys

    orphan(project)
    project.destinations(
        {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", "batch_size": 1, "max_in_flight": 1}}
    )
    sandbox.misbehave({"kind": "slow", "seconds": 0.5})
    before = len(sandbox.requests("crm"))
    process = subprocess.Popen([sys.executable, "-m", "revetl", "retire", "vips.crm"], cwd=project.root)
    deadline = time.monotonic() + 30
    while len(sandbox.requests("crm")) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    sandbox.behave()
    lose_all(project.root / ".revetl" / "runs")
    time.sleep(0.8)
    done = cli(project, "retire", "vips.crm")
    assert done.returncode == 0, done.stderr
    assert sandbox.members("crm", "vips") == {}
    assert project.open().unattended() == []


def test_a_paused_sync_is_not_run(project: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    pause(project)
    project.audience("vips", people(("u9", "z@x.co"), columns="user_id, email"))
    assert cli(project, "sync", "--all").returncode == 0
    assert "u9" not in sandbox.members("crm", "vips")
    named = cli(project, "sync", "audience", "vips")
    assert (named.returncode, "vips.crm is paused: `enabled: false`" in named.stderr) == (2, True)


RENAMED = {
    "the audience": ("stars", {"was": "vips"}, "crm", {}),
    "the destination": ("vips", {}, "tool", {"was": "crm"}),
    "both": ("stars", {"was": "vips"}, "tool", {"was": "crm"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("engine", first_fast(["duckdb", "postgres"], rest=pytest.mark.long))
@pytest.mark.parametrize(("name", "more", "to", "destination"), RENAMED.values(), ids=RENAMED.keys())
def test_the_state_goes_along_with_a_new_name(
    tmp_path: Any,
    sandbox: SandboxClient,
    engine: str,
    name: str,
    more: dict[str, Any],
    to: str,
    destination: dict[str, Any],
) -> None:
    webhook = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    project = ProjectFolder(tmp_path / "shop", {"crm": webhook}, engine)
    project.audience("vips", people(("u1", 1), ("u2", 2)), META.copy())
    synced(project)
    forget(project)
    project.destinations({to: {**webhook, **destination}})
    renamed = {"key": "user_id", **more, "sync": [{"to": to, "fields": {"score": "score"}}]}
    project.audience(name, people(("u2", 2), ("u3", 3)), renamed)
    opened = project.open()
    assert opened.unattended() == []
    (plan,) = opened.plan(name)
    assert (plan.sync, plan.add, plan.update, plan.remove) == (f"{name}.{to}", 1, 0, 1)
    (run,) = opened.sync(name)
    assert run.delivered == {"add": 1, "update": 0, "remove": 1}
    assert sum(opened.sync(name)[0].planned.values()) == 0
    assert [row["sync"] for row in opened.status()] == [f"{name}.{to}"]
    assert {row["sync"] for row in opened.history()} == {f"{name}.{to}"}


FAST_NAMES = {"webhook", "mixpanel"}
"""Those of which the fast tests are; the others are found by running."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST_NAMES else pytest.mark.long)
        for name in sorted(setups())
        if name not in ("file", "sql")
    ],
)
def test_nobody_stays_under_the_former_name_of_an_audience(
    name: str, tmp_path: Any, sandbox: SandboxClient
) -> None:
    """Either the tool keeps the name that was delivered, or it has a list, which is to be renamed there."""
    setup = setups()[name]
    project = ProjectFolder(tmp_path / "shop", {name: setup.destination(sandbox.url)})
    about = {"key": _shown(name).key, "sync": [{"to": name, "max_change": "200%", **setup.sync}]}
    project.audience("vips", everyone(0, 3, "7"), about.copy())
    is_named = "vips" in _requested(project, "vips", name)
    first = synced(project)
    assert first.status == "success", first.error
    before = sandbox.members(name, "vips")
    forget(project)
    project.audience("stars", everyone(1, 4, "7"), {**about, "was": "vips"})
    asked = _requested(project, "stars", name)
    run = synced(project, "stars")
    if "former name 'vips' (id " in (run.error or ""):
        assert (run.exit_code, sandbox.members(name, "vips")) == (4, before)
        return
    assert run.status == "success", run.error
    # The plan of what follows a run that has carried the state over.
    project.audience("stars", everyone(2, 4, "7"))
    asked += _requested(project, "stars", name)
    assert "stars" not in asked
    assert "vips" in asked or not is_named
    assert synced(project, "stars").status == "success"
    after = sandbox.members(name, "vips")
    assert (len(before.keys() & after.keys()), len(after)) == ((1, 2) if before else (0, 0))
    assert sandbox.members(name, "stars") == {}


def _requested(project: ProjectFolder, audience: str, to: str) -> str:
    """The requests of a plan, without the name of the sync."""
    (plan,) = project.open().plan(audience)
    assert plan.preview is not None
    return str(plan.preview.requests).replace(f"{audience}.{to}", "")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_a_former_name_is_kept_by_all_that_follows(
    tmp_path: Any, sandbox: SandboxClient, cli: Cli, engine: str
) -> None:
    """A second rename, state that was adopted, a comparison and a retirement."""
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm", "read_url": f"{sandbox.url}/crm"}
    project = ProjectFolder(tmp_path / "shop", {"crm": crm}, engine)
    project.audience("vips", people(("u1", 1), ("u2", 2)), META.copy())
    synced(project)
    for name, was in (("stars", "vips"), ("heroes", "stars")):
        forget(project, was)
        project.audience(name, people(("u1", 1), ("u2", 2)), {**META, "was": was})
        assert sum(synced(project, name).planned.values()) == 0
    assert cli(project, "state", "adopt", "heroes.crm").returncode == 0
    assert "called vips" in cli(project, "state", "show", "heroes.crm").stdout
    compared = cli(project, "reconcile", "heroes.crm")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}
    assert cli(project, "retire", "heroes.crm").returncode == 0
    assert (sandbox.members("crm", "vips"), sandbox.members("crm", "heroes")) == ({}, {})
    assert synced(project, "heroes").delivered["add"] == 2
    assert set(sandbox.members("crm", "heroes")) == {"u1", "u2"}


def test_a_former_name_that_another_sync_has_by_now_is_left_to_it(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META.copy())
    synced(project)
    forget(project)
    renamed = {**META, "was": "vips"}
    project.audience("stars", people(("u1", 1), ("u2", 2)), renamed.copy())
    synced(project, "stars")
    # What this machine remembers of vips was carried over too, and does not stop its successor.
    project.audience("vips", people(("u5", 5)), META.copy())
    assert synced(project).status == "success"
    assert cli(project, "retire", "stars.crm").returncode == 0
    assert synced(project, "stars").delivered == {"add": 2, "update": 0, "remove": 0}
    held = project.sql("select key from revetl.revetl.sync_state where sync = 'vips.crm'")
    assert held == [("u5",)]
    assert sum(synced(project).planned.values()) == 0


def test_an_orphan_of_a_renamed_destination_is_retired_and_its_opt_outs_are_removed(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    orphan(project)
    project.destinations({"tool": {"type": "webhook", "url": f"{sandbox.url}/crm", "was": "crm"}})
    project.declare("others", {"key": "user_id", "sync": [{"to": "tool"}]})
    project.sql(SUPPRESS, "user_id", "u3")
    assert cli(project, "sync", "--all").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}
    assert cli(project, "retire", "vips.crm").returncode == 0
    assert sandbox.members("crm", "vips") == {}


def test_opt_outs_are_not_sent_to_another_place_than_where_people_are(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    pause(project)
    project.declare("others", {"key": "user_id", "enabled": False, "sync": [{"to": "crm"}]})
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/elsewhere"}})
    project.sql(SUPPRESS, "user_id", "u3")
    done = cli(project, "sync", "--all")
    assert (done.returncode, "points to a different place" in done.stderr) == (3, True), done.stderr
    assert project.sql("select count(*) from revetl.revetl.sync_state where key = 'u3'") == [(1,)]


PHONES = people(("u1", "+91 98765 43210"), ("u2", "+91 98765 43211"), columns="user_id, phone")


@pytest.fixture
def ads(tmp_path: Any, sandbox: SandboxClient) -> ProjectFolder:
    """A project that keeps lists of phones for ads."""
    config = {"type": "facebook_ads", "ad_account_id": "7", "access_token": "TOKEN", "phone_region": "IN"}
    folder = ProjectFolder(
        tmp_path / "shop", {"ads": {**config, "base_url": f"{sandbox.url}/facebook_ads", "retries": 0}}
    )
    folder.audience("vips", PHONES, of_phones())
    synced(folder)
    return folder


SPELLINGS = {
    "phones": ("facebook_ads", {"PHONE": "phone"}, "+16505551212", "(650) 555-1212", "6505551213"),
    "mobiles": ("facebook_ads", {"PHONE": "mobile"}, "6505551214", " +1 650-555-1214", "6505551215"),
    "mails": (
        *("google_ads", {"hashedEmail": "email"}, "annlee@gmail.com"),
        *("Ann.Lee+news@Gmail.com", "bob@gmail.com"),
    ),
}
"""By audience: the destination and identifier, the member's, the opt-out's spelling, another member's."""


@pytest.mark.parametrize("engine", ["duckdb", pytest.param("postgres", marks=pytest.mark.slow)])
@pytest.mark.parametrize("leave", ["orphaned", pytest.param("paused", marks=pytest.mark.slow)])
def test_an_opt_out_in_another_spelling_reaches_what_no_run_touches(
    tmp_path: Any, sandbox: SandboxClient, leave: str, engine: str
) -> None:
    ads = {"ad_account_id": "7", "access_token": "TOKEN"}
    google = {"access_token": "t", "developer_token": "d", "customer_id": "1"}
    tools = {
        kind: {"type": kind, **config, "phone_region": "US", "base_url": f"{sandbox.url}/{kind}"}
        for kind, config in {"facebook_ads": ads, "google_ads": google}.items()
    }
    project = ProjectFolder(tmp_path / "shop", tools, engine)
    state = "revetl.revetl" if engine == "duckdb" else project.backend.state_schema
    metas: dict[str, Any] = {}
    for name, (kind, identifiers, held, _, other) in SPELLINGS.items():
        rows = people(("u1", held), ("u2", other), columns=f"user_id, {next(iter(identifiers.values()))}")
        metas[name] = {"key": "user_id", "sync": [{"to": kind, "identifiers": identifiers, "fields": {}}]}
        project.audience(name, rows, metas[name].copy())
        run = synced(project, name)
        assert run.delivered["add"] == 2, run.error
    suppressions = [(next(iter(of.values())), listed) for _, of, _, listed, _ in SPELLINGS.values()]
    # A number that somebody is known by elsewhere is not a phone number.
    for kind, value in (*suppressions, ("user_id", "6505551213")):
        suppress = f"insert into {state}.suppressions values (?, ?, 'opt-out', timestamp '2026-01-01')"
        project.sql(suppress, kind, value)
    for name, meta_of in metas.items():
        if leave == "orphaned":
            forget(project, name)
        else:
            project.declare(name, {**meta_of, "enabled": False})
    opened = project.open()
    runs = opened.run_all([(sync, SyncOptions()) for sync in opened.opt_outs()], kind=OptOuts)
    removed = {run.audience: (run.status, run.delivered["remove"]) for run in runs if isinstance(run, Run)}
    assert removed == dict.fromkeys(SPELLINGS, ("success", 1))
    assert project.sql(f"select key, count(*) from {state}.sync_state group by 1") == [("u2", 3)]


def of_phones(**more: Any) -> dict[str, Any]:
    return {"key": "user_id", **more, "sync": [{"to": "ads", "identifiers": {"PHONE": "phone"}}]}


def test_phones_that_an_older_version_has_left_as_texts_are_retired_as_they_were_sent(
    ads: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    sent = sandbox.deliveries("facebook_ads")[-1]["ids"]
    for key, number in (("u1", "+91 98765 43210"), ("u2", "+91 98765 43211")):
        ads.sql(
            "update revetl.revetl.sync_state set identifiers = ?, hash_by = replace(hash_by, ' sent', '') "
            "where key = ?",
            json.dumps({"PHONE": number}),
            key,
        )
    ads.declare("vips", of_phones(enabled=False))
    assert cli(ads, "retire", "vips.ads").returncode == 0
    last = sandbox.deliveries("facebook_ads")[-1]
    assert (last["operation"], set(last["ids"])) == ("remove", set(sent))


def test_a_list_that_is_there_under_the_former_name_is_not_taken_for_gone(
    ads: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    forget(ads)
    ads.audience("stars", PHONES + " limit 1", of_phones(was="vips"))
    for command in (["sync", "audience", "stars"], ["retire", "stars.ads"]):
        done = cli(ads, *command)
        assert (done.returncode, "former name 'vips' (id " in done.stderr) == (4, True), done.stderr
    assert {each["operation"] for each in sandbox.deliveries("facebook_ads")} == {"find", "create", "add"}
    assert synced(ads, "stars", full_refresh=True).delivered["add"] == 1
