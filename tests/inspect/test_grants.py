"""`revetl roles --print`: what it says is enough on a real server, and no more than that."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from revetl.warehouse.engine import Engine
from tests.conftest import Cli, SandboxClient
from tests.helpers.backends import Elsewhere
from tests.helpers.project import ProjectFolder

META = {"key": "user_id", "sync": [{"to": "crm"}]}


def granted(tmp_path: Path, sandbox: SandboxClient, cli: Cli) -> ProjectFolder:
    """A project on PostgreSQL of which the printed statements were run."""
    destinations = {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}}
    project = ProjectFolder(tmp_path / "shop", destinations, "postgres")
    project.audience("vips", "select 'u1' as user_id, 1 as score", META.copy())
    printed = cli(project, "roles", "--print")
    assert printed.returncode == 0, printed.stderr
    lines = [line for line in printed.stdout.splitlines() if line and not line.startswith("--")]
    # Roles belong to the server, on which other tests have theirs.
    statements = [renamed(line.removesuffix(";"), project) for line in lines]
    statements.append(renamed("alter table public.vips owner to revetl_transformer", project))
    assert isinstance(project.backend, Elsewhere)
    warehouse = project.backend.open()
    assert isinstance(warehouse, Engine)
    for statement in statements:
        warehouse.execute(statement).close()
    warehouse.close()
    return project


def renamed(text: str, project: ProjectFolder) -> str:
    """A text with this project's own roles in it."""
    own = project.backend.database or ""
    return text.replace("revetl_", f"{own}_")


def become(project: ProjectFolder, role: str) -> None:
    """Have the profile take on a role."""
    file = project.root / "profiles.yml"
    profile = yaml.safe_load(file.read_text())
    profile["shop"]["outputs"]["dev"]["role"] = renamed(role, project)
    file.write_text(yaml.safe_dump(profile))


def test_the_runner_can_sync_and_no_more(tmp_path: Path, sandbox: SandboxClient, cli: Cli) -> None:
    project = granted(tmp_path, sandbox, cli)
    become(project, "revetl_runner")
    assert cli(project, "sync", "--all").returncode == 0
    assert set(sandbox.members("crm", "vips")) == {"u1"}
    assert cli(project, "plan", "audience", "vips").returncode == 0
    assert cli(project, "load", str(events(tmp_path))).returncode == 5


def test_an_analyst_can_read_and_not_sync(tmp_path: Path, sandbox: SandboxClient, cli: Cli) -> None:
    project = granted(tmp_path, sandbox, cli)
    become(project, "revetl_runner")
    assert cli(project, "sync", "--all").returncode == 0
    become(project, "revetl_analyst")
    assert "vips.crm" in cli(project, "status").stdout
    done = cli(project, "sync", "--all")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert (
        "permission denied for table sync_locks. The target's user lacks a permission. Run `revetl roles"
        in done.stderr
    )


def test_the_grant_that_the_state_schema_lacks_is_named(
    tmp_path: Path, sandbox: SandboxClient, cli: Cli
) -> None:
    project = granted(tmp_path, sandbox, cli)
    become(project, "revetl_analyst")
    done = cli(project, "sync", "--all")
    schema = project.open().workspace.state_schema
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert f"permission denied for schema {schema}" in done.stderr
    assert f"create it and grant USAGE and CREATE on schema {schema}." in done.stderr
    assert sandbox.members("crm", "vips") == {}


def test_the_loader_can_load_and_read_no_model(tmp_path: Path, sandbox: SandboxClient, cli: Cli) -> None:
    project = granted(tmp_path, sandbox, cli)
    become(project, "revetl_loader")
    done = cli(project, "load", str(events(tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")
    assert cli(project, "plan", "audience", "vips").returncode == 5


def events(folder: Path) -> Path:
    """A file of one message."""
    file = folder / "events.ndjson"
    file.write_text('{"type": "track", "messageId": "m1", "userId": "u1", "event": "Seen"}\n')
    return file


@pytest.mark.parametrize("option", [(), ("--output", "json")])
def test_an_engine_without_roles_says_so(project: ProjectFolder, cli: Cli, option: tuple[str, ...]) -> None:
    project.audience("vips", "select 'u1' as user_id", META.copy())
    done = cli(project, "roles", "--print", *option)
    assert done.returncode == 0
    assert ("duckdb has no roles" in done.stderr) == (not option)
    assert ('"statements":[]' in done.stdout.replace(" ", "")) == bool(option)
