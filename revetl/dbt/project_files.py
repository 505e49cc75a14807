"""dbt's own files of a project: `dbt_project.yml` and `profiles.yml`, and dbt's own options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from revetl.config.base import read_yaml
from revetl.config.jinja import render
from revetl.errors import UsageError, nearest

PACKAGE = "revetl"
"""The name of revetl's own dbt package."""


@dataclass(frozen=True)
class Options:
    """dbt's own command-line options, which revetl takes with dbt's names and meanings."""

    project_dir: Path | None = None
    profiles_dir: Path | None = None
    profile: str | None = None
    target: str | None = None
    vars: str | None = None
    dbt: Path | None = None
    """The dbt to run. It is ours: dbt has no such option."""

    def as_arguments(self) -> list[str]:
        """The options as dbt's command line takes them."""
        given = {
            "--project-dir": self.project_dir,
            "--profiles-dir": self.profiles_dir,
            "--profile": self.profile,
            "--target": self.target,
            "--vars": self.vars,
        }
        return [word for name, value in given.items() if value is not None for word in (name, str(value))]


@dataclass(frozen=True)
class Target:
    """One output of a profile, rendered: where the warehouse is. `place` is where users have written it, when
    that is not a profile."""

    name: str
    type: str
    config: Mapping[str, Any]
    place: str = ""

    @property
    def called(self) -> str:
        """What users call it."""
        return self.place or f"profiles.yml: target '{self.name}'"

    @property
    def schema(self) -> str:
        """Its default schema, as dbt has it."""
        return str(self.config.get("schema") or self.config.get("dataset") or "main")


@dataclass(frozen=True)
class DbtProject:
    """`dbt_project.yml`: what the runner needs of it."""

    root: Path
    name: str
    profile: str
    model_paths: tuple[str, ...]
    target_path: Path
    vars: Mapping[str, Any]
    given_vars: Mapping[str, Any] = field(default_factory=dict)
    seed_paths: tuple[str, ...] = ("seeds",)

    def variable(self, name: str, default: str = "") -> str:
        """A variable of the revetl package, as dbt finds it for the package's sources: given with --vars,
        else as the project sets it, under `revetl` or for all; `default` where it is null. Raises
        UsageError for one with Jinja in it, which dbt renders in models and not in the schema of a source."""
        own = self.vars.get("revetl")
        set_here = (own if isinstance(own, Mapping) else {}).get(name, self.vars.get(name, default))
        found = self.given_vars.get(name, set_here)
        value = default if found is None else str(found)
        if "{{" in value or "{%" in value:
            raise UsageError(
                f"{name}: '{value}' has Jinja in it, which dbt does not render in the schema of a source. "
                f"Write the name, and give other targets theirs with --vars '{name}: NAME'."
            )
        return value


def read_project(options: Options) -> DbtProject:
    """The dbt project in `--project-dir`, or in this folder or the nearest one above it, as dbt finds it."""
    start = (options.project_dir or Path.cwd()).resolve()
    candidates = [start] if options.project_dir else [start, *start.parents]
    root = next((folder for folder in candidates if (folder / "dbt_project.yml").is_file()), None)
    if root is None:
        raise UsageError(
            f"{start}: there is no dbt_project.yml here. "
            "Run `revetl init NAME` to make a project, or name one with --project-dir."
        )
    document = read_yaml(root / "dbt_project.yml", unique=False)
    if not isinstance(document, Mapping) or "name" not in document:
        raise UsageError("dbt_project.yml: name is missing. Add it.")
    name = str(document["name"])
    target_path = os.environ.get("DBT_TARGET_PATH") or document.get("target-path") or "target"
    return DbtProject(
        root=root,
        name=name,
        profile=str(options.profile or document.get("profile") or name),
        model_paths=tuple(document.get("model-paths") or ["models"]),
        target_path=root / target_path,
        vars=document.get("vars") or {},
        given_vars=read_vars(options.vars),
        seed_paths=tuple(document.get("seed-paths") or ["seeds"]),
    )


def read_vars(text: str | None) -> Mapping[str, Any]:
    """What --vars gives: a YAML mapping. Raises UsageError for anything else."""
    try:
        given = yaml.safe_load(text or "") or {}
    except yaml.YAMLError:
        given = None
    if not isinstance(given, Mapping):
        raise UsageError(
            f"--vars '{text}': is not a YAML mapping. Write such as --vars 'state_schema: NAME'."
        )
    return {str(name): value for name, value in given.items()}


def read_profile(project: DbtProject, options: Options) -> tuple[Path, Mapping[str, Any]]:
    """profiles.yml, and the project's profile as it is written there: nothing is rendered. Raises UsageError
    when there is none."""
    path = _profiles_yml(project, options)
    profiles = read_yaml(path, unique=False) or {}
    if project.profile not in profiles:
        found = [name for name in profiles if name != "config"]
        raise UsageError(
            f"{path}: there is no profile '{project.profile}'. {nearest(project.profile, found)}"
        )
    return path, profiles[project.profile]


def read_target(project: DbtProject, options: Options) -> Target:
    """The output that dbt would use: the one named by --target, else the profile's own."""
    path, profile = read_profile(project, options)
    outputs = profile.get("outputs") or {}
    name = str(
        options.target or render(profile.get("target", "default"), f"{path}: {project.profile}.target")
    )
    if name not in outputs:
        raise UsageError(
            f"{path}: {project.profile}.outputs has no target '{name}'. {nearest(name, outputs)}"
        )
    config = render(outputs[name], f"{path}: {project.profile}.outputs.{name}")
    return Target(name=name, type=str(config.get("type")), config=config)


def _profiles_yml(project: DbtProject, options: Options) -> Path:
    """profiles.yml: in --profiles-dir, DBT_PROFILES_DIR, the project, this folder, ~/.dbt."""
    named = options.profiles_dir or os.environ.get("DBT_PROFILES_DIR")
    folders = [Path(named)] if named else [project.root, Path.cwd(), Path.home() / ".dbt"]
    for folder in folders:
        if (folder / "profiles.yml").is_file():
            return folder / "profiles.yml"
    where = " or ".join(str(folder) for folder in folders)
    raise UsageError(
        f"profiles.yml was not found in {where}. Write one there, or name its folder with --profiles-dir."
    )
