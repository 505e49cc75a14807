"""Read the manifest of a target, after `dbt parse` if it is missing or out of date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson

from revetl.dbt.clashes import clash
from revetl.dbt.edits import absorbed, change_the_manifest, note_yaml
from revetl.dbt.identity_lists import missing_list
from revetl.dbt.manifest import Manifest
from revetl.dbt.program import said
from revetl.dbt.project_files import DbtProject, Options, Target
from revetl.dbt.runner import run
from revetl.errors import UsageError

Say = Callable[[str], None]
_UNSET = object()


def read_manifest(
    project: DbtProject, target: Target, database: str | None, options: Options, say: Say
) -> Manifest:
    """Return the manifest of `target`. `dbt parse` runs first if it is missing, older than an edit that only
    dbt can read, or for another warehouse. `database` is the target's database, if known."""
    made = _modified(project.target_path / "manifest.json")
    reason = "is missing" if made is None else None
    if made is not None:
        manifest = Manifest(project)
        files = _files(project)
        edited = [file for file in files if (_modified(file) or 0.0) > made]
        left = absorbed(project, manifest, edited) if edited else None
        if left is not None:
            reason = f"is older than {left.relative_to(project.root)}"
        else:
            if not edited:
                note_yaml(project, manifest, [file for file in files if file.suffix != ".sql"])
            reason = _other_vars(project, manifest)
    if reason is None:
        models = manifest.models()
        elsewhere = database is not None and any(model.database != database for model in models)
        other = manifest.made_for not in (None, (target.name, target.schema))
        if manifest.adapter_type == target.type and not elsewhere and not other:
            return manifest
        reason = f"is for another target than '{target.name}'"
    _parse(project, options, reason, say)
    manifest = Manifest(project)
    note_yaml(project, manifest, [file for file in _files(project) if file.suffix != ".sql"])
    _note_of_vars(project).write_bytes(
        orjson.dumps({"invocation_id": manifest.invocation_id, "vars": dict(project.given_vars)}, default=str)
    )
    return manifest


def _other_vars(project: DbtProject, manifest: Manifest) -> str | None:
    """Return why the manifest's variables may differ from the current ones; None if they are equal.

    They are recorded in dbt's run results, or in our note on a manifest that we had parsed; a manifest of
    unknown origin is assumed to have none. The run results of dbt 2 don't include them, so a manifest from
    its builds is never reused.
    """
    made_with: object = {}
    for path in (_note_of_vars(project), project.target_path / "run_results.json"):
        try:
            found = orjson.loads(path.read_bytes())
            made_by = found.get("invocation_id") or found["metadata"]["invocation_id"]
            if made_by is not None and made_by == manifest.invocation_id:
                if "vars" in found:
                    made_with = found["vars"]
                elif "vars" in found["args"] or found["metadata"]["dbt_version"].startswith("1."):
                    made_with = found["args"].get("vars") or {}
                else:
                    made_with = None
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            continue
    given = orjson.loads(orjson.dumps(dict(project.given_vars), default=str))
    if made_with is None:
        return "does not record its --vars"
    if made_with == given:
        return None
    before = made_with if isinstance(made_with, dict) else {}
    other = {
        name for name in before.keys() | given.keys() if before.get(name, _UNSET) != given.get(name, _UNSET)
    }
    return "has other --vars" if change_the_manifest(project, other) else None


def _note_of_vars(project: DbtProject) -> Path:
    return project.target_path / "revetl_vars.json"


def _files(project: DbtProject) -> list[Path]:
    """Return dbt_project.yml and the SQL and YAML files of models and macros; a macro such as
    generate_schema_name changes where models are."""
    folders = [project.root / folder for folder in (*project.model_paths, *project.macro_paths)]
    files = [
        file
        for folder in folders
        for pattern in ("*.sql", "*.yml", "*.yaml")
        for file in folder.rglob(pattern)
    ]
    return [project.root / "dbt_project.yml", *files]


def _modified(path: Path) -> float | None:
    return path.stat().st_mtime if path.exists() else None


def _parse(project: DbtProject, options: Options, reason: str, say: Say) -> None:
    command = " ".join(["dbt", "parse", *options.as_arguments()])
    say(f"target/manifest.json {reason}: running `{command}`")
    done = run(project, options, "parse")
    if done.returncode:
        text = said(done)
        if sentence := clash(project, text) or missing_list(project, text):
            raise UsageError(sentence)
        tail = "\n".join(text.splitlines()[-12:])
        raise UsageError(f"target/manifest.json {reason}, and `{command}` failed. Fix this error:\n{tail}")
