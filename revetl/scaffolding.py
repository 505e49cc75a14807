"""A new project: the files of `revetl/scaffold/`, and a copy of revetl's dbt package."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from string import Template

import yaml

from revetl.checking import read_yaml
from revetl.errors import UsageError, nearest
from revetl.paths import dbt_project_dir

PACKAGE_PARTS = ("dbt_project.yml", "models", "macros", "seeds", "snapshots")
_SCAFFOLD = Path(__file__).parent / "scaffold"


def make_project(folder: Path, target: str = "duckdb") -> list[Path]:
    """Make a project in `folder`, named as it, on the warehouse `target`; gives the files written. Raises
    UsageError when the folder has something in it, its name is none that dbt takes, or there is no such
    target."""
    outputs = read_yaml(dbt_project_dir() / "profiles.yml")["revetl"]["outputs"]
    if target not in outputs:
        raise UsageError(f"--target {target}: there is no such warehouse. {nearest(target, outputs)}")
    name = folder.resolve().name
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise UsageError(
            f"'{name}' is no name for a dbt project: use lower-case letters, digits and underscores, "
            "such as my_cdp."
        )
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty. Name a new folder, or use --upgrade for a project.")
    written = []
    for source in sorted(file for file in _SCAFFOLD.rglob("*") if file.is_file()):
        relative = source.relative_to(_SCAFFOLD)
        file = folder / (".gitignore" if relative.name == "gitignore" else relative)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(source.read_text(encoding="utf-8")).safe_substitute(name=name), "utf-8")
        written.append(file)
    if target != "duckdb":
        profile = {name: {"target": "dev", "outputs": {"dev": outputs[target]}}}
        (folder / "profiles.yml").write_text(yaml.safe_dump(profile, sort_keys=False, width=110), "utf-8")
    copy_package(folder)
    return written


def copy_package(folder: Path) -> Path:
    """Put this revetl's dbt package in `folder/vendor/revetl`, in the place of the one there."""
    vendored = folder / "vendor" / "revetl"
    if vendored.exists():
        shutil.rmtree(vendored)
    vendored.mkdir(parents=True)
    for part in PACKAGE_PARTS:
        source = dbt_project_dir() / part
        if source.is_dir():
            shutil.copytree(source, vendored / part)
        else:
            shutil.copy(source, vendored / part)
    return vendored
