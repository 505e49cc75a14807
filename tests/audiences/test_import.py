"""Imported audiences, built by dbt and compared with who is meant; the files that are written."""

from __future__ import annotations

import pytest

from revetl.audiences import import_audience
from revetl.dbt import Options
from revetl.project import Workspace
from tests.audiences.cases import CASES
from tests.audiences.world import AS_OF, make_world
from tests.traits.world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """All cases, imported and built at once."""
    made = make_world(tmp_path_factory.mktemp("imported"))
    workspace = Workspace(Options(project_dir=made.folder, profiles_dir=made.folder))
    for name, case in CASES.items():
        file = made.folder / f"{name}.sql"
        file.write_text(case.sql)
        import_audience(workspace, file, f"imported_{name}", dialect=case.dialect)
    made.build("--full-refresh", as_of=AS_OF)
    return made


@pytest.mark.parametrize("name", CASES)
def test_members(world: World, name: str) -> None:
    found = world.ask(f"select user_id, email from imported_{name}")
    people = sorted(str(row["user_id"]) for row in found)
    assert people == sorted(CASES[name].members.split())
    assert all(row["email"] == f"{row['user_id']}@example.com" for row in found)
