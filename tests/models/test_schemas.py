"""Where raw events and the state are, and whose tables are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from revetl.api import Project
from revetl.errors import UsageError
from revetl.inspect.grants import roles
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.models.guest import NAMED, Guest

pytestmark = pytest.mark.slow

BUILT = ("run", "--select", "vips", "people", "stg_revetl__tracks", "revetl_delivery_runs")
RAW, STATE = {"tracks", "rejected_messages"}, {"sync_state", "audience_changes"}
SEGMENTS = (
    "create table {schema}.tracks (id varchar, user_id varchar, anonymous_id varchar, event varchar, "
    "event_text varchar, context_ip varchar, timestamp timestamp, received_at timestamp, uuid_ts timestamp)"
)
"""The table of events as Segment makes it in a warehouse."""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    return Guest(tmp_path_factory.mktemp("guest") / "project")


def land(guest: Guest, target: str) -> int:
    """The number of messages in the raw table after one has been loaded, by revetl."""
    file = guest.folder / "one.ndjson"
    file.write_text('{"type": "track", "messageId": "m1", "userId": "u1", "event": "E"}\n')
    project = Project(guest.folder, profiles_dir=guest.folder, target=target)
    project.load([file])
    rows = guest.backend.sql(f"select id from {project.workspace.raw_schema}.tracks")
    return len(rows)


@pytest.mark.long
def test_by_default_every_target_has_schemas_of_its_own(guest: Guest) -> None:
    guest.dbt(*BUILT, "--target", "prod")
    prod = guest.tables()
    assert prod["main_raw"] >= RAW and prod["main_revetl"] >= STATE
    before = guest.backend.sql("select * from main_revetl.audience_changes order by all")
    assert len(before) == 2
    guest.dbt(*BUILT, "--target", "ci", "--vars", "people: 1")
    assert guest.tables()["ci_raw"] >= RAW and guest.tables()["ci_revetl"] >= STATE
    assert guest.backend.sql("select * from main_revetl.audience_changes order by all") == before
    assert guest.backend.sql("select key from ci_revetl.audience_changes") == [("u1",)]
    # The manifest is ci's, and prod is what is asked for.
    assert guest.workspace().state_schema == "main_revetl"
    assert guest.workspace("ci").raw_schema == "ci_raw"
    assert land(guest, "ci") == 1
    assert guest.backend.sql("select count(*) from main_raw.tracks") == [(0,)]


@pytest.mark.long
def test_the_projects_own_macro_names_them(guest: Guest) -> None:
    guest.folder.joinpath("macros", "schemas.sql").write_text(NAMED)
    try:
        guest.dbt(*BUILT, "--target", "ci")
        found = guest.tables()
        assert found["ci__revetl_raw"] >= RAW and found["ci__revetl_revetl"] >= STATE
        workspace = guest.workspace("ci")
        assert (workspace.raw_schema, workspace.state_schema) == ("ci__revetl_raw", "ci__revetl_revetl")
        assert workspace.whose_state_schema() == "ci__revetl_revetl, from generate_schema_name"
        assert workspace.manifest.relations()["suppressions"][1] == "ci__revetl_revetl"
        assert land(guest, "ci") == 1
        guest.dbt(*BUILT, "--target", "ci")
        assert guest.backend.sql("select user_id from ci.stg_revetl__tracks") == [("u1",)]
        assert guest.backend.sql("select run_id from ci.revetl_delivery_runs") == []
        assert len(guest.backend.sql("select key from ci__revetl_revetl.audience_changes")) == 2
        assert {name.name for name in roles(workspace)} >= {"revetl_runner"}
    finally:
        guest.folder.joinpath("macros", "schemas.sql").unlink()


@pytest.mark.long
def test_variables_name_them_before_any_macro(guest: Guest) -> None:
    guest.folder.joinpath("macros", "schemas.sql").write_text(NAMED)
    guest.variables(raw_schema="landed", state_schema="kept")
    try:
        guest.dbt(*BUILT, "--target", "ci")
        found = guest.tables()
        assert found["landed"] >= RAW and found["kept"] >= STATE
        workspace = guest.workspace("ci")
        assert (workspace.raw_schema, workspace.state_schema) == ("landed", "kept")
        assert workspace.whose_state_schema() == "kept, from the variable state_schema"
    finally:
        guest.folder.joinpath("macros", "schemas.sql").unlink()
        guest.variables()


@pytest.mark.long
def test_a_state_of_an_older_version_is_not_left_behind(guest: Guest) -> None:
    guest.backend.sql("create schema revetl.revetl")
    guest.backend.sql("create table revetl.revetl.sync_state (sync varchar, key varchar)")
    guest.variables(raw_schema="landed")
    outputs = {"prod": {**guest.backend.output, "schema": "other"}}
    kept = (guest.folder / "profiles.yml").read_text()
    guest.write("profiles.yml", {"guest": {"target": "prod", "outputs": outputs}})
    try:
        said = guest.dbt(*BUILT, exit_code=2)
        assert "Schema 'revetl' has the state of an older version of revetl" in said
        assert "`state_schema: revetl`" in said
        assert "other_revetl" not in guest.tables()
        project = Project(guest.folder, profiles_dir=guest.folder)
        with pytest.raises(UsageError, match="`state_schema: revetl`"):
            project.status()
        guest.variables(raw_schema="landed", state_schema="revetl")
        guest.dbt(*BUILT)
        assert guest.tables()["revetl"] >= STATE
    finally:
        (guest.folder / "profiles.yml").write_text(kept)
        guest.variables()


@pytest.mark.parametrize("engine", first_fast(["duckdb", "postgres"], rest=pytest.mark.long))
def test_tables_of_others_are_neither_changed_nor_added_to(tmp_path: Path, engine: str) -> None:
    guest = Guest(tmp_path / "project", engine)
    guest.variables(raw_schema="javascript")
    guest.backend.sql("create schema javascript")
    guest.backend.sql(SEGMENTS.format(schema="javascript"))
    columns = "select column_name from information_schema.columns where table_schema = 'javascript'"
    before = guest.backend.sql(columns)
    said = " ".join(guest.dbt(*BUILT, exit_code=2).split())
    assert "javascript.tracks is not a revetl table: it has no column properties, context." in said
    assert "vars.revetl.raw_schema: NAME" in said
    with pytest.raises(UsageError, match="tracks is not a revetl table"):
        land(guest, "prod")
    assert guest.tables()["javascript"] == {"tracks"}
    assert guest.backend.sql(columns) == before


def test_without_the_package_the_state_is_beside_the_targets_schema(tmp_path: Path) -> None:
    project = ProjectFolder(tmp_path / "shop")
    project._write("dbt_project.yml", {"name": "shop", "profile": "shop"})
    project.audience("vips", "select 'u1' as user_id", {"key": "user_id"})
    workspace = project.open().workspace
    assert workspace.state_schema == "main_revetl"
    assert workspace.whose_state_schema() == (
        "main_revetl, from the target's schema, because the project does not use revetl's package"
    )
