"""Schedules as they are documented, with dbt really run: cron, tests of others that fail, slim CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.conftest import Cli, SandboxClient

pytestmark = pytest.mark.slow

FILES = {
    "models/orders.sql": "select 'c1' as customer_id, 10 as total union all select 'c2', 20",
    "models/theirs.sql": "select 'c8' as customer_id, 1 as total",
    "models/buyers.sql": "select customer_id, total from {{ ref('orders') }}",
    "models/others.sql": "select customer_id from {{ ref('theirs') }}",
    "models/models.yml": """\
models:
  - name: theirs
    columns: [{name: total, data_tests: [not_null]}]
  - name: buyers
    config: {meta: {revetl: {key: customer_id, max_age: 1 hour, sync: [{to: crm}]}}}
  - name: others
    config: {meta: {revetl: {key: customer_id, sync: [{to: crm}]}}}
""",
}


@pytest.fixture
def project(tmp_path: Path, cli: Cli) -> Path:
    """A project without the package, with an audience of ours and one that is made of somebody else's
    model."""
    cli(tmp_path, "init", "--minimal", "shop")
    for name, text in FILES.items():
        (tmp_path / "shop" / name).write_text(text)
    return tmp_path / "shop"


def as_cron(project: Path, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a crontab: a shell with cron's few variables."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(project), "SHELL": "/bin/sh", **more}
    return subprocess.run(
        ["/bin/sh", "-c", line], env=environment, cwd="/", capture_output=True, text=True, check=False
    )


def test_a_failing_test_of_somebody_elses_model_stops_the_syncs_that_are_made_of_it_alone(
    project: Path, sandbox: SandboxClient, tmp_path: Path
) -> None:
    program = Path(sys.executable).parent / "revetl"
    budgets = {"REVETL_BUDGET_DIR": str(tmp_path / "budgets"), "REVETL_SANDBOX_URL": sandbox.url}
    build = f"cd {project} && {program} build --quiet"
    sync = f"{program} sync --all --quiet"
    done = as_cron(project, f"{build}; {sync}", **budgets)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(sandbox.members("crm", "others")) == {"c8"}

    (project / "models/theirs.sql").write_text("select 'c9' as customer_id, null as total")
    (project / "models/orders.sql").write_text(f"{FILES['models/orders.sql']} union all select 'c3', 30")
    done = as_cron(project, f"{build}; echo $? > built; {sync}", **budgets)
    assert (done.returncode, (project / "built").read_text()) == (3, "1\n"), done.stdout + done.stderr
    assert set(sandbox.members("crm", "buyers")) == {"c1", "c2", "c3"}
    assert set(sandbox.members("crm", "others")) == {"c8"}
    assert "others.crm" in done.stdout + done.stderr
    assert "not_null_theirs_total" in done.stdout + done.stderr

    (project / "models/theirs.sql").write_text("select 'c9' as customer_id, 5 as total")
    done = as_cron(project, f"{build}; {sync}", **budgets)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(sandbox.members("crm", "others")) == {"c9"}


def test_a_pull_request_builds_what_it_changed_and_plans_it(
    project: Path, in_a_process: Cli, tmp_path: Path
) -> None:
    profiles = (
        "shop:\n  target: prod\n  outputs:\n"
        "    prod: {type: duckdb, path: shop.duckdb}\n    ci: {type: duckdb, path: shop.duckdb, schema: ci}\n"
    )
    (project / "profiles.yml").write_text(profiles)
    built = in_a_process(project, "build", "--exclude-resource-type", "test")
    assert built.returncode == 0, built.stdout + built.stderr
    shutil.copytree(project / "target", tmp_path / "production")
    (project / "models/buyers.sql").write_text(FILES["models/buyers.sql"] + " where total > 10")
    changed = ("--select", "state:modified+", "--state", str(tmp_path / "production"), "--target", "ci")
    built = in_a_process(project, "build", *changed, "--defer")
    assert built.returncode == 0, built.stdout + built.stderr
    planned = in_a_process(project, "plan", *changed)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "buyers.crm (mirror): add 1, " in planned.stdout
    with duckdb.connect(str(project / "shop.duckdb")) as connection:
        relations = connection.execute(
            "select table_schema || '.' || table_name from information_schema.tables order by 1"
        ).fetchall()
    assert [name for (name,) in relations] == [
        "ci.buyers", "main.buyers", "main.orders", "main.others", "main.theirs", "main.vip_customers",
    ]  # fmt: skip


def test_options_and_the_exit_code_of_dbt_are_passed_on(project: Path, in_a_process: Cli) -> None:
    done = in_a_process(project, "build", "-s", "orders", "--vars", "{a: b}", "--no-use-colors")
    assert (done.returncode, "Done. PASS=1 " in done.stdout) == (0, True), done.stdout
    assert in_a_process(project, "build", "--no-such-option").returncode == 2
    nowhere = str(project / "nowhere")
    done = in_a_process(project, "build", "--dbt", nowhere, "-s", "orders")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--dbt '{nowhere}': no such program." in done.stderr
    assert os.environ.get("REVETL_DBT") is None
