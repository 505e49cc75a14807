"""Builds the project's models with other identity rules, in temporary schemas."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import yaml
from sqlglot import exp

from revetl import dbt
from revetl.config.base import read_yaml
from revetl.dbt.program import said
from revetl.errors import UsageError, WarehouseError
from revetl.project.workspace import Workspace
from revetl.warehouse.templates import statement, table

SUFFIX = "_identity_diff"
_DEFAULT_SCHEMAS = {"duckdb": "main", "postgres": "public"}
_GRAPH = "model.revetl.int_revetl__identity_graph"
_BUILT = {"model", "seed", "snapshot"}
_WRONG_RULE = re.compile(r"vars\.revetl\.identity.*")
_TAIL = 12

Graph = Mapping[str, Mapping[str, Any]]
Place = tuple[str | None, str]
"""The database and name of a schema."""


@dataclass(frozen=True)
class BuiltRelations:
    """The relation of every model that was built, by its unique id."""

    relations: Mapping[str, exp.Table]


def read_rules(path: Path) -> dict[str, Any]:
    """Read the value of the variable `identity` from a YAML file: the whole document, or the value of
    `identity:`. Raises UsageError if it isn't a mapping."""
    if not path.is_file():
        raise UsageError(
            f"--rules {path}: file not found. It must contain the new value of vars.revetl.identity."
        )
    try:
        document = read_yaml(path)
    except UnicodeDecodeError:
        raise UsageError(f"--rules {path}: not a text file.") from None
    if isinstance(document, Mapping) and set(document) == {"identity"}:
        document = document["identity"]
    if not isinstance(document, Mapping) or not document:
        raise UsageError(
            f"--rules {path}: not a mapping. Write the new value of vars.revetl.identity, "
            "such as: identifiers: {user_id: {limit: 1}, email: {}}"
        )
    return dict(document)


@contextmanager
def built_by(workspace: Workspace, rules: Mapping[str, Any]) -> Iterator[BuiltRelations]:
    """Build the audiences, the identity graph and everything they depend on with other rules. The built
    relations are always dropped at the end. Raises UsageError for invalid rules and, before building
    anything, if models would overwrite the project's own; WarehouseError if dbt fails."""
    with tempfile.TemporaryDirectory(prefix="revetl-identity-") as name:
        folder = Path(name)
        write_profiles(workspace, folder)
        options = replace(
            workspace.options,
            profiles_dir=folder,
            target=workspace.target.name,
            vars=_variables(workspace, rules),
        )
        words = ("--target-path", str(folder / "target"), "--log-path", str(folder / "logs"))
        workspace.say("Parsing the project with the new rules")
        _succeed(_run(workspace, options, "parse", *words), "dbt parse")
        preview = dbt.Manifest(replace(workspace.dbt, target_path=folder / "target")).graph()
        nodes = _to_build(preview, workspace.manifest.graph())
        schemas = _schemas(workspace, nodes)
        selection = [".".join(node["fqn"]) for node in nodes.values()]
        kinds = [word for kind in sorted(_BUILT) for word in ("--resource-type", kind)]
        _drop(workspace, schemas)
        try:
            workspace.say(
                f"Building {len(nodes):,} models in {', '.join(sorted({name for _, name in schemas}))}"
            )
            done = _run(workspace, options, "build", *words, *kinds, "--select", *selection)
            _succeed(done, "dbt build")
            yield BuiltRelations(
                {
                    name: table(node.get("alias") or node["name"], node["schema"], node.get("database"))
                    for name, node in nodes.items()
                }
            )
        finally:
            _drop(workspace, schemas)


def write_profiles(workspace: Workspace, folder: Path) -> None:
    """Write the used output of profiles.yml with secrets unresolved, but with another schema."""
    _, profile = dbt.read_profile(workspace.dbt, workspace.options)
    name = workspace.target.name
    output = dict(profile["outputs"][name])
    schema = output.get("schema") or _DEFAULT_SCHEMAS.get(workspace.target.type)
    if schema is None:
        raise UsageError(f"profiles.yml: target '{name}' has no schema. Set one.")
    output["schema"] = f"{schema}{SUFFIX}"
    document = {workspace.dbt.profile: {"target": name, "outputs": {name: output}}}
    (folder / "profiles.yml").write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")


def _variables(workspace: Workspace, rules: Mapping[str, Any]) -> str:
    given = yaml.safe_load(workspace.options.vars or "{}") or {}
    if not isinstance(given, Mapping):
        raise UsageError("--vars: not a mapping. Write for example --vars 'as_of: 2026-01-01'.")
    return yaml.safe_dump(
        {**given, "identity": dict(rules), "identity_preview": True}, default_flow_style=True
    )


def _run(workspace: Workspace, options: dbt.Options, *words: str) -> CompletedProcess[str]:
    return dbt.run(workspace.dbt, options, *words)


def _succeed(done: CompletedProcess[str], command: str) -> None:
    """Raises UsageError with the message about an invalid rule, else WarehouseError with dbt's output."""
    if not done.returncode:
        return
    if wrong := _WRONG_RULE.search(said(done)):
        raise UsageError(wrong[0].strip())
    tail = "\n".join(said(done).splitlines()[-_TAIL:])
    raise WarehouseError(f"`{command}` with the new rules failed; fix the error below:\n{tail}")


def _to_build(graph: Graph, own: Graph) -> dict[str, Mapping[str, Any]]:
    """Return the audiences, the identity graph, and everything they depend on that dbt builds, by unique id.
    A snapshot with a fixed schema is read there, not built."""
    if _GRAPH not in graph:
        raise UsageError(
            "dbt has no model 'int_revetl__identity_graph' here: it is part of revetl's package."
        )
    waiting = [
        name
        for name, node in graph.items()
        if node["resource_type"] == "model" and "revetl" in (node["config"].get("meta") or {})
    ]
    waiting.append(_GRAPH)
    found: dict[str, Mapping[str, Any]] = {}
    while waiting:
        name = waiting.pop()
        node = graph.get(name)
        if node is None or name in found or node["resource_type"] not in _BUILT:
            continue
        if node["resource_type"] == "snapshot" and node["schema"] == own.get(name, {}).get("schema"):
            continue
        found[name] = node
        waiting += node["depends_on"].get("nodes") or []
    return found


def _schemas(workspace: Workspace, nodes: Graph) -> set[Place]:
    """Return the schemas to build in and drop. Raises UsageError if one may contain anything else."""
    own = {
        (node.get("database"), str(node["schema"]).lower())
        for node in workspace.manifest.graph().values()
        if node.get("schema")
    }
    found = set()
    for node in nodes.values():
        if node["config"].get("materialized") == "ephemeral":
            continue
        place = (node.get("database"), str(node["schema"]))
        if (place[0], place[1].lower()) in own or SUFFIX not in place[1].lower():
            raise UsageError(
                f"{node['name']} would be built in schema '{place[1]}' with the new rules, which may contain "
                "the project's own tables, because its schema does not depend on the target's. Make "
                "generate_schema_name start with target.schema. Nothing was built."
            )
        found.add(place)
    return found


def _drop(workspace: Workspace, schemas: set[Place]) -> None:
    with workspace.writing() as warehouse:
        for database, name in sorted(schemas, key=str):
            schema = table(name, database)
            warehouse.run(statement("drop schema if exists :schema cascade", schema=schema))
