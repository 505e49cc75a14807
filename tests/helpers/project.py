"""A revetl project in a folder, without dbt: the manifest is written by hand, the audiences are tables."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import yaml

import revetl
from tests.helpers.backends import make_backend


class ProjectFolder:
    """A project on a warehouse (a DuckDB file without `engine`), with audiences that a test fills and
    destinations that it names."""

    def __init__(
        self, root: Path, destinations: dict[str, Any] | None = None, engine: str = "duckdb"
    ) -> None:
        self.root = root
        self.database = root / "revetl.duckdb"
        self.backend = make_backend(engine, root)
        self._nodes: dict[str, Any] = {}
        root.mkdir(parents=True, exist_ok=True)
        document: dict[str, Any] = {"name": "shop", "profile": "shop", "version": "1.0"}
        self.raw_schema = "raw"
        if self.backend.state_schema != "revetl":
            self.raw_schema = f"raw_{self.backend.schema}"
        document["vars"] = {
            "revetl": {"state_schema": self.backend.state_schema, "raw_schema": self.raw_schema}
        }
        self._write("dbt_project.yml", document)
        self._write("profiles.yml", {"shop": {"target": "dev", "outputs": {"dev": self.backend.output}}})
        (root / "models").mkdir(exist_ok=True)
        self.destinations(destinations or {})

    @classmethod
    def existing(cls, root: Path) -> ProjectFolder:
        """A project that is there already, such as a copy."""
        found = cls.__new__(cls)
        found.root, found.database, found._nodes = root, root / "revetl.duckdb", {}
        found.backend = make_backend("duckdb", root)
        return found

    def _write(self, name: str, document: Any) -> None:
        (self.root / name).write_text(yaml.safe_dump(document, sort_keys=False))

    def destinations(self, destinations: dict[str, Any], **more: Any) -> None:
        """Write revetl.yml."""
        self._write("revetl.yml", {"destinations": destinations, **more})

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the warehouse, written as DuckDB has it."""
        return self.backend.sql(statement, *parameters)

    def audience(
        self, name: str, query: str, meta: dict[str, Any] | None = None, compiled_code: str | None = None
    ) -> None:
        """Build the audience's table of a query; with `meta`, declare it in the manifest, with what dbt
        compiled."""
        self.sql(f"create or replace table {name} as {query}")
        if meta is not None:
            self.declare(name, meta, compiled_code)

    def declare(self, name: str, meta: dict[str, Any], compiled_code: str | None = None) -> None:
        """Have the manifest say that a table is an audience."""
        self._nodes[f"model.shop.{name}"] = {
            "resource_type": "model",
            "unique_id": f"model.shop.{name}",
            "name": name,
            "alias": name,
            "database": self.backend.database,
            "schema": self.backend.schema,
            "description": "",
            "patch_path": "shop://models/audiences.yml",
            "original_file_path": f"models/{name}.sql",
            "config": {"tags": meta.pop("tags", []), "meta": {"revetl": meta}},
            "depends_on": {"nodes": []},
        }
        if compiled_code is not None:
            self._nodes[f"model.shop.{name}"]["compiled_code"] = compiled_code
        self.write_manifest()

    def move(self, database: str) -> None:
        """Have dbt's manifest name another database."""
        for node in self._nodes.values():
            node["database"] = database
        self.write_manifest()

    def depends(self, audience: str, on: str) -> None:
        """Have an audience made of another."""
        self._nodes[f"model.shop.{audience}"]["depends_on"] = {"nodes": [f"model.shop.{on}"]}
        self.write_manifest()

    def materialize(self, audience: str, as_: str) -> None:
        """Have the manifest say how dbt materializes an audience."""
        self._nodes[f"model.shop.{audience}"]["config"]["materialized"] = as_
        self.write_manifest()

    def versions(self, audience: str, *versions: int, latest: int) -> None:
        """Have the manifest say that an audience has versions, each with a relation as dbt names them."""
        node = self._nodes.pop(f"model.shop.{audience}")
        for version in versions:
            unique_id = f"model.shop.{audience}.v{version}"
            own = {"unique_id": unique_id, "alias": f"{audience}_v{version}", "version": version}
            self._nodes[unique_id] = {**node, **own, "latest_version": latest}
        self.write_manifest()

    def test_of(self, audience: str, name: str, kind: str = "unique") -> str:
        """Declare a dbt test of an audience; gives its unique id."""
        unique_id = f"test.shop.{name}.abc"
        self._nodes[unique_id] = {
            "resource_type": "test",
            "unique_id": unique_id,
            "name": name,
            "test_metadata": {"name": kind},
            "config": {},
            "depends_on": {"nodes": [f"model.shop.{audience}"]},
        }
        self.write_manifest()
        return unique_id

    def write_manifest(self) -> None:
        """Write target/manifest.json, newer than every model."""
        target = self.root / "target"
        target.mkdir(exist_ok=True)
        document = {"metadata": {"adapter_type": self.backend.type}, "nodes": self._nodes}
        (target / "manifest.json").write_text(json.dumps(document))
        later = time.time() + 5
        os.utime(target / "manifest.json", (later, later))

    def run_results(self, statuses: dict[str, str]) -> None:
        """Write target/run_results.json."""
        results = [{"unique_id": unique_id, "status": status} for unique_id, status in statuses.items()]
        (self.root / "target" / "run_results.json").write_text(json.dumps({"results": results}))

    def open(self, **options: Any) -> revetl.Project:
        """The project, through the Python API."""
        return revetl.Project(self.root, **options)
