"""Create a project from `revetl/project/scaffold/` with a copy of revetl's dbt package."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from string import Template

import yaml

from revetl.config.base import read_yaml
from revetl.errors import UsageError, nearest
from revetl.local.paths import dbt_project_dir, examples_dir
from revetl.project.scaffolding.vendored import copy_package

__all__ = ["add_demo_events", "copy_package", "make_minimal_project", "make_project"]

DEMO_ENDS = "2011-07-01"
"""The day on which the demo's events end."""
SCAFFOLD = Path(__file__).parents[1] / "scaffold"
MINIMAL = Path(__file__).parents[1] / "scaffold_minimal"


def make_project(folder: Path, target: str = "duckdb") -> list[Path]:
    """Create a project in `folder`, with the folder's name, for the warehouse `target`. Returns the files
    written. Raises UsageError if the folder isn't empty, its name isn't valid for dbt, or the target is
    unknown."""
    written = _make(folder, target, SCAFFOLD)
    copy_package(folder)
    return written


def make_minimal_project(folder: Path, target: str = "duckdb") -> list[Path]:
    """Create a project without the dbt package, for reverse ETL only: one audience model and revetl.yml."""
    return _make(folder, target, MINIMAL)


def add_demo_events(folder: Path) -> tuple[Path, str]:
    """Copy seven months of a real shop's events into a project, to be loaded with `revetl load`. Returns the
    file, and the day after the last event, as of which audiences have members."""
    file = folder / "demo_events.ndjson.gz"
    shutil.copyfile(examples_dir() / "online_retail" / "events.ndjson.gz", file)
    return file, DEMO_ENDS


def _make(folder: Path, target: str, scaffold: Path) -> list[Path]:
    outputs = read_yaml(dbt_project_dir() / "profiles.yml")["revetl"]["outputs"]
    if target not in outputs:
        raise UsageError(f"--target {target}: unknown warehouse. {nearest(target, outputs)}")
    if (folder / "dbt_project.yml").exists():
        raise UsageError(
            f"{folder} is already a dbt project. In it, run `revetl init --here` to add revetl, or `revetl "
            "init --upgrade` to upgrade its copy of revetl's package."
        )
    name = folder.resolve().name
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise UsageError(
            f"'{name}' is not a valid name for a dbt project. Use lowercase letters, digits and underscores, "
            "as in my_cdp."
        )
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty. Choose a new folder, or use --here in a dbt project's folder."
        )
    written = []
    for source in sorted(file for file in scaffold.rglob("*") if file.is_file()):
        relative = source.relative_to(scaffold)
        file = folder / (".gitignore" if relative.name == "gitignore" else relative)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(source.read_text(encoding="utf-8")).safe_substitute(name=name), "utf-8")
        written.append(file)
    if target != "duckdb":
        profile = {name: {"target": "dev", "outputs": {"dev": outputs[target]}}}
        (folder / "profiles.yml").write_text(yaml.safe_dump(profile, sort_keys=False, width=110), "utf-8")
    return written
