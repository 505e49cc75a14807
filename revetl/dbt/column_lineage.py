"""Infer the columns of dbt models from their compiled SQL, without a warehouse.

Columns are only known if the SQL determines them. A source's `*`, a table function, an expression without a
name or outdated SQL makes them unknown, which isn't an error.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.optimizer.scope import Scope, build_scope

from revetl import dbt

Node = Mapping[str, Any]

# Materializations whose relation has the columns of the model's query. By default, an incremental model keeps
# its first columns.
_PLAIN = {"table", "view", "materialized_view", "ephemeral", "revetl_table", "revetl_view"}


class CompiledColumns:
    """Infers columns by unique id, recursively and at most once per node."""

    def __init__(self, manifest: dbt.Manifest, project: dbt.DbtProject) -> None:
        self._manifest = manifest
        self._project = project
        self._graph = manifest.graph()
        self._found: dict[str, tuple[str, ...] | None] = {}
        self._changed: float | None = None
        self._relations: dict[tuple[str, str], list[str]] = {}
        for unique_id, node in self._graph.items():
            if node["resource_type"] in {"model", "seed", "snapshot", "source"}:
                name = node.get("alias") or node.get("identifier") or node["name"]
                place = (str(node.get("schema")).lower(), name.lower())
                self._relations.setdefault(place, []).append(unique_id)

    def of(self, unique_id: str) -> tuple[str, ...] | None:
        """Return the columns of a model or seed; None if unknown."""
        if unique_id not in self._found:
            # Ends recursion in a cycle, which dbt doesn't allow.
            self._found[unique_id] = None
            node = self._graph[unique_id]
            self._found[unique_id] = (
                self._seed(node) if node["resource_type"] == "seed" else self._model(node)
            )
        return self._found[unique_id]

    def of_table(self, table: exp.Table) -> tuple[str, ...] | None:
        """Return the columns of a model's or seed's relation; None if unknown."""
        ids = self._relations.get((table.db.lower(), table.name.lower()), [])
        return self.of(ids[0]) if len(ids) == 1 else None

    def _seed(self, node: Node) -> tuple[str, ...] | None:
        path = self._project.root / node["original_file_path"]
        if node.get("package_name", self._project.name) != self._project.name or not path.is_file():
            return None
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file, delimiter=node["config"].get("delimiter") or ","), [])
        return tuple(name.strip() for name in header) or None

    def _model(self, node: Node) -> tuple[str, ...] | None:
        config = node["config"]
        kind = config.get("materialized")
        if kind not in _PLAIN and not (
            kind == "incremental" and config.get("on_schema_change") == "sync_all_columns"
        ):
            return None
        text = self._compiled(node) if node.get("language", "sql") == "sql" else None
        if text is None:
            return None
        try:
            scope = build_scope(sqlglot.parse_one(text, dialect=_dialect(self._manifest.adapter_type)))
        except sqlglot.errors.SqlglotError:
            return None
        found = None if scope is None else self._outputs(scope)
        return None if found is None else tuple(found)

    def _compiled(self, node: Node) -> str | None:
        """Return the model's compiled SQL, unless the project changed since."""
        if node.get("compiled_code") and self._is_current(self._manifest.path):
            return str(node["compiled_code"])
        package = node.get("package_name", self._project.name)
        path = self._project.target_path / "compiled" / package / node["original_file_path"]
        return path.read_text(encoding="utf-8") if path.is_file() and self._is_current(path) else None

    def is_edited(self, unique_id: str) -> bool:
        """Whether a model's own file has changed since dbt last built or compiled anything: its relation may
        have other columns."""
        node = self._graph[unique_id]
        file = self._project.root / node["original_file_path"]
        if node.get("package_name", self._project.name) != self._project.name or not file.is_file():
            return False
        made = [
            path.stat().st_mtime
            for path in (
                self._project.target_path / "run_results.json",
                self._project.target_path / "compiled" / self._project.name / node["original_file_path"],
            )
            if path.is_file()
        ]
        return bool(made) and file.stat().st_mtime > max(made)

    def _is_current(self, path: Path) -> bool:
        if self._changed is None:
            root = self._project.root
            folders = [*self._project.model_paths, "macros", "dbt_packages"]
            files = [file for folder in folders for file in (root / folder).rglob("*") if file.is_file()]
            self._changed = max(file.stat().st_mtime for file in [root / "dbt_project.yml", *files])
        return path.stat().st_mtime >= self._changed

    def _outputs(self, scope: Scope) -> list[str] | None:
        """Return the names of a query's columns, in order."""
        query = scope.expression
        if isinstance(query, exp.SetOperation):
            # A union by name has the columns of both sides.
            first = scope.set_operation_scopes[:1]
            return self._outputs(first[0]) if first and not query.args.get("by_name") else None
        if not isinstance(query, exp.Select):
            return None
        names: list[str] = []
        for item in query.expressions:
            if star := _star(item):
                found = self._starred(scope, star, item.table if isinstance(item, exp.Column) else None)
                if found is None:
                    return None
                names += found
            elif isinstance(item, exp.Alias | exp.Column):
                names.append(item.alias_or_name)
            else:
                return None
        return names

    def _starred(self, scope: Scope, star: exp.Star, of: str | None) -> list[str] | None:
        """Expand `*` or `of.*`."""
        sources = scope.selected_sources
        if scope.expression.args.get("laterals") or (of is not None and of not in sources):
            return None
        names: dict[str, None] = {}
        for node, source in sources.values() if of is None else [sources[of]]:
            found = self._source(node, source)
            if found is None:
                return None
            names.update(dict.fromkeys(found))
        left_out = {name.name.lower() for name in star.args.get("except_") or ()}
        renamed = {
            each.this.name.lower(): each.alias
            for each in star.args.get("rename") or ()
            if isinstance(each, exp.Alias)
        }
        return [renamed.get(name.lower(), name) for name in names if name.lower() not in left_out]

    def _source(self, node: exp.Expr, source: object) -> list[str] | None:
        if node.args.get("pivots"):
            return None
        if isinstance(source, exp.Table):
            plain = isinstance(source.this, exp.Identifier) and not source.alias_column_names
            found = self.of_table(source) if plain else None
            return None if found is None else list(found)
        if not isinstance(source, Scope):
            return None
        parent = source.expression.parent
        named = parent.alias_column_names if isinstance(parent, exp.CTE | exp.Subquery) else []
        if not named:
            return self._outputs(source)
        given = source.expression.selects if isinstance(source.expression, exp.Select) else []
        return list(named) if len(named) == len(given) and not any(map(_star, given)) else None


def _star(item: exp.Expr) -> exp.Star | None:
    inner = item.this if isinstance(item, exp.Column) else item
    return inner if isinstance(inner, exp.Star) else None


def _dialect(adapter: str) -> str | None:
    return adapter if adapter in {each.value for each in sqlglot.Dialects} else None
