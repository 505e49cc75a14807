"""Read dbt's `target/manifest.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from revetl.dbt.project_files import DbtProject
from revetl.dbt.yaml_words import restored

_SCHEMA_OF = {"revetl_raw": "raw", "revetl_state": "state"}
"""The package's sources, and the kind of schema of each."""

DELIVERY_TESTS = frozenset(
    {
        "delivered_within",
        "rejection_rate_below",
        "delivered_equals_audience",
        "no_suppressed_delivered",
    }
)
"""The package's generic tests on deliveries."""


@dataclass(frozen=True)
class Model:
    """A model with `config.meta.revetl`."""

    name: str
    unique_id: str
    database: str | None
    schema: str
    alias: str
    description: str
    tags: tuple[str, ...]
    place: str
    meta: Any
    parents: tuple[str, ...] = ()
    """The names of the models and sources it selects from."""
    materialized: str = "table"


class Manifest:
    """`target/manifest.json`, with `target/run_results.json`."""

    def __init__(self, project: DbtProject) -> None:
        self._project = project
        self.path = project.target_path / "manifest.json"
        self._document = orjson.loads(self.path.read_bytes())
        schemas = self.schemas
        for source in self._document.get("sources", {}).values():
            # In source YAML, dbt can only use its default schema macro.
            kind = _SCHEMA_OF.get(source.get("source_name"), "")
            if source.get("package_name") == "revetl" and kind in schemas:
                source["schema"] = schemas[kind]

    @property
    def schemas(self) -> Mapping[str, str]:
        """The schemas of raw events (`raw`) and of the state (`state`), resolved by the package; empty if the
        project doesn't have the package or its model of them."""
        return dict(self._published.get("schemas") or {})

    @property
    def made_for(self) -> tuple[str, str] | None:
        """The manifest's target and default schema; None without the package."""
        target = self._published.get("target")
        return (str(target["name"]), str(target["schema"])) if target else None

    @property
    def _published(self) -> Mapping[str, Any]:
        node = self._document["nodes"].get("model.revetl.int_revetl__project") or {}
        found = (node.get("config") or {}).get("meta") or {}
        return found if isinstance(found, Mapping) else {}

    @property
    def invocation_id(self) -> str | None:
        """The id of the dbt invocation that wrote the manifest."""
        found = self._document["metadata"].get("invocation_id")
        return None if found is None else str(found)

    @property
    def adapter_type(self) -> str:
        """The manifest's dbt adapter, for example `duckdb`."""
        return str(self._document["metadata"].get("adapter_type"))

    def nodes_in(self, path: str) -> list[dict[str, Any]]:
        """Return the project's own nodes that are written in a file, by its path in the project."""
        return [
            node
            for node in self._document["nodes"].values()
            if node.get("original_file_path") == path
            and node.get("package_name", self._project.name) == self._project.name
        ]

    def node_patched_in(self, name: str, path: str) -> dict[str, Any] | None:
        """Return the project's own model that a YAML file describes; None if it isn't exactly one."""
        found = [
            node
            for node in self._document["nodes"].values()
            if node["resource_type"] == "model"
            and node["name"] == name
            and node.get("package_name", self._project.name) == self._project.name
            and str(node.get("patch_path") or "").split("://")[-1] == path
        ]
        return found[0] if len(found) == 1 else None

    def models(self) -> list[Model]:
        """Return every enabled model with `config.meta.revetl`, sorted by name. Of a versioned model, it is
        the latest version, under the name without a version, so that syncs continue with new versions."""
        found = [
            self._restored(_model(node, self._project.name))
            for node in self._document["nodes"].values()
            if node["resource_type"] == "model"
            and "revetl" in (node["config"].get("meta") or {})
            and _is_latest(node)
        ]
        return sorted(found, key=lambda model: model.name)

    def _restored(self, model: Model) -> Model:
        return replace(model, meta=restored(model.meta, self._project.root / model.place, model.name))

    def relations(self, *, models_only: bool = False) -> dict[str, tuple[str, str, str | None]]:
        """Return name to (alias, schema, database) of every model, seed, snapshot and source; with
        `models_only`, only of models and seeds. The project's own override a package's of the same name."""
        kinds = {"model", "seed"} if models_only else {"model", "seed", "snapshot", "source"}
        found: dict[str, tuple[str, str, str | None]] = {}
        nodes = [*self._document["nodes"].values(), *self._document.get("sources", {}).values()]
        nodes.sort(key=lambda node: node.get("package_name") == self._project.name)
        for node in nodes:
            if node["resource_type"] in kinds and _is_latest(node):
                alias = node.get("alias") or node.get("identifier") or node["name"]
                found[node["name"]] = (alias, node["schema"], node.get("database"))
        return found

    def graph(self) -> dict[str, Mapping[str, Any]]:
        """Return every selectable node by unique id, as in dbt's artifacts: models, tests, seeds, sources,
        exposures and others."""
        kinds = (
            "nodes",
            "sources",
            "exposures",
            "metrics",
            "semantic_models",
            "saved_queries",
            "unit_tests",
            "functions",
        )
        return {name: node for kind in kinds for name, node in self._document.get(kind, {}).items()}

    def failures(self, model: Model) -> list[str]:
        """Return what failed in the last dbt run: tests of `model` and its ancestors, and these models
        themselves if they failed or were skipped."""
        path = self.path.with_name("run_results.json")
        if not path.exists():
            return []
        results = {row["unique_id"]: row["status"] for row in orjson.loads(path.read_bytes())["results"]}
        ancestry = self._ancestry(model.unique_id)
        failed = {name for name, status in results.items() if status in {"fail", "error", "skipped"}}
        found = {name for name in failed if name in ancestry or self._tests(name, ancestry)}
        return sorted(name.split(".")[2] for name in found)

    def built_at(self, model: Model) -> datetime | None:
        """Return when the last dbt run in target/ built a model, in UTC; None if it didn't."""
        path = self.path.with_name("run_results.json")
        if not path.exists():
            return None
        document = orjson.loads(path.read_bytes())
        if (document.get("args") or {}).get("which") not in {"build", "run"}:
            return None
        ended = [
            str(timing["completed_at"])
            for row in document["results"]
            if row["unique_id"] == model.unique_id and row["status"] == "success"
            for timing in row.get("timing", ())
            if timing.get("completed_at")
        ]
        moments = [datetime.fromisoformat(text) for text in ended]
        naive = [each.astimezone(UTC).replace(tzinfo=None) if each.tzinfo else each for each in moments]
        return max(naive, default=None)

    def _ancestry(self, unique_id: str) -> set[str]:
        """Return a node and its ancestors."""
        found: set[str] = set()
        waiting = [unique_id]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._document["nodes"].get(name, {}).get("depends_on", {}).get("nodes", [])
        return found

    def _tests(self, unique_id: str, nodes: set[str]) -> bool:
        """Whether a test applies to these nodes: by the node it is attached to or, for a singular test, by
        all nodes that it reads."""
        node = self._document["nodes"].get(unique_id, {})
        if node.get("resource_type") not in {"test", "unit_test"}:
            return False
        if (node.get("test_metadata") or {}).get("name") in DELIVERY_TESTS:
            return False  # it tests the last sync, which the next one may fix
        if attached := node.get("attached_node"):
            return attached in nodes
        read = set(node["depends_on"]["nodes"])
        return bool(read) and read <= nodes


def _name_in(unique_id: str) -> str:
    """Return the name in a unique id: vips of `model.shop.vips.v2`, tracks of `source.shop.raw.tracks`."""
    kind, _, *names = unique_id.split(".")
    return names[-1 if kind == "source" else 0]


def _is_latest(node: Mapping[str, Any]) -> bool:
    """Whether a node isn't versioned, or is the latest version by the model's `latest_version`."""
    version = node.get("version")
    return version is None or str(version) == str(node.get("latest_version", version))


def _model(node: Mapping[str, Any], project: str) -> Model:
    declared = (node.get("patch_path") or node["original_file_path"]).split("://")[-1]
    package = node.get("package_name", project)
    return Model(
        name=node["name"],
        unique_id=node["unique_id"],
        database=node.get("database"),
        schema=node["schema"],
        alias=node.get("alias") or node["name"],
        description=node.get("description") or "",
        tags=tuple(node["config"].get("tags") or ()),
        place=declared if package == project else f"dbt_packages/{package}/{declared}",
        meta=node["config"]["meta"]["revetl"],
        parents=tuple(map(_name_in, (node.get("depends_on") or {}).get("nodes", ()))),
        materialized=str(node["config"].get("materialized") or "table"),
    )
