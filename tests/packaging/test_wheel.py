"""The wheel, installed in an empty folder and a new virtual environment, as a new user would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from revetl.local.paths import dbt_project_dir

pytestmark = pytest.mark.slow

FIRST_STEPS = [
    ["revetl", "init", "my_cdp"],
    ["dbt", "deps"],
    ["dbt", "build"],
    ["revetl", "list"],
    ["revetl", "sync", "audience", "high_churn", "--dry-run"],
    ["revetl", "sync", "audience", "new_customers", "--dry-run"],
]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a virtual environment's programs, with the wheel just built in it."""
    folder = tmp_path_factory.mktemp("wheel")
    uv: list[str | Path] = [Path(sys.executable).with_name("uv")]
    run(*uv, "build", "--quiet", "--wheel", "--out-dir", folder, dbt_project_dir(), cwd=folder)
    (wheel,) = folder.glob("revetl-*.whl")
    run(*uv, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    run(*uv, "pip", "install", "--quiet", "--python", python, wheel, cwd=folder)
    return folder / "venv" / "bin"


def test_the_first_steps(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path
    said: dict[str, str] = {}
    for command in FIRST_STEPS:
        said[" ".join(command)] = run(installed / command[0], *command[1:], cwd=folder)
        if command[1] == "init":
            folder = folder / "my_cdp"
    assert "ERROR=0" in said["dbt build"]
    assert all(name in said["revetl list"] for name in ("high_churn", "big_spenders", "new_customers"))
    assert "POST" in said["revetl sync audience high_churn --dry-run"]
    assert "new_customers.crm (mirror): add" in said["revetl sync audience new_customers --dry-run"]
    packaged = run(installed / "python", "-c", "import revetl; print(revetl.__file__)", cwd=folder)
    assert str(installed.parent) in packaged
