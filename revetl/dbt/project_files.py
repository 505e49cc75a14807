"""Read a project's `dbt_project.yml` and `profiles.yml`, and dbt's command-line options."""

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
"""The name of revetl's dbt package."""


@dataclass(frozen=True)
class Options:
    """dbt's command-line options, which revetl accepts with the same names and meanings."""

    project_dir: Path | None = None
    profiles_dir: Path | None = None
    profile: str | None = None
    target: str | None = None
    vars: str | None = None
    dbt: Path | None = None
    """The dbt to run. This option is revetl's, not dbt's."""

    def as_arguments(self) -> list[str]:
        """Return the options as arguments of dbt."""
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
    """A rendered output of a profile: the connection to the warehouse. `place` is where it is configured, if
    that isn't a profile."""

    name: str
    type: str
    config: Mapping[str, Any]
    place: str = ""

    @property
    def called(self) -> str:
        """Its name in errors."""
        return self.place or f"profiles.yml: target '{self.name}'"

    @property
    def schema(self) -> str:
        """Its default schema, as in dbt."""
        return str(self.config.get("schema") or self.config.get("dataset") or "main")


@dataclass(frozen=True)
class DbtProject:
    """The parts of `dbt_project.yml` that revetl uses."""

    root: Path
    name: str
    profile: str
    model_paths: tuple[str, ...]
    target_path: Path
    vars: Mapping[str, Any]
    given_vars: Mapping[str, Any] = field(default_factory=dict)
    seed_paths: tuple[str, ...] = ("seeds",)
    macro_paths: tuple[str, ...] = ("macros",)

    def variable(self, name: str, default: str = "") -> str:
        """Return a variable of the revetl package, with dbt's precedence for the package's sources: --vars,
        the project's `vars: revetl:`, the project's `vars:`; `default` if null. Raises UsageError for a value
        with Jinja, which dbt renders in models but not in a source's schema."""
        own = self.vars.get("revetl")
        set_here = (own if isinstance(own, Mapping) else {}).get(name, self.vars.get(name, default))
        found = self.given_vars.get(name, set_here)
        value = default if found is None else str(found)
        if "{{" in value or "{%" in value:
            raise UsageError(
                f"{name}: '{value}' contains Jinja, which dbt does not render in the schema of a source. "
                f"Write a plain name, and override it per target with --vars '{name}: NAME'."
            )
        return value


def read_project(options: Options) -> DbtProject:
    """Read the dbt project in `--project-dir`, else in the current folder or its nearest parent, as dbt
    does."""
    start = (options.project_dir or Path.cwd()).resolve()
    candidates = [start] if options.project_dir else [start, *start.parents]
    root = next((folder for folder in candidates if (folder / "dbt_project.yml").is_file()), None)
    if root is None:
        raise UsageError(
            f"{start}: there is no dbt_project.yml here. "
            "Run `revetl init NAME` to create a project, or choose one with --project-dir."
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
        macro_paths=tuple(document.get("macro-paths") or ["macros"]),
    )


def read_vars(text: str | None) -> Mapping[str, Any]:
    """Parse --vars, a YAML mapping. Raises UsageError for anything else."""
    try:
        given = yaml.safe_load(text or "") or {}
    except yaml.YAMLError:
        given = None
    if not isinstance(given, Mapping):
        raise UsageError(
            f"--vars '{text}': is not a YAML mapping. Use a form like --vars 'state_schema: NAME'."
        )
    return {str(name): value for name, value in given.items()}


def read_profile(project: DbtProject, options: Options) -> tuple[Path, Mapping[str, Any]]:
    """Return the path of profiles.yml, and the project's profile without rendering it. Raises UsageError if
    there is none."""
    path = _profiles_yml(project, options)
    profiles = read_yaml(path, unique=False) or {}
    if project.profile not in profiles:
        found = [name for name in profiles if name != "config"]
        raise UsageError(
            f"{path}: there is no profile '{project.profile}'. {nearest(project.profile, found)}"
        )
    return path, profiles[project.profile]


def read_target(project: DbtProject, options: Options) -> Target:
    """Return the output that dbt uses: --target, else the profile's default."""
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
    """Find profiles.yml: in --profiles-dir, DBT_PROFILES_DIR, the project, the current folder, ~/.dbt."""
    named = options.profiles_dir or os.environ.get("DBT_PROFILES_DIR")
    folders = [Path(named)] if named else [project.root, Path.cwd(), Path.home() / ".dbt"]
    for folder in folders:
        if (folder / "profiles.yml").is_file():
            return folder / "profiles.yml"
    where = " or ".join(str(folder) for folder in folders)
    raise UsageError(
        f"profiles.yml was not found in {where}. Create one there, or set its folder with --profiles-dir."
    )
