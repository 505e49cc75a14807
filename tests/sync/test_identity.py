"""Whose state it is: copies, other targets, other accounts, restored warehouses, and the ways out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from revetl.destinations import destination_class
from revetl.destinations.base.destination import Destination
from revetl.sandbox.setups import setups
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people, synced

FIRST = people(("u1", 1), ("u2", 2))
META: dict[str, Any] = {"key": "user_id", "sync": [{"to": "crm"}]}


def targets(project: ProjectFolder, **outputs: Any) -> None:
    """Write profiles.yml with outputs beside `dev`."""
    document = {"shop": {"target": "dev", "outputs": {"dev": project.backend.output, **outputs}}}
    (project.root / "profiles.yml").write_text(yaml.safe_dump(document))


def delivered(project: ProjectFolder) -> None:
    project.audience("vips", FIRST, json.loads(json.dumps(META)))
    assert synced(project).delivered["add"] == 2


def refused(done: Any, *words: str) -> None:
    """The command stopped in one sentence, with the ways out."""
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_another_target_on_the_same_state_is_refused_before_anything_is_touched(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    delivered(project)
    targets(project, staging=project.backend.output)
    project.audience("vips", people(("u3", 3)))
    runs = project.sql("select * from revetl.revetl.sync_runs")
    done = cli(project, "sync", "audience", "vips", "--target", "staging")
    refused(done, "target was dev, is now staging", "state_schema", "revetl state adopt vips.crm", "targets:")
    assert project.sql("select * from revetl.revetl.sync_runs") == runs
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}
    shown = cli(project, "plan", "audience", "vips", "--target", "staging")
    assert "guard identity would stop it" in shown.stdout
    status = cli(project, "status", "--target", "staging")
    assert "The next run would stop: vips.crm: the state was written by another" in status.stdout
    repair = cli(project, "reconcile", "vips.crm", "--repair", "--target", "staging")
    refused(repair, "target was dev, is now staging")
    assert cli(project, "state", "show", "--all", "--target", "staging").returncode == 3
    assert cli(project, "state", "adopt", "vips.crm", "--target", "staging").returncode == 0
    assert cli(project, "sync", "audience", "vips", "--target", "staging").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"u3"}


def test_a_state_schema_given_with_vars_holds_for_the_state_and_for_what_is_read_of_it(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    delivered(project)
    targets(project, staging=project.backend.output)
    own = ("--vars", "state_schema: revetl_staging", "--target", "staging")
    # dbt's own record of a build with these variables.
    document = json.loads((project.root / "target" / "manifest.json").read_text())
    document["metadata"]["invocation_id"] = "i1"
    (project.root / "target" / "manifest.json").write_text(json.dumps(document))
    results = {"metadata": {"invocation_id": "i1"}, "args": {"vars": {"state_schema": "revetl_staging"}}}
    (project.root / "target" / "run_results.json").write_text(json.dumps({**results, "results": []}))
    before = project.sql("select * from revetl.revetl.sync_state")
    project.audience("vips", people(("u3", 3)))
    plan = cli(project, "plan", "audience", "vips", *own)
    assert "add 1, update 0, remove 0; 1 in the audience, 0 held" in plan.stdout
    assert cli(project, "sync", "audience", "vips", *own).returncode == 0
    assert project.sql("select key from revetl.revetl_staging.sync_state") == [("u3",)]
    assert project.sql("select * from revetl.revetl.sync_state") == before
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2", "u3"}
    rows = json.loads(cli(project, "status", "-o", "json", *own).stdout)
    assert [(row["held"], row["stops"]) for row in rows] == [(1, [])]
    load = cli(project, "load", "missing.ndjson", "--vars", "raw_schema: [")
    assert (load.returncode, "is not a YAML mapping" in load.stderr) == (2, True)


def test_a_state_schema_with_jinja_is_refused_as_dbt_would_name_a_schema_by_its_text(
    project: ProjectFolder, cli: Cli
) -> None:
    document = yaml.safe_load((project.root / "dbt_project.yml").read_text())
    document["vars"] = {"revetl": {"state_schema": "revetl_{{ target.name }}"}}
    (project.root / "dbt_project.yml").write_text(yaml.safe_dump(document))
    project.audience("vips", FIRST, json.loads(json.dumps(META)))
    done = cli(project, "sync", "audience", "vips")
    assert (done.returncode, "dbt does not render in the schema of a source" in done.stderr) == (2, True)


@pytest.mark.parametrize("where", ["beside it", "in another folder"])
def test_a_copied_warehouse_file_is_refused_and_a_moved_one_is_not(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, tmp_path: Path, where: str
) -> None:
    delivered(project)
    if where == "beside it":
        copy = project.root / "copy.duckdb"
        targets(project, dev={"type": "duckdb", "path": "copy.duckdb"})
        root = project.root
        move: Callable[[], object] = lambda: project.database.rename(copy)  # noqa: E731
        shutil.copy(project.database, copy)
        project.move("copy")
    else:
        root = tmp_path / "clone"
        shutil.copytree(project.root, root)
        move = lambda: shutil.rmtree(project.root)  # noqa: E731
    before = len(sandbox.requests("crm"))
    refused(cli(root, "sync", "--all"), "file was ", "revetl state adopt vips.crm")
    assert len(sandbox.requests("crm")) == before
    move()
    done = cli(root, "sync", "--all")
    assert (done.returncode, "nothing changed" in done.stdout) == (0, True)


def other_places(name: str, url: str) -> dict[str, Any]:
    """The configuration of a destination, which points at another account or address."""
    setup = setups()[name]
    config = setup.destination(url)
    made = destination_class(setup.type, name)
    fields = [*made.account_fields, *made.container_fields]
    for field in fields:
        if isinstance(value := config.get(field), str | int):
            return {**config, field: 88 if str(value).replace("-", "").isdigit() else f"{value}X"}
    addresses = {key: config[key].replace(name, "other") for key in ("url", "base_url") if key in config}
    return {**config, **addresses}


@pytest.mark.parametrize("name", sorted(setups()))
def test_a_destination_that_points_elsewhere_under_its_name_is_another_identity(
    name: str, sandbox: SandboxClient
) -> None:
    def place(config: dict[str, Any]) -> tuple[Destination, dict[str, str]]:
        made = destination_class(setups()[name].type, name).model_validate(config)
        return made, made.delivers_to("vips", "mirror")

    config = setups()[name].destination(sandbox.url)
    same, is_now = place(config)
    _, moved = place(other_places(name, sandbox.url))
    assert {key for key in is_now if moved.get(key) not in (None, is_now[key])}
    # Nothing of a secret is in it, so that a key can be rotated.
    shown = json.dumps(is_now)
    assert not [secret for secret in same.secrets() if len(secret) > 3 and secret in shown]
    rotated = {
        key: f"{value}x" if key in same.secret_names() and isinstance(value, str) else value
        for key, value in config.items()
    }
    assert place(rotated)[1] == is_now


def test_another_address_under_the_same_name_stops_until_it_is_refreshed_or_kept(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    delivered(project)
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/other"}})
    done = cli(project, "sync", "--all")
    refused(done, "'crm' points to a different place", "--full-refresh", "revetl state adopt vips.crm")
    assert f"{sandbox.url}/other" not in done.stderr
    assert sandbox.members("other", "vips") == {}
    plan = cli(project, "plan", "audience", "vips", "--full-refresh")
    assert "add 2, update 0, remove 0; 2 in the audience, 0 held" in plan.stdout
    assert cli(project, "sync", "--all", "--full-refresh").returncode == 0
    assert set(sandbox.members("other", "vips")) == {"u1", "u2"}
    # Back, and kept: nothing is sent, and nothing is asked again.
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}})
    refused(cli(project, "sync", "--all"))
    assert cli(project, "state", "adopt", "--all").returncode == 0
    assert "nothing changed" in cli(project, "sync", "--all").stdout


def test_a_rotated_token_in_an_address_and_a_new_key_of_the_same_account_stop_nothing(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    url = f"{sandbox.url}/crm?token={{{{ env_var('HOOK') }}}}"
    project.destinations({"crm": {"type": "webhook", "url": url, "secret": "{{ env_var('KEY') }}"}})
    project.audience("vips", FIRST, json.loads(json.dumps(META)))
    assert cli(project, "sync", "--all", HOOK="first", KEY="k1").returncode == 0
    done = cli(project, "sync", "--all", HOOK="second", KEY="k2")
    assert (done.returncode, "nothing changed" in done.stdout) == (0, True)
    assert "credentials of 'crm' have changed" in done.stderr
    again = cli(project, "sync", "--all", HOOK="second", KEY="k2")
    assert "credentials" not in again.stderr
    (row,) = project.sql("select written_by, delivered_to from revetl.revetl.sync_identities")
    assert not [secret for secret in ("first", "second", "k1", "k2") if secret in str(row)]


def test_state_of_a_version_that_kept_no_identity_is_adopted_without_a_word(
    project: ProjectFolder, cli: Cli
) -> None:
    delivered(project)
    project.sql("drop table revetl.revetl.sync_identities")
    project.sql("update revetl.revetl.state_version set version = 2")
    done = cli(project, "sync", "--all")
    assert (done.returncode, done.stderr, "nothing changed" in done.stdout) == (0, "", True)
    assert project.sql("select sync from revetl.revetl.sync_identities") == [("vips.crm",)]


@pytest.mark.parametrize("way_out", ["--full-refresh", "adopt"])
def test_a_warehouse_restored_from_an_older_copy_is_noticed_by_what_this_machine_remembers(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, way_out: str
) -> None:
    delivered(project)
    shutil.copy(project.database, project.root / "backup")
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)))
    synced(project)
    (project.root / "backup").replace(project.database)
    refused(cli(project, "sync", "--all"), "restored from an older copy", "revetl reconcile vips.crm")
    if way_out == "adopt":
        assert cli(project, "state", "adopt", "--all").returncode == 0
    arguments = ["--full-refresh"] if way_out == "--full-refresh" else []
    assert cli(project, "sync", "--all", *arguments).returncode == 0
    assert cli(project, "sync", "--all").returncode == 0


def test_where_the_remembered_runs_are_lost_too_a_restored_warehouse_is_believed(
    project: ProjectFolder, cli: Cli
) -> None:
    delivered(project)
    shutil.copy(project.database, project.root / "backup")
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)))
    synced(project)
    shutil.rmtree(project.root / ".revetl")
    (project.root / "backup").replace(project.database)
    assert cli(project, "sync", "--all").returncode == 0


def test_a_destination_bound_to_targets_is_skipped_with_all_and_refused_by_name(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    targets(project, prod=project.backend.output)
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    project.destinations({"crm": {**crm, "targets": ["prod"]}, "lab": {**crm, "url": f"{sandbox.url}/lab"}})
    project.audience("vips", FIRST, {"key": "user_id", "sync": [{"to": "crm"}, {"to": "lab"}]})
    done = cli(project, "sync", "--all")
    assert (done.returncode, "vips.crm" in done.stdout, "vips.lab" in done.stdout) == (0, False, True)
    assert "vips.crm: skipped: 'crm' is restricted to prod" in done.stderr
    for command in (["sync"], ["plan"], ["retry"]):
        named = cli(project, *command, "audience", "vips", "--to", "crm")
        assert (named.returncode, "the target is dev" in named.stderr) == (2, True)
    assert sandbox.requests("crm") == []
    assert cli(project, "validate").returncode == 0
    project.destinations({"crm": {**crm, "targets": ["prd"]}, "lab": crm})
    wrong = cli(project, "validate")
    assert "destinations.crm.targets: profiles.yml has no target 'prd'. Did you mean 'prod'?" in wrong.stderr
    assert httpx.get(f"{sandbox.url}/_/requests/crm").json() == []
