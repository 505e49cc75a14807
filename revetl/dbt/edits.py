"""Which edits since a manifest was made leave it right, so that `dbt parse` (seconds) need not run.

Of a model's SQL, dbt reads only the Jinja. Of a YAML file, an edit inside `meta.revetl` changes nothing but
that, which is read here. Everything else is for dbt to parse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml

from revetl.dbt.manifest import Manifest
from revetl.dbt.project_files import DbtProject
from revetl.local.package_yaml import SAFE_LOADER

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_TEXT_MATTERS = re.compile(
    r"\{%-?\s*(?:raw|call|filter|macro|snapshot|materialization|test|set\s+\w+\s*-?%\})"
)
"""Blocks whose text between the tags is a value."""
_BARE_VARIABLE = re.compile(r"\{\{-?\s*var\([^(){}]*\)\s*-?\}\}")
_ONLY_IN_SQL = frozenset({"as_of"})
"""Variables of the package that change the SQL of models, and nothing that revetl reads of the manifest."""
_NOTE = "revetl_yaml.json"


def note_yaml(project: DbtProject, manifest: Manifest, files: list[Path]) -> None:
    """Keep the YAML that a current manifest was made of, once per manifest."""
    path = project.target_path / _NOTE
    if _noted(project).get("invocation_id") == manifest.invocation_id:
        return
    texts = {str(file.relative_to(project.root)): file.read_text(encoding="utf-8") for file in files}
    try:
        path.write_bytes(orjson.dumps({"invocation_id": manifest.invocation_id, "yaml": texts}))
    except OSError:
        # A folder that cannot be written to costs a parse, and nothing else.
        return


def absorbed(project: DbtProject, manifest: Manifest, edited: list[Path]) -> Path | None:
    """Bring a manifest up to date with edited files; the first file that only dbt can read, or None."""
    for file in edited:
        is_read = _read_sql if file.suffix == ".sql" else _read_yaml
        if file.name == "dbt_project.yml" or not is_read(project, manifest, file):
            return file
    return None


def _read_sql(project: DbtProject, manifest: Manifest, file: Path) -> bool:
    written = file.relative_to(project.root).as_posix()
    nodes = manifest.nodes_in(written)
    if len(nodes) != 1:
        return False
    (node,) = nodes
    before, now = str(node.get("raw_code") or ""), file.read_text(encoding="utf-8").strip()
    if before.strip() == now:
        return True
    if _TEXT_MATTERS.search(before) or _TEXT_MATTERS.search(now) or _jinja(before) != _jinja(now):
        return False
    node["raw_code"] = now
    node.pop("compiled_code", None)
    return True


def _jinja(sql: str) -> list[str]:
    return [each for each in _JINJA.findall(sql) if not each.startswith("{#")]


def _read_yaml(project: DbtProject, manifest: Manifest, file: Path) -> bool:
    noted = _noted(project)
    before = noted.get("yaml", {}).get(str(file.relative_to(project.root)))
    if before is None or noted.get("invocation_id") != manifest.invocation_id:
        return False
    now = file.read_text(encoding="utf-8")
    if before == now:
        return True
    try:
        was, found = (yaml.load(text, Loader=SAFE_LOADER) for text in (before, now))  # noqa: S506  a safe one
    except yaml.YAMLError:
        return False
    metas_before, metas = _take_metas(was), _take_metas(found)
    if metas is None or metas_before is None or metas.keys() != metas_before.keys() or was != found:
        return False
    changed = {name: meta for name, meta in metas.items() if meta != metas_before[name]}
    places = {
        name: manifest.node_patched_in(name, file.relative_to(project.root).as_posix()) for name in changed
    }
    for name, meta in changed.items():
        node = places[name]
        if (
            node is None
            or not _is_plain(meta)
            or "meta" in str(node.get("raw_code") or "")
            or node.get("version")
        ):
            return False
    for name, meta in changed.items():
        node = places[name]
        assert node is not None
        node["config"]["meta"]["revetl"] = meta
    return True


def _take_metas(document: Any) -> dict[str, Any] | None:
    """Take `meta.revetl` out of each model of a document; None where it is written in another form."""
    models = document.get("models") if isinstance(document, dict) else None
    if not isinstance(models, list):
        return None
    found: dict[str, Any] = {}
    for model in models:
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            return None
        config = model.get("config")
        places = [
            each["meta"]
            for each in (model, config)
            if isinstance(each, dict) and isinstance(each.get("meta"), dict) and "revetl" in each["meta"]
        ]
        if len(places) > 1 or model["name"] in found:
            return None
        if places:
            found[model["name"]] = places[0].pop("revetl")
    return found


def _is_plain(meta: Any) -> bool:
    """Whether a value is as the manifest has it: nothing in it is rendered, or becomes another type."""
    try:
        return "{{" not in (text := json.dumps(meta)) and "{%" not in text and json.loads(text) == meta
    except (TypeError, ValueError):
        return False


def _noted(project: DbtProject) -> Mapping[str, Any]:
    try:
        found = orjson.loads((project.target_path / _NOTE).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def change_the_manifest(project: DbtProject, names: set[str]) -> bool:
    """Whether variables of other values may make another manifest: all do, but those that only appear as
    `{{ var('name') }}` in the SQL of models, where they are text."""
    asked = {re.compile(rf"\bvar\(\s*['\"]{re.escape(name)}['\"]") for name in names - _ONLY_IN_SQL}
    if not asked:
        return False
    folders = [project.root / each for each in (*project.model_paths, *project.macro_paths, "snapshots")]
    packages = project.root / "dbt_packages"
    # Packages may be links, which rglob does not follow.
    folders += [each.resolve() for each in packages.iterdir()] if packages.is_dir() else []
    files = [project.root / "dbt_project.yml"]
    files += [
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.suffix in (".sql", ".yml", ".yaml", ".py")
    ]
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return True
        if file.suffix == ".sql":
            text = _BARE_VARIABLE.sub("", text)
        if any(each.search(text) for each in asked):
            return True
    return False
