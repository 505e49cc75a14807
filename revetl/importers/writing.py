"""The files of an import: a model and its YAML for each model found, and entries for revetl.yml."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from revetl.errors import UsageError
from revetl.importers.found import (
    Export,
    FoundModel,
    Note,
    is_template,
)
from revetl.importers.syncs import Destinations, as_sync
from revetl.local.paths import dbt_project_dir
from revetl.project.workspace import Workspace

FOLDER = "models/audiences"


@dataclass
class ImportResult:
    """The files of an import with their text, by path; the destinations for revetl.yml; and notes about what
    couldn't be converted."""

    files: dict[Path, str] = field(default_factory=dict)
    destinations: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    @property
    def has_revetl_yml(self) -> bool:
        """Whether revetl.yml is among the files, because the project has none yet."""
        return any(file.name == "revetl.yml" for file in self.files)

    @property
    def revetl_yml(self) -> str:
        """Return the entries for revetl.yml."""
        return _dump({"destinations": self.destinations}) if self.destinations else ""


def made_of(workspace: Workspace, found: Export) -> ImportResult:
    """Convert everything found. Raises UsageError if a file or model already exists."""
    root = workspace.dbt.root
    made = ImportResult()
    destinations = Destinations(taken=dict(workspace.config.destinations))
    for model in found.models:
        name = model.name
        if model.ref == name or (model.table is not None and _models_called(workspace, name)):
            # It is most likely the output of a project model; the audience is a model on top of it.
            name = f"{name}_audience"
        if model.key is None:
            found.note(model.source, "primaryKey", "the model has no key, so it does not become an audience")
            continue
        files = [root / FOLDER / f"{name}.{end}" for end in ("sql", "yml")]
        if files[0] in made.files:
            raise UsageError(f"{model.source}: two models are named '{name}'. Rename one in the export.")
        _check_free(workspace, files)
        made.files[files[0]] = _sql(model, found)
        made.files[files[1]] = _yaml(model, name, destinations, found)
    made.destinations = destinations.new
    if made.destinations and not (root / "revetl.yml").exists():
        made.files[root / "revetl.yml"] = made.revetl_yml
    made.notes = found.notes
    return made


def write(made: ImportResult) -> None:
    """Write the files. An existing revetl.yml stays unchanged: users add the destinations themselves."""
    for file, text in made.files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _check_free(workspace: Workspace, files: list[Path]) -> None:
    for file in files:
        if file.exists():
            raise UsageError(f"{file} already exists. Move it, or rename the model in the export.")
    for other in _models_called(workspace, files[0].stem):
        raise UsageError(f"{other} already has the name '{files[0].stem}'. Rename the model in the export.")


def _models_called(workspace: Workspace, name: str) -> list[Path]:
    """Return the files of models with that name, in the project and in revetl's package."""
    folders = [workspace.dbt.root / path for path in workspace.dbt.model_paths]
    folders.append(dbt_project_dir() / "models")
    return [file for folder in folders for file in folder.rglob(f"{name}.sql")]


def _sql(model: FoundModel, found: Export) -> str:
    if model.ref is not None:
        return f"select * from {{{{ ref('{model.ref}') }}}}\n"  # noqa: S608  a generated file
    if model.sql is None:
        return f"select * from {model.table}\n"  # noqa: S608
    sql = model.sql.strip().rstrip(";").rstrip()
    if is_template(sql):
        found.note(model.source, "rawSql", "contains a template, which is kept as text; fix it by hand")
        sql = f"{{% raw %}}{sql}{{% endraw %}}"
    return f"{sql}\n"


def _yaml(model: FoundModel, name: str, destinations: Destinations, found: Export) -> str:
    syncs: list[dict[str, Any]] = []
    for sync in model.syncs:
        entry = as_sync(sync, destinations, found)
        if entry is not None and entry["to"] in [each["to"] for each in syncs]:
            why = f"a second sync of the model to '{entry['to']}'; add that destination twice to revetl.yml"
            found.note(sync.source, "destination", why)
        elif entry is not None:
            syncs.append(entry)
    config: dict[str, Any] = {}
    if tags := sorted({tag for sync in model.syncs for tag in sync.tags}):
        config["tags"] = tags
    if syncs:
        config["meta"] = {"revetl": {"key": model.key, "sync": syncs}}
    else:
        why = "none of its syncs were converted, so it is a plain model until it has meta.revetl"
        found.note(model.source, "syncs", why)
    about = {
        "name": name,
        "description": model.description or f"Imported from {found.tool}: {model.source}.",
        **({"config": config} if config else {}),
        "columns": [{"name": model.key, "description": "The key.", "data_tests": ["not_null", "unique"]}],
    }
    return _dump({"version": 2, "models": [about]})


def _dump(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=110, allow_unicode=True)
