"""Imported audiences, built by dbt and compared with who is meant; the files that are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from revetl.config.models import SyncConfig
from revetl.dbt.project_files import Options
from revetl.destinations import make_destination
from revetl.importers.segment_sql.importing import import_audience
from revetl.mapping.fields import make_mapping
from revetl.project.workspace import Workspace
from tests.helpers.backends import make_backend
from tests.importers.segment_sql.cases import CASES
from tests.importers.segment_sql.world import AS_OF, make_world
from tests.models.traits.world import World

pytestmark = [pytest.mark.slow, pytest.mark.long]


def _import_all(made: World) -> None:
    """Import all cases, and build them at once."""
    workspace = Workspace(Options(project_dir=made.folder, profiles_dir=made.folder))
    for name, case in CASES.items():
        file = made.folder / f"{name}.sql"
        file.write_text(case.sql)
        import_audience(workspace, file, f"imported_{name}", dialect=case.dialect)
    made.build("--full-refresh", as_of=AS_OF)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = make_world(tmp_path_factory.mktemp("imported"))
    _import_all(made)
    return made


@pytest.mark.parametrize("name", CASES)
def test_members(world: World, name: str) -> None:
    found = world.ask(f"select user_id, email from imported_{name}")
    people = sorted(str(row["user_id"]) for row in found)
    assert people == sorted(CASES[name].members.split())
    assert all(row["email"] == f"{row['user_id']}@example.com" for row in found)


def test_imported_audiences_send_no_id_of_a_profile_by_default(world: World) -> None:
    sync = SyncConfig.model_validate({"to": "segment"})
    segment = make_destination({"type": "segment", "write_key": "KEY"}, "segment")
    listed = (
        "select table_name, column_name from information_schema.columns where table_name like 'imported_%'"
    )
    columns: dict[str, dict[str, str]] = {}
    for row in world.ask(listed):
        columns.setdefault(row["table_name"], {})[row["column_name"]] = "VARCHAR"
    assert len(columns) == len(CASES)
    for name, there in columns.items():
        assert "canonical_id" in there
        sent = {item.name for item in make_mapping("user_id", sync, segment, there, name).fields}
        kept = {each for each in there if each == "canonical_id" or each.endswith("_set_at")}
        assert sent == there.keys() - kept - {"user_id"}, name


@pytest.mark.long
def test_members_on_postgres(tmp_path: Path) -> None:
    backend = make_backend("postgres", tmp_path)
    _import_all(make_world(tmp_path, backend.output))
    found = {
        name: sorted(str(person) for (person,) in backend.sql(f"select user_id from imported_{name}"))
        for name in CASES
    }
    assert found == {name: sorted(case.members.split()) for name, case in CASES.items()}
