"""Errors of the warehouse: one line with the engine's message, exit code 5, and no changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from revetl.errors import WarehouseError
from revetl.sync.plan.plan import Plan
from revetl.sync.run import Progress
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.warehouses.postgres import PostgresServer, running_postgres

META = {"key": "user_id", "sync": [{"to": "crm"}]}
PASSWORD = "open-sesame-7"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that asks one of its users for a password."""
    folder = tmp_path_factory.mktemp("server")
    with running_postgres(folder) as running:
        running.run(f"create role asked login password '{PASSWORD}'", "create role poor login")
        rules = folder / "pg_hba.conf"
        rules.write_text("local all asked scram-sha-256\n" + rules.read_text())
        running.run("select pg_reload_conf()")
        yield running


@pytest.fixture
def shop(tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    """A project on PostgreSQL with an audience of two."""
    destinations = {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}}
    project = ProjectFolder(tmp_path / "shop", destinations, "postgres")
    project.audience("vips", "select * from (values ('u1', 1), ('u2', 2)) as t (user_id, score)", META.copy())
    return project


def elsewhere(project: ProjectFolder, **changed: Any) -> None:
    """Change the target in profiles.yml; dbt's manifest follows it."""
    file = project.root / "profiles.yml"
    profile = yaml.safe_load(file.read_text())
    profile["shop"]["outputs"]["dev"] |= changed
    file.write_text(yaml.safe_dump(profile))
    project.move(profile["shop"]["outputs"]["dev"]["dbname"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"host": "/no/such/folder"}, "No such file or directory"),
        ({"user": "asked", "password": "wrong-password-9"}, "password authentication failed"),
        ({"user": "nobody"}, 'role "nobody" does not exist'),
        ({"dbname": "nowhere"}, 'database "nowhere" does not exist'),
        ({"role": "nobody"}, 'role "nobody" does not exist'),
    ],
    ids=["no server", "wrong password", "no such user", "no such database", "no such role"],
)
def test_a_server_that_cannot_be_opened(
    shop: ProjectFolder, server: PostgresServer, cli: Cli, changed: dict[str, Any], said: str
) -> None:
    elsewhere(shop, **{"host": server.host, "dbname": "postgres", **changed})
    done = cli(shop, "sync", "--all", "--output", "json")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr
    assert said in done.stderr
    assert "password-9" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_the_right_password_opens(shop: ProjectFolder, server: PostgresServer, cli: Cli) -> None:
    elsewhere(shop, host=server.host, dbname="postgres", user="asked", password=PASSWORD)
    done = cli(shop, "status")
    assert done.returncode == 0
    assert "No sync has run yet" in done.stderr


def test_no_permission_to_make_the_schema(shop: ProjectFolder, server: PostgresServer, cli: Cli) -> None:
    server.run(
        "drop table if exists public.vips",
        "create table public.vips as select 'u1' as user_id",
        "grant select on public.vips to poor",
    )
    elsewhere(shop, host=server.host, dbname="postgres", user="poor")
    done = cli(shop, "sync", "--all")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "permission denied for database postgres" in done.stderr


STATE = "select key, row_hash, fields, run_id from revetl.revetl.sync_state order by key"


def test_a_table_that_is_dropped_in_mid_run(shop: ProjectFolder, sandbox: SandboxClient) -> None:
    def drop(_: Plan) -> None:
        shop.sql("drop table vips")

    shop.open().sync("vips")
    shop.sql("update vips set score = 3")
    before = shop.sql(STATE)
    with pytest.raises(WarehouseError, match=r'PostgreSQL: relation "public\.vips" does not exist'):
        shop.open().sync("vips", progress=Progress(on_plan=drop))
    assert shop.sql(STATE) == before
    for table in ("sync_locks", "sync_intents"):
        assert shop.sql(f"select * from revetl.revetl.{table}") == []
    assert len(sandbox.requests("crm")) == 1


def test_an_unknown_function_is_an_error_of_the_engine(shop: ProjectFolder, cli: Cli) -> None:
    meta = {"key": "user_id", "sync": [{"to": "crm", "fields": {"x": "jaro_similarity(user_id, 'u')"}}]}
    shop.audience("vips", "select 'u1' as user_id", meta)
    done = cli(shop, "sync", "--all")
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "PostgreSQL: function jaro_similarity(text, unknown) does not exist" in done.stderr


def test_a_driver_that_is_not_installed(
    shop: ProjectFolder, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = __import__("importlib.util").util.find_spec
    missing = "adbc_driver_postgresql"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else found(name))
    done = cli(shop, "status")
    assert done.returncode == 2
    assert "adbc_driver_postgresql is not installed. Run `pip install 'revetl[postgres]'`." in done.stderr
