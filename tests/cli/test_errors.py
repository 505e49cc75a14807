"""What a user's mistake looks like: one sentence with the place and a way out, and the exit code."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people

SYNC = ("sync", "audience", "vips")
PLACE = "models/audiences.yml: vips: meta.revetl"


@pytest.fixture
def shop(project: ProjectFolder) -> ProjectFolder:
    project.audience("vips", people(("u1", 1)), META)
    return project


MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown command": (("snyc",), "There is no command 'snyc'. Did you mean 'sync'?"),
    "an unknown audience": (
        ("sync", "audience", "vip"),
        "There is no audience 'vip'. An audience is a model with `config.meta.revetl`. Did you mean 'vips'?",
    ),
    "an unknown destination": (
        (*SYNC, "--to", "crn"),
        "models/audiences.yml: vips has no sync to 'crn'. Did you mean 'crm'?",
    ),
    "no selection": (("sync",), "Nothing is selected. Use one of: NAME, --select, --exclude or --selector"),
    "words": (("sync", "vips", "crm"), "'vips crm' is more than one name."),
    "a selection of nothing": (("plan", "--select", "tag:x"), "--select tag:x: no audience matches."),
    "an unknown guard": ((*SYNC, "--force", "kez"), "--force kez: unknown guard."),
    "an unknown target": ((*SYNC, "--target", "prd"), "shop.outputs has no target 'prd'. There is: dev."),
    "an unknown profile": (("list", "--profile", "shp"), "there is no profile 'shp'. Did you mean 'shop'?"),
    "no project": (("list", "--project-dir", "models"), "models: there is no dbt_project.yml here."),
    "a file that is not there": (("load", "events.ndjson"), "events.ndjson: no such file."),
}


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_on_the_command_line(
    shop: ProjectFolder, cli: Cli, arguments: tuple[str, ...], sentence: str
) -> None:
    done = cli(shop, *arguments)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


META_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown mode": (
        {"key": "user_id", "sync": [{"to": "crm", "mode": "miror"}]},
        f"{PLACE}: sync.0.mode: 'miror' is not known. Did you mean 'mirror'?",
    ),
    "an unknown key": (
        {"key": "user_id", "sync": [{"to": "crm", "feilds": {}}]},
        f"{PLACE}: sync.0.feilds: unknown key 'feilds'. Did you mean 'fields'?",
    ),
    "a missing key": ({"sync": [{"to": "crm"}]}, f"{PLACE}: key is missing. Add it."),
    "an unknown destination": (
        {"key": "user_id", "sync": [{"to": "cmr"}]},
        f"{PLACE}.sync.0.to: revetl.yml has no destination 'cmr'. Did you mean 'crm'?",
    ),
    "an unknown column": (
        {"key": "user_id", "sync": [{"to": "crm", "fields": {"points": "scor"}}]},
        f"{PLACE}.sync.0: fields.points: the model has no column 'scor'. Did you mean 'score'?",
    ),
    "an unknown column in an expression": (
        {"key": "user_id", "sync": [{"to": "crm", "fields": {"points": "round(scores)"}}]},
        f"{PLACE}.sync.0: fields.points: the model has no column 'scores'. Did you mean 'score'?",
    ),
    "a query for a field": (
        {"key": "user_id", "sync": [{"to": "crm", "fields": {"points": "(select 1)"}}]},
        f"{PLACE}.sync.0: fields.points: '(select 1)' is not an expression over columns.",
    ),
    "an unknown key column": (
        {"key": "userid", "sync": [{"to": "crm"}]},
        f"{PLACE}.sync.0: key: the model has no column 'userid'. Did you mean 'user_id'?",
    ),
    "an unknown identifier": (
        {"key": "user_id", "sync": [{"to": "crm", "identifiers": {"email": "user_id"}}]},
        f"{PLACE}.sync.0: identifiers.email: 'crm' does not support this identifier. There is: id.",
    ),
    "no sync": ({"key": "user_id"}, "vips has no syncs. Add `sync: [{to: NAME}]` to its meta.revetl."),
}


@pytest.mark.parametrize(("meta", "sentence"), META_MISTAKES.values(), ids=META_MISTAKES.keys())
def test_in_a_models_meta(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, meta: dict[str, Any], sentence: str
) -> None:
    project.audience("vips", people(("u1", 1)), meta)
    done = cli(project, *SYNC)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert sentence in done.stderr
    assert sandbox.requests("crm") == []


DESTINATION_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown type": (
        {"type": "webhok", "url": "http://x"},
        "revetl.yml: destinations.crm.type: unknown destination type 'webhok'. Did you mean 'webhook'?",
    ),
    "no type": ({"url": "http://x"}, "revetl.yml: destinations.crm.type is missing."),
    "an unknown key": (
        {"type": "webhook", "url": "http://x", "bach_size": 5},
        "destinations.crm: bach_size: unknown key 'bach_size'. Did you mean 'batch_size'?",
    ),
    "a missing url": ({"type": "webhook"}, "revetl.yml: destinations.crm: url is missing. Add it."),
    "a wrong number": (
        {"type": "webhook", "url": "http://x", "batch_size": "many"},
        "revetl.yml: destinations.crm: batch_size: Must be a whole number.",
    ),
    "a secret that is not set": (
        {"type": "braze", "region": "us-01", "api_key": "{{ env_var('NO_SUCH_KEY') }}"},
        "revetl.yml: destinations.crm.api_key: environment variable NO_SUCH_KEY is not set. "
        "Export it, or use --to to skip crm.",
    ),
    "Jinja that is not known": (
        {"type": "webhook", "url": "{{ secret }}"},
        "revetl.yml: destinations.crm.url: 'secret' is undefined.",
    ),
}


@pytest.mark.parametrize(
    ("config", "sentence"), DESTINATION_MISTAKES.values(), ids=DESTINATION_MISTAKES.keys()
)
def test_in_revetl_yml(shop: ProjectFolder, cli: Cli, config: dict[str, Any], sentence: str) -> None:
    shop.destinations({"crm": config})
    done = cli(shop, *SYNC)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert sentence in done.stderr


def test_yaml_that_is_broken_names_the_line(shop: ProjectFolder, cli: Cli) -> None:
    (shop.root / "revetl.yml").write_text("destinations:\n  crm: {type: webhook\n  url: x\n")
    done = cli(shop, *SYNC)
    assert done.returncode == 2
    assert "revetl.yml, line 3:" in done.stderr


def test_a_plan_needs_no_secret_and_shows_none(shop: ProjectFolder, cli: Cli) -> None:
    config = {"type": "braze", "region": "us-01", "api_key": "{{ env_var('BRAZE_KEY_OF_TEST') }}"}
    shop.destinations({"crm": config})
    without = cli(shop, *SYNC, "--dry-run", "-o", "json")
    with_it = cli(shop, *SYNC, "--dry-run", "-o", "json", BRAZE_KEY_OF_TEST="top-secret-key")
    assert without.returncode == with_it.returncode == 0
    assert "top-secret-key" not in with_it.stdout + with_it.stderr
    assert json.loads(without.stdout) == json.loads(with_it.stdout)
    (request,) = json.loads(without.stdout)[0]["preview"]["requests"]
    assert request["url"] == "https://rest.iad-01.braze.com/users/track"
    assert request["body"] == {"attributes": [{"external_id": "u1", "score": 1, "vips": True}]}


def test_a_secret_that_an_answer_repeats_is_not_shown(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    config = {
        "type": "webhook",
        "url": f"{sandbox.url}/crm",
        "secret": "hunter22",
        "headers": {"X-Key": "s3cr3t!"},
    }
    shop.destinations({"crm": config})
    sandbox.misbehave({"kind": "status", "status": 403, "reason": "the key hunter22 is wrong"})
    done = cli(shop, *SYNC)
    assert done.returncode == 4
    assert "the key *** is wrong" in done.stderr
    assert "revetl.yml: destinations.crm.secret is an inline secret." in done.stderr
    assert "s3cr3t!" not in cli(shop, *SYNC, "--dry-run").stdout
    assert "hunter22" not in done.stdout + done.stderr
    assert "hunter22" not in str(shop.sql("from revetl.revetl.sync_runs"))


def test_a_model_that_was_not_built(shop: ProjectFolder, cli: Cli) -> None:
    shop.sql("drop table vips")
    done = cli(shop, *SYNC)
    assert done.returncode == 5
    assert "Run `dbt build --select +vips`." in done.stderr


def _hold(path: str, held: Any, done: Any) -> None:
    with duckdb.connect(path):
        held.set()
        done.wait(60)


@contextmanager
def held_elsewhere(shop: ProjectFolder) -> Iterator[Any]:
    """Another process has the database open until the event is set."""
    spawn = multiprocessing.get_context("spawn")
    held, done = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(str(shop.database), held, done))
    holder.start()
    assert held.wait(30)
    try:
        yield done
    finally:
        done.set()
        holder.join()


@pytest.mark.slow
def test_a_database_that_is_open_elsewhere_is_waited_for(shop: ProjectFolder) -> None:
    with held_elsewhere(shop) as done:
        command = [sys.executable, "-m", "revetl", *SYNC]
        run = subprocess.Popen(command, cwd=shop.root, stderr=subprocess.PIPE, text=True)
        assert run.stderr is not None
        message = run.stderr.readline()
        done.set()
        assert run.wait(30) == 0
    assert "is open in another process; waiting up to 60 s for it" in message


def test_a_database_that_stays_open_elsewhere(shop: ProjectFolder, cli: Cli) -> None:
    with held_elsewhere(shop):
        done = cli(shop, *SYNC, "--lock-timeout", "0.5")
    assert done.returncode == 5
    assert "another process, such as a `dbt build`, has had the database open for 0.5 s" in done.stderr


def test_json_output_and_exit_codes(shop: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "u1", "reason": "no"})
    done = cli(shop, *SYNC, "-o", "json")
    assert done.returncode == 1
    (run,) = json.loads(done.stdout)
    assert (run["status"], run["planned"], run["rejected"]) == (
        "rejected",
        {"add": 1, "update": 0, "remove": 0},
        {"add": 1, "update": 0, "remove": 0},
    )
    (rejection,) = json.loads(cli(shop, "rejections", "-o", "json").stdout)
    assert (rejection["key"], rejection["reason"]) == ("u1", "no")
    (status,) = json.loads(cli(shop, "status", "-o", "json").stdout)
    assert (status["sync"], status["status"], status["rejections"]) == ("vips.crm", "rejected", 1)
    (audience,) = json.loads(cli(shop, "list", "-o", "json").stdout)
    assert (audience["audience"], audience["key"], audience["syncs"][0]["sync"]) == (
        "vips",
        "user_id",
        "vips.crm",
    )
    debug = json.loads(cli(shop, "debug", "-o", "json").stdout)
    assert debug["ok"] is True


def test_one_sync_that_fails_does_not_keep_the_others_from_running(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    both = {"key": "user_id", "sync": [{"to": "gone"}, {"to": "crm"}], "tags": ["nightly"]}
    shop.audience("more", people(("u1", 1), ("u2", 2)), both)
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    shop.destinations({"crm": crm, "gone": {"type": "webhook", "url": "{{ env_var('GONE_URL') }}"}})
    done = cli(shop, "sync", "--select", "tag:nightly")
    assert done.returncode == 2
    assert "GONE_URL is not set" in done.stderr
    assert len(sandbox.members("crm", "more")) == 2


@pytest.mark.parametrize("name", ["My-CDP", "1st"])
def test_a_name_that_dbt_does_not_take(tmp_path: Path, cli: Cli, name: str) -> None:
    done = cli(tmp_path, "init", name)
    assert done.returncode == 2
    assert "is not a valid name for a dbt project" in done.stderr


def test_init_does_not_write_into_a_folder_with_something_in_it(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "notes.txt").write_text("mine")
    assert cli(tmp_path, "init", "shop").returncode == 2
    assert [path.name for path in (tmp_path / "shop").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "command", [("plan", "audience", "vips"), ("list",), ("validate",), SYNC], ids=" ".join
)
def test_an_ephemeral_audience_is_refused_by_every_command(
    shop: ProjectFolder, cli: Cli, command: tuple[str, ...]
) -> None:
    shop.materialize("vips", "ephemeral")
    done = cli(shop, *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "models/audiences.yml: vips: is ephemeral" in done.stderr
    assert "Set `materialized: table` (or view)." in done.stderr


def test_of_a_model_with_versions_the_latest_is_the_audience(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    for version in (1, 2, 3):
        shop.audience(f"vips_v{version}", people((f"u{version}", 1)))
    shop.versions("vips", 1, 2, 3, latest=2)
    done = cli(shop, *SYNC)
    assert done.returncode == 0, done.stderr
    assert set(sandbox.members("crm", "vips")) == {"u2"}
    assert cli(shop, "list").stdout.count("vips") == 1
    shop.audience("vips", people(("u0", 1)), META)
    shop.versions("vips", 1, 2, 3, latest=3)
    assert cli(shop, *SYNC).returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"u3"}


def test_without_revetl_yml_that_is_what_is_said(shop: ProjectFolder, cli: Cli) -> None:
    (shop.root / "revetl.yml").unlink()
    done = cli(shop, *SYNC)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert (
        "revetl.yml: does not exist in shop/, and the audiences' syncs need the destinations in it."
        in done.stderr
    )
