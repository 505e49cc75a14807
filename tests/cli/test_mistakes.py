"""Typical mistakes of the first hour, and the exact message of each: where, what is expected, what to do."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people

PLACE = "models/audiences.yml: vips: meta.revetl"
KEY = {"key": "user_id"}


@dataclass(frozen=True)
class Mistake:
    """A command, on a project with the audience vips, which goes to crm; or another configuration of it."""

    command: tuple[str, ...]
    message: str
    meta: dict[str, Any] = field(default_factory=lambda: {**KEY, "sync": [{"to": "crm"}]})
    destination: dict[str, Any] = field(default_factory=dict)
    without: str | None = None
    exit_code: int = 2


def meta(**keys: Any) -> dict[str, Any]:
    return {**KEY, "sync": [{"to": "crm", **keys}]}


MISTAKES: dict[str, Mistake] = {
    "a misspelled command": Mistake(
        ("snyc", "vips"), "Error: There is no command 'snyc'. Did you mean 'sync'?"
    ),
    "a misspelled audience": Mistake(
        ("sync", "vip"),
        "Error: There is no audience 'vip'. An audience is a model with `config.meta.revetl`. "
        "Did you mean 'vips'? There is: vips.",
    ),
    "a misspelled destination": Mistake(
        ("sync", "vips", "--to", "cmr"),
        "Error: models/audiences.yml: vips has no sync to 'cmr'. Did you mean 'crm'?",
    ),
    "a misspelled sync": Mistake(
        ("plan", "vips.cmr"), "Error: models/audiences.yml: vips has no sync to 'cmr'. Did you mean 'crm'?"
    ),
    "two audiences": Mistake(
        ("sync", "vips", "lapsed"),
        "Error: 'vips lapsed' is more than one name. Write one NAME, with --to for a "
        "destination, or use --select.",
    ),
    "nothing to sync": Mistake(
        ("sync",),
        "Error: Nothing is selected. Use one of: NAME, --select, --exclude or --selector, --all, "
        "or a file with "
        "--plan.",
    ),
    "a selection of nothing": Mistake(
        ("sync", "--select", "tag:nightly"),
        "Error: --select tag:nightly: no audience matches. There is: vips.",
    ),
    "an option that does nothing": Mistake(
        ("list", "--lock-timeout", "5"), "Error: No such option '--lock-timeout'."
    ),
    "a misspelled guard": Mistake(
        ("sync", "vips", "--force", "max_changes"),
        "Error: --force max_changes: unknown guard. Did you mean 'max_change'?",
    ),
    "a misspelled target": Mistake(
        ("list", "--target", "prod"), "profiles.yml: shop.outputs has no target 'prod'. There is: dev."
    ),
    "a time that is none": Mistake(
        ("history", "--since", "last week"),
        "Error: --since 'last week' is not a time. Write yesterday, '7 days', 2026-01-31 or "
        "'2026-01-31 12:00'.",
    ),
    "a port that is none": Mistake(
        ("sandbox", "--port", "99999"),
        "Error: Invalid value for '--port': 99999 is not in the range 0<=x<=65535.",
    ),
    "a person that nobody knows": Mistake(
        ("why", "nobody"),
        "Error: No person found for 'nobody': no audience has this key, and it is not an identifier in "
        "revetl_profiles or the identity graph. Check the spelling.",
    ),
    "a statement that writes": Mistake(
        ("sql", "delete from vips"),
        "Error: DELETE isn't a query, and `revetl sql` only reads. Write a SELECT; use dbt or "
        "your warehouse's own "
        "client to change data.",
    ),
    "a file that is not there": Mistake(("load", "events.ndjson"), "Error: events.ndjson: no such file."),
    "a plan that is not there": Mistake(
        ("sync", "--plan", "plan.json"),
        "Error: plan.json: cannot read the plan file (No such file or directory). Create one with "
        "`revetl plan --out`.",
    ),
    "no revetl.yml": Mistake(
        ("validate",),
        "Error: revetl.yml: does not exist in shop/, and the audiences' syncs need the "
        "destinations in it. Run "
        "`revetl init --here --minimal` to create it, or restore it.",
        without="revetl.yml",
    ),
    "no dbt project": Mistake(
        ("list", "--project-dir", "models"),
        "there is no dbt_project.yml here. Run `revetl init NAME` to create a project, or choose one with "
        "--project-dir.",
    ),
    "a misspelled key column": Mistake(
        ("validate",),
        f"Error: {PLACE}.sync.0: key: the model has no column 'user_ld'. Did you mean 'user_id'?",
        meta={"key": "user_ld", "sync": [{"to": "crm"}]},
    ),
    "a misspelled column": Mistake(
        ("validate",),
        f"Error: {PLACE}.sync.0: fields.points: the model has no column 'scor'. Did you mean 'score'?",
        meta=meta(fields={"points": "scor"}),
    ),
    "a share as a percentage": Mistake(
        ("validate",),
        f"Error: {PLACE}: sync.0.max_change: '30' is more than 1, which is everybody; use 30%, or "
        "a share from 0 to 1.",
        meta=meta(max_change=30),
    ),
    "a misspelled mode": Mistake(
        ("validate",),
        f"Error: {PLACE}: sync.0.mode: 'miror' is not known. Did you mean 'mirror'?",
        meta=meta(mode="miror"),
    ),
    "a misspelled setting": Mistake(
        ("validate",),
        f"Error: {PLACE}: sync.0.feilds: unknown key 'feilds'. Did you mean 'fields'?",
        meta=meta(feilds={}),
    ),
    "a number as a word": Mistake(
        ("validate",), f"Error: {PLACE}: sync.0.limit: Must be a whole number.", meta=meta(limit="ten")
    ),
    "a duration without a unit": Mistake(
        ("validate",),
        f"Error: {PLACE}: sync.0.max_age: '36' is not a valid duration; use a form like '36 hours'.",
        meta=meta(max_age=36),
    ),
    "no key": Mistake(
        ("validate",), f"Error: {PLACE}: key is missing. Add it.", meta={"sync": [{"to": "crm"}]}
    ),
    "a destination that is not defined": Mistake(
        ("sync", "vips"),
        f"Error: {PLACE}.sync.0.to: revetl.yml has no destination 'cmr'. Did you mean 'crm'?",
        meta={**KEY, "sync": [{"to": "cmr"}]},
    ),
    "a misspelled type": Mistake(
        ("validate",),
        "Error: revetl.yml: destinations.crm.type: unknown destination type 'webhok'. Did you "
        "mean 'webhook'?",
        destination={"type": "webhok"},
    ),
    "a variable that is not set": Mistake(
        ("sync", "vips"),
        "Error: revetl.yml: destinations.crm.secret: environment variable CRM_SECRET is not "
        "set. Export it, or "
        "use --to to skip crm.",
        destination={"secret": "{{ env_var('CRM_SECRET') }}"},
    ),
    "an audience that is not built": Mistake(
        ("plan", "vips"),
        'Error: vips is not in the warehouse: "revetl"."main"."vips" does not exist. '
        "Run `dbt build --select +vips`.",
        without="vips",
        exit_code=5,
    ),
    "a sandbox that does not run": Mistake(
        ("sync", "vips"),
        "127.0.0.1:9 is on this machine: if it is the sandbox, start it with `revetl sandbox`.",
        destination={"url": "http://127.0.0.1:9/crm", "deadline": 5},
        exit_code=4,
    ),
    "a query of a model that is not there": Mistake(
        ("sql", "select * from {{ ref('vip') }}"), "Error: dbt has no model 'vip'. Did you mean 'vips'?"
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_has_one_message_with_the_way_out(
    project: ProjectFolder,
    sandbox: SandboxClient,
    cli: Cli,
    mistake: Mistake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("revetl.delivery.http._BACK_OFF", lambda state: 0.0)
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", **mistake.destination}})
    project.audience("vips", people(("u1", 1)), mistake.meta)
    if mistake.without == "vips":
        project.sql("drop table vips")
    elif mistake.without is not None:
        (project.root / mistake.without).unlink()
    done = cli(project, *mistake.command)
    assert (done.returncode, "Traceback" in done.stderr) == (mistake.exit_code, False), done.stderr
    assert mistake.message in done.stderr
    assert sum(line.startswith("Error: ") for line in done.stderr.splitlines()) == 1
    assert sandbox.requests("crm") == []


def test_a_run_without_a_connection_says_so_before_it_gives_up(
    project: ProjectFolder, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revetl.delivery.http._BACK_OFF", lambda state: 0.0)
    project.destinations({"crm": {"type": "webhook", "url": "http://127.0.0.1:9/crm"}})
    project.audience("vips", people(("u1", 1)), meta())
    lines = cli(project, "sync", "vips").stderr.splitlines()
    assert lines[0].startswith("127.0.0.1:9: no connection. Trying ")
    assert lines[1].startswith("Error: Could not deliver to 127.0.0.1: no connection")


def test_every_mistake_as_json(project: ProjectFolder, cli: Cli) -> None:
    project.audience("vips", people(("u1", 1)), meta())
    for command in (
        ("sync", "vip"),
        ("history", "--since", "soon"),
        ("sql", "drop table vips"),
        ("why", "x"),
    ):
        done = cli(project, *command, "-o", "json")
        error = json.loads(done.stdout)["error"]
        assert (error["exit_code"], f"Error: {error['message']}" in done.stderr) == (2, True), done.stderr
