"""The dbt project, really built on an engine from the same messages, and its tables as plain rows."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from sqlglot import exp

from revetl.dbt.project_files import Options
from revetl.ingest.raw_tables import raw_columns
from revetl.project.workspace import Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, table
from tests.helpers.backends import make_backend
from tests.helpers.built import copy_with_examples

HASHES = {"sighting_hash", "hash_sum", "batch", "settled_at", "rules", "recorded_at", "invocation_id"}
"""Columns that each engine makes by its own means, or each build."""

CONDITIONS = {
    "ordered": "did('Order Completed')",
    "often": "did('Order Completed', at_least=2, at_most=4, within={'from': '2011-01-02'})",
    "never": "did_not('Order Completed', within='60 days')",
    "dear": "did('Order Completed', where={'property': 'total', 'greater_than': 4})",
    "in_words": "did('Order Completed', where=\"properties.total * 2 > 12 or properties.total = '1e3'\")",
    "an_element": "did('Order Completed', where={'property': 'products[].name', 'contains': 'e'})",
    "pages": "did(source='page', where={'context': 'device.id', 'not_exists': true})",
    "steps": "did_in_order(['Order Completed', 'Order Completed'], within='20 days')",
    "steps_where": "did_in_order([{'event': 'Product Viewed', 'where': 'properties.price > 9'},"
    " ['Order Completed']])",
    "spent": "trait('lifetime_value', '>', 5)",
    "of_late": "trait('last_order_at', 'within last', '90 days')",
    "named": "trait('first_name', 'starts with', 'É')",
    "unnamed": "trait('first_name', 'not exists')",
    "big": "in_audience('big_spenders')",
}
"""Conditions of audiences: who meets them is the same everywhere."""
SPLIT = """
{{ config(meta={'revetl': {
    'key': 'canonical_id', 'split': {'a': 45, 'b': 45, 'control': 10},
    'goal': {'event': 'Order Completed', 'within': '14 days', 'since': '2011-03-01'},
}}) }}
select canonical_id, {{ revetl.variant('canonical_id') }} as variant
from {{ ref('revetl', 'revetl_profiles') }}
"""

_DOCUMENTS = {"context", "properties", "traits"}
_ARROW: dict[str, pa.DataType] = {
    "varchar": pa.string(),
    "json": pa.string(),
    "bigint": pa.int64(),
    "timestamp": pa.timestamp("us"),
}
_ARRIVED = table("revetl_arrived")


class World:
    """A copy of the project in a folder, on a fresh warehouse of an engine."""

    def __init__(self, engine: str, folder: Path) -> None:
        self.folder = folder
        copy_with_examples(folder)
        audiences = folder / "models" / "audiences"
        audiences.joinpath("met.sql").write_text(
            " union all ".join(
                f"select '{name}' as name, canonical_id from {{{{ ref('revetl', 'revetl_profiles') }}}} "
                f"where {{{{ revetl.{condition} }}}}"
                for name, condition in CONDITIONS.items()
            )
        )
        audiences.joinpath("spring.sql").write_text(SPLIT)
        self.backend = make_backend(engine, folder)
        profile = {"target": "dev", "outputs": {"dev": {**self.backend.output, "threads": 2}}}
        (folder / "profiles.yml").write_text(yaml.safe_dump({"revetl": profile}))

    def seeds(self, cuts: list[tuple[Any, ...]], blocked: list[tuple[Any, ...]]) -> None:
        """What is cut and blocked."""
        for name, rows in {"revetl_cut_edges": cuts, "revetl_blocked_identifiers": blocked}.items():
            file = self.folder / "seeds" / f"{name}.csv"
            names = file.read_text().splitlines()[0].split(",")
            with file.open("w", newline="") as opened:
                writer = csv.writer(opened)
                writer.writerow(names)
                writer.writerows(rows)

    def land(self, messages: Mapping[str, list[dict[str, Any]]], gone: Mapping[str, list[str]]) -> None:
        """Put messages into the raw tables, and take some out."""
        warehouse = self.open()
        try:
            warehouse.create_schema("raw")
            for name, columns in raw_columns().items():
                self._create(warehouse, name, columns)
                if rows := messages.get(name, []):
                    self._insert(warehouse, name, columns, rows)
                if ids := gone.get(name, []):
                    mine = exp.In(this=column("id"), expressions=[exp.convert(each) for each in ids])
                    warehouse.run(exp.Delete(this=table(name, "raw"), where=exp.Where(this=mine)))
        finally:
            warehouse.close()

    @staticmethod
    def _create(warehouse: Warehouse, name: str, columns: Mapping[str, str]) -> None:
        definitions: list[exp.Expr] = [
            exp.ColumnDef(this=exp.to_identifier(each, quoted=True), kind=warehouse.type_of(kind))
            for each, kind in columns.items()
        ]
        schema = exp.Schema(this=table(name, "raw"), expressions=definitions)
        warehouse.run(exp.Create(this=schema, kind="TABLE", exists=True))

    @staticmethod
    def _insert(
        warehouse: Warehouse, name: str, columns: Mapping[str, str], rows: list[dict[str, Any]]
    ) -> None:
        data = {each: pa.array([row[each] for row in rows], _ARROW[kind]) for each, kind in columns.items()}
        warehouse.load(_ARRIVED, pa.table(data))
        values = [
            warehouse.document(column(each)) if kind == "json" else column(each)
            for each, kind in columns.items()
        ]
        names: list[exp.Expr] = [exp.to_identifier(each, quoted=True) for each in columns]
        into = exp.Schema(this=table(name, "raw"), expressions=names)
        warehouse.run(exp.Insert(this=into, expression=exp.select(*values).from_(_ARRIVED)))

    def dbt(self, *arguments: str) -> str:
        """Run dbt, and give what it said; it has to succeed."""
        environment = {
            **os.environ,
            "DBT_TARGET_PATH": str(self.folder / "target"),
            "DBT_LOG_PATH": str(self.folder / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
        }
        command = [sys.executable, "-W", "ignore", "-m", "dbt.cli.main", "--no-use-colors", *arguments]
        done = subprocess.run(
            [*command, "--project-dir", str(self.folder), "--profiles-dir", str(self.folder)],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def open(self) -> Warehouse:
        """The warehouse, as the runner has it."""
        return Workspace(Options(self.folder, self.folder)).warehouse()

    def tables(self) -> dict[str, Counter[str]]:
        """Each model of the project, by name: its rows as text, without the columns of HASHES."""
        manifest = json.loads((self.folder / "target" / "manifest.json").read_text())
        nodes = [
            node
            for node in manifest["nodes"].values()
            if node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral"
        ]
        warehouse = self.open()
        try:
            return {node["name"]: self._rows(warehouse, node) for node in nodes}
        finally:
            warehouse.close()

    def _rows(self, warehouse: Warehouse, node: Mapping[str, Any]) -> Counter[str]:
        relation = table(node["alias"], node["schema"], node["database"])
        columns = warehouse.columns(relation)
        names = [name for name in columns if name not in HASHES]
        documents = [name for name in names if name in _DOCUMENTS or name.endswith("_as_array")]
        selected = [
            exp.cast(column(name), "varchar") if name in documents else column(name) for name in names
        ]
        rows = warehouse.rows(exp.select(*selected).from_(relation))
        return Counter(
            repr({name: alike(value, name in documents) for name, value in zip(names, row, strict=True)})
            for row in rows
        )


def alike(value: Any, is_document: bool) -> Any:
    """A value as two engines have the same; documents by what is in them."""
    if is_document and value is not None:
        return json.dumps(json.loads(value, parse_float=_number, parse_int=_number), sort_keys=True)
    return value


def _number(text: str) -> str:
    # Not every document tells -0 from 0.
    return str(Decimal(text).normalize() + 0)
