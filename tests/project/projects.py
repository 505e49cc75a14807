"""Projects of somebody else's, which adopt revetl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

UNTIDY = {
    "dbt_project.yml": (
        'name: untidy   # the shop\'s\nversion: "1.0"\nprofile: untidy\nmodel-paths: ["models"]\n\n'
        'vars:\n    start_date: "2020-01-01"   # in four columns\n\n'
        "models:\n  untidy:\n    +materialized: view\n"
    ),
    "profiles.yml": (
        "untidy:\n  target: dev\n  outputs:\n"
        "    dev: {type: duckdb, path: untidy.duckdb, threads: 2}\n"
        "    ci: {type: duckdb, path: untidy.duckdb, schema: ci, threads: 2}\n"
    ),
    "models/accounts.sql": "select 1 as id, 'Acme' as name\n",
    "models/stg_tracks.sql": "select 1 as id\n",
}


def make_untidy(folder: Path, **more: str) -> Path:
    """A project with models of its own, written as people write; `more` is files beside them."""
    for name, text in {**UNTIDY, **more}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """File to content of all that is in a folder."""
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def dbt(folder: Path, *words: str, exit_code: int = 0) -> str:
    """Run dbt in a project's folder; gives what it prints."""
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "dbt.cli.main", "--no-use-colors"]
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"}
    done = subprocess.run(
        [*command, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == exit_code, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout
