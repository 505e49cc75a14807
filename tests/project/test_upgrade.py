"""`revetl init --upgrade`: what it says, what it refuses, and that nobody is new or forgotten after it."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import duckdb
import pytest
import yaml

import revetl
from revetl._version import __version__
from revetl.project.scaffolding import make_project
from revetl.project.scaffolding.vendored import RECORD, checksums
from tests.conftest import Cli, SandboxClient
from tests.project.projects import contents, dbt

HERE = Path(__file__).parent
FORMER = HERE / "package-0.1.0.tar.xz"

FORMER_PROJECT = """\
name: my_cdp
version: 1.0.0
config-version: 2
profile: my_cdp

vars:
  revetl:
    # Build from the package's sample events for as long as none of your own has landed.
    sample_events: true

models:
  my_cdp:
    +materialized: table

seeds:
  my_cdp:
    cut_edges:
      +column_types: {reason: varchar}
  revetl:
    # The project has its own of these, in seeds/.
    cut_edges:
      +enabled: false
    blocked_identifiers:
      +enabled: false
"""
CUTS = "left_type,left_value,right_type,right_value,cut_at,reason\n"
BLOCKED = "identifier_type,identifier_value,reason\n"
BUYERS = """\
-- People who bought.
select user_id, email, lifetime_value
from {{ ref('revetl', 'user_profiles') }}
where user_id is not null and order_count > 0
"""
BUYERS_YML = """\
models:
  - name: buyers
    config:
      meta:
        revetl:
          key: user_id
          sync:
            - to: crm
              fields: {email: email, ltv: lifetime_value}
    columns:
      - name: user_id
        data_tests:
          - relationships:
              arguments: {to: "ref('revetl', 'user_profiles')", field: user_id}
"""


def make_former(folder: Path) -> Path:
    """A project as revetl 0.1.0 made it: its copy of the package has no record, names have no prefix."""
    make_project(folder)
    shutil.rmtree(folder / "vendor" / "revetl")
    with tarfile.open(FORMER) as archive:
        archive.extractall(folder / "vendor" / "revetl", filter="data")
    shutil.rmtree(folder / "models")
    files = {
        "dbt_project.yml": FORMER_PROJECT,
        "seeds/cut_edges.csv": CUTS,
        "seeds/blocked_identifiers.csv": BLOCKED,
        "models/audiences/buyers.sql": BUYERS,
        "models/audiences/buyers.yml": BUYERS_YML,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_checksums_of_former_versions_are_those_of_their_packages(tmp_path: Path) -> None:
    with tarfile.open(FORMER) as archive:
        archive.extractall(tmp_path, filter="data")
    known = json.loads(
        (Path(revetl.__file__).parent / "project" / "scaffolding" / "package_versions.json").read_text()
    )
    assert known == {"0.1.0": checksums(tmp_path)}


def test_a_copy_that_is_current_is_left_alone(tmp_path: Path, cli: Cli) -> None:
    make_project(tmp_path / "my_cdp")
    before = contents(tmp_path)
    done = cli(tmp_path, "init", "my_cdp", "--upgrade")
    assert (done.returncode, contents(tmp_path)) == (0, before)
    assert f"vendor/revetl is version {__version__}, which is this revetl's." in done.stdout


def test_edits_of_the_copy_are_not_overwritten(tmp_path: Path, cli: Cli) -> None:
    project = tmp_path / "my_cdp"
    make_project(project)
    vendored = project / "vendor" / "revetl"
    with (vendored / "dbt_project.yml").open("a") as file:
        file.write("# ours\n")
    (vendored / "macros" / "ours.sql").write_text("{# ours #}")
    (vendored / "models" / "_groups.yml").unlink()
    windows = vendored / "models" / "staging" / "stg_revetl__tracks.sql"
    windows.write_bytes(windows.read_bytes().replace(b"\n", b"\r\n"))
    before = contents(project)
    done = cli(project, "init", "--upgrade", "--yes")
    assert (done.returncode, contents(project)) == (2, before)
    assert (
        "vendor/revetl has edits: dbt_project.yml (changed), macros/ours.sql (added), "
        "models/_groups.yml (removed)."
    ) in done.stderr
    assert "--force" in done.stderr
    forced = cli(project, "init", "--upgrade", "--yes", "--force")
    assert forced.returncode == 0, forced.stderr
    assert "  removed  macros/ours.sql" in forced.stdout
    assert "  added    models/_groups.yml" in forced.stdout
    assert cli(project, "init", "--upgrade").returncode == 0


def test_edits_of_a_copy_without_a_record_are_told_by_its_version(tmp_path: Path, cli: Cli) -> None:
    project = make_former(tmp_path / "my_cdp")
    with (project / "vendor/revetl/models/profiles/user_profiles.sql").open("a") as file:
        file.write("-- ours\n")
    done = cli(project, "init", "--upgrade", "--yes")
    assert done.returncode == 2
    edited = "models/profiles/user_profiles.sql (changed)."
    assert f"These files differ from version 0.1.0: {edited}" in done.stderr


def test_a_copy_of_an_unknown_version_is_replaced_by_force_alone(tmp_path: Path, cli: Cli) -> None:
    project = tmp_path / "my_cdp"
    make_project(project)
    (project / "vendor" / "revetl" / RECORD).unlink()
    done = cli(project, "init", "--upgrade", "--yes")
    assert done.returncode == 2
    assert "has no record of the files as copied, so edits cannot be detected" in done.stderr
    assert cli(project, "init", "--upgrade", "--yes", "--force").returncode == 0
    assert (project / "vendor" / "revetl" / RECORD).exists()


FORMER_USES = {
    "a ref of the package": ("m.sql", "select\n{{ ref('revetl', 'user_profiles') }}", 2, "revetl_profiles"),
    "a ref of the name alone": ("m.sql", '{{ ref("event_profiles") }}', 1, "ref('revetl', 'revetl_events')"),
    "staging": ("m.sql", "from {{ ref('revetl', 'stg_tracks') }}", 1, "stg_revetl__tracks"),
    "a model that is private now": ("m.sql", "{{ ref('revetl', 'identity_stars') }}", 1, "it is now private"),
    "a source": ("m.sql", "from {{ source('raw', 'tracks') }}", 1, "source('revetl_raw', …)"),
    "an example": ("m.sql", "from {{ ref('high_churn') }}", 1, "--with-examples"),
    "a name alone": ("m.yml", "models:\n- name: x\n  exclude:\n  - model: cut_edges", 4, "revetl_cut_edges"),
}


@pytest.mark.parametrize(("name", "text", "line", "now"), FORMER_USES.values(), ids=FORMER_USES)
def test_former_names_are_told_with_file_and_line(
    tmp_path: Path, cli: Cli, name: str, text: str, line: int, now: str
) -> None:
    project = make_former(tmp_path / "my_cdp")
    shutil.rmtree(project / "models")
    shutil.rmtree(project / "seeds")
    (project / "models").mkdir()
    (project / "models" / name).write_text(text)
    done = cli(project, "init", "--upgrade", "--yes")
    assert done.returncode == 0, done.stderr
    (told,) = [each for each in done.stdout.splitlines() if each.startswith("  models/")]
    assert told.startswith(f"  models/{name}:{line}: ")
    assert now in told
    assert (project / "models" / name).read_text() == text


def test_the_projects_own_names_are_not_taken_for_the_packages(tmp_path: Path, cli: Cli) -> None:
    project = make_former(tmp_path / "my_cdp")
    shutil.rmtree(project / "models")
    (project / "models").mkdir()
    (project / "models" / "accounts.sql").write_text("select 1 as id from {{ source('raw', 'x') }}")
    (project / "models" / "more.sql").write_text("select * from {{ ref('accounts') }}")
    (project / "models" / "sources.yml").write_text("sources:\n- name: raw\n  tables:\n  - name: x\n")
    assert "Former names" not in cli(project, "init", "--upgrade", "--yes").stdout


def test_the_schemas_and_lists_of_the_former_version_are_written_out(tmp_path: Path, cli: Cli) -> None:
    project = make_former(tmp_path / "my_cdp")
    done = cli(project, "init", "--upgrade", "--yes")
    assert f"vendor/revetl: from version 0.1.0 to {__version__}" in done.stdout
    assert "  removed  models/profiles/user_profiles.sql" in done.stdout
    assert (project / "dbt_project.yml").read_text() == FORMER_PROJECT.replace(
        "    sample_events: true\n",
        "    sample_events: true\n"
        "    # The schemas of version 0.1.0, so that loaded events and sync state stay where they are.\n"
        "    state_schema: revetl\n"
        "    raw_schema: raw\n"
        "    # The project's own lists for identity resolution.\n"
        "    cut_edges: cut_edges\n"
        "    blocked_identifiers: blocked_identifiers\n",
    ).replace(
        "  revetl:\n    # The project has its own of these, in seeds/.\n    cut_edges:\n      +enabled: "
        "false\n"
        "    blocked_identifiers:\n      +enabled: false\n",
        "",
    )
    assert (project / "seeds" / "cut_edges.csv").read_text() == CUTS


def test_schemas_that_were_configured_stay_so(tmp_path: Path, cli: Cli) -> None:
    project = make_former(tmp_path / "my_cdp")
    text = FORMER_PROJECT.replace("sample_events: true", "state_schema: cdp\n    raw_schema: events")
    (project / "dbt_project.yml").write_text(text)
    cli(project, "init", "--upgrade", "--yes")
    found = yaml.safe_load((project / "dbt_project.yml").read_text())["vars"]["revetl"]
    assert (found["state_schema"], found["raw_schema"]) == ("cdp", "events")


@pytest.mark.long
@pytest.mark.slow
def test_after_an_upgrade_nobody_is_new_and_nobody_forgotten(
    tmp_path: Path, cli: Cli, sandbox: SandboxClient
) -> None:
    project = make_former(tmp_path / "my_cdp")
    without_tests = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
    dbt(project, "deps")
    dbt(project, "build", *without_tests)
    # The runner of the former version kept its state there; this one has another default.
    then = {"REVETL_SANDBOX_URL": sandbox.url}
    first = cli(project, "sync", "--all", "--vars", "{state_schema: revetl, raw_schema: raw}", **then)
    assert first.returncode == 0, first.stderr
    held = sandbox.members("crm", "buyers")
    assert len(held) > 0
    with duckdb.connect(str(project / "my_cdp.duckdb")) as connection:
        members = "select audience, key, change from revetl.audience_changes order by all"
        entered = connection.execute(members).fetchall()

    upgraded = cli(project, "init", "--upgrade", "--yes")
    assert upgraded.returncode == 0, upgraded.stderr
    assert "models/audiences/buyers.sql:3: ref('revetl', 'user_profiles')  ->  " in upgraded.stdout
    assert "models/audiences/buyers.yml:14: ref('revetl', 'user_profiles')  ->  " in upgraded.stdout
    for file in (project / "models" / "audiences").iterdir():
        file.write_text(file.read_text().replace("user_profiles", "revetl_profiles"))
    dbt(project, "deps")
    dbt(project, "build", *without_tests)

    plan = json.loads(cli(project, "plan", "audience", "buyers", "-o", "json", **then).stdout)
    (planned,) = plan["plans"] if isinstance(plan, dict) and "plans" in plan else plan
    assert (planned["add"], planned["update"], planned["remove"]) == (0, 0, 0)
    assert (planned["audience_rows"], planned["held_rows"]) == (len(held), len(held))
    with duckdb.connect(str(project / "my_cdp.duckdb")) as connection:
        assert connection.execute(members).fetchall() == entered
