"""`revetl audience import`: converts SQL of Segment audiences to a dbt model with its YAML."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import yaml

from revetl.errors import UsageError
from revetl.importers.segment_sql.refusal import SqlSource
from revetl.importers.segment_sql.translate import DIALECTS, check_dialect, translate
from revetl.local.paths import dbt_project_dir
from revetl.project.workspace import Workspace

FOLDER = "models/audiences"


@dataclass(frozen=True)
class ImportedAudience:
    """The files written by an import."""

    name: str
    model: Path
    yaml: Path


def import_audience(
    workspace: Workspace,
    file: Path,
    name: str,
    *,
    dialect: str | None = None,
    key: str = "user_id",
    folder: str | Path = FOLDER,
    force: bool = False,
) -> ImportedAudience:
    """Convert the SQL of a file (`-` is stdin) to the model `name` and its YAML in a folder of the project.
    `dialect` is sqlglot's name of the SQL dialect, by default the project's. Raises UsageError, writing
    nothing, for untranslatable SQL, a name that is taken, and existing files without `force`."""
    own = DIALECTS.get(workspace.target.type, workspace.target.type)
    dialect = (dialect or own).lower()
    check_dialect(dialect)
    root = workspace.dbt.root
    made = ImportedAudience(name, root / folder / f"{name}.sql", root / folder / f"{name}.yml")
    _check_name(workspace, made, force)
    shown = "stdin" if str(file) == "-" else str(file)
    ladder, _, catalog = translate(workspace, _read(file, shown), SqlSource(shown, dialect), key)
    origin = (shown if shown == "stdin" else file.name).replace("#}", "")
    comment = f"Imported from {origin} ({dialect}) on {date.today():%Y-%m-%d}."
    text = ladder.text(comment)
    declared = _yaml(
        name,
        key,
        f"Imported from {origin}. One row per person.",
        catalog.ref("revetl_profiles"),
        [
            *ladder.profile,
            *ladder.extras,
        ],
        key in catalog.profile_columns and key not in ladder.extras,
    )
    made.model.parent.mkdir(parents=True, exist_ok=True)
    made.model.write_text(text, encoding="utf-8")
    made.yaml.write_text(declared, encoding="utf-8")
    return made


def _check_name(workspace: Workspace, made: ImportedAudience, force: bool) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", made.name):
        raise UsageError(
            f"--name '{made.name}' is not a valid model name: use lowercase letters, digits and underscores."
        )
    for file in (made.model, made.yaml):
        if file.exists() and not force:
            raise UsageError(f"{file} already exists. Use another --name, or overwrite it with --force.")
    root = workspace.dbt.root
    folders = [root / path for path in workspace.dbt.model_paths]
    if not any(made.model.is_relative_to(path) for path in folders):
        raise UsageError(
            f"--folder {made.model.parent}: dbt reads models from {', '.join(workspace.dbt.model_paths)}. "
            "Use a folder in there."
        )
    folders.append(dbt_project_dir() / "models")
    for path in folders:
        for file in path.rglob(f"{made.name}.sql"):
            if file != made.model:
                raise UsageError(f"--name {made.name}: {file} already has that name. Use another.")


def _read(file: Path, shown: str) -> str:
    try:
        return sys.stdin.read() if shown == "stdin" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise UsageError(f"{shown}: cannot be read ({reason}).") from None


def _yaml(
    name: str, key: str, description: str, profiles: str, columns: list[str], is_of_profiles: bool
) -> str:
    tests: list[object] = ["not_null", "unique"]
    if is_of_profiles:
        tests.append({"relationships": {"arguments": {"to": profiles, "field": key}}})
    described = {
        "user_id": "The person's id in the sender's database.",
        "canonical_id": "The person's profile.",
        "email": "The person's email address.",
    }
    listed: list[dict[str, object]] = []
    for column in sorted(columns, key=lambda each: each != key):
        entry: dict[str, object] = {"name": column}
        entry["description"] = described.get(column, "From the imported SQL.")
        if column == key:
            entry["description"] = "The key, which identifies the person to destinations."
            entry["data_tests"] = tests
        listed.append(entry)
    model = {
        "name": name,
        "description": description,
        "config": {"meta": {"revetl": {"key": key}}},
        "columns": listed,
    }
    return yaml.safe_dump({"version": 2, "models": [model]}, sort_keys=False, width=110, allow_unicode=True)
