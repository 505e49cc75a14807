"""dbt, really run for an engine that is not there: every statement is recorded, and answered from a small
table.

`python -m tests.warehouses.rendered ENGINE` builds the project with the example audiences twice, as a first
build and as one on what that left, and runs its data tests; it prints what each node said to the warehouse,
as JSON. dbt's adapter of the engine is the real one down to its connection.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import sqlglot
from sqlglot import exp

from tests.helpers.built import SCHEMAS, copy_with_examples
from tests.warehouses.recorder import BigQueryClient, Handle, Recorder

ENGINES = ["snowflake", "bigquery", "redshift", "databricks", "fabric"]
"""By dbt's name of the adapter, which is sqlglot's of the dialect too."""

ENVIRONMENT = {
    "REVETL_SNOWFLAKE_ACCOUNT": "account",
    "REVETL_SNOWFLAKE_USER": "user",
    "REVETL_SNOWFLAKE_PASSWORD": "password",
    "REVETL_BIGQUERY_PROJECT": "project",
    "REVETL_REDSHIFT_HOST": "host",
    "REVETL_REDSHIFT_USER": "user",
    "REVETL_REDSHIFT_PASSWORD": "password",
    "REVETL_DATABRICKS_HOST": "host",
    "REVETL_DATABRICKS_HTTP_PATH": "/sql/1.0/warehouses/1",
    "REVETL_DATABRICKS_TOKEN": "token",
    "REVETL_FABRIC_HOST": "host",
    "REVETL_FABRIC_DATABASE": "analytics",
}

ORDER = {"event": "Order Completed"}
TRAITS: dict[str, dict[str, Any]] = {
    "total_percentile": {"type": "percentile", **ORDER, "property": "total", "percentile": 90},
    "total_max": {"type": "max", **ORDER, "property": "total", "data_type": "double", "history": True},
    "name_min": {"type": "min", **ORDER, "property": "name", "data_type": "varchar"},
    "first_name_seen": {
        "type": "first",
        **ORDER,
        "property": "a name",
        "where": {"context": "a.b", "contains": "100%"},
    },
    "last_flag": {"type": "last", **ORDER, "property": "flag", "data_type": "boolean"},
    "last_time": {"type": "last", **ORDER, "property": "time", "data_type": "timestamp"},
    "names": {"type": "unique_list", **ORDER, "property": "products[].name"},
    "name_count": {"type": "unique_list_count", **ORDER, "property": "products[].name"},
    "this_week": {"type": "count", "source": "page", "window": {"this": "week"}},
    "this_month": {
        "type": "has_done",
        **ORDER,
        "window": {"this": "month"},
        "where": {"property": "a", "starts_with": "b"},
    },
    "lately": {
        "type": "count",
        "source": "screen",
        "window": {"last": "36 hours"},
        "where": {"property": "a", "ends_with": "b"},
    },
    "ended": {"type": "count", **ORDER, "where": {"property": "ends", "within_last": "3 days"}},
    "steps": {"type": "funnel", "steps": ["Product Viewed", "Order Completed"], "within": "7 days"},
    "reached": {"type": "funnel", "steps": ["Product Viewed", "Product Added", "Order Completed"]},
    "is_big": {"type": "expression", "sql": "total_max > 100", "data_type": "boolean"},
    "account_orders": {"type": "count", **ORDER, "of": "account"},
}
"""Traits of every type that is spelled otherwise somewhere."""

Said = dict[str, dict[str, list[str]]]
"""By node (a model's or test's unique id; `hooks` for what a run begins and ends with) and build (`first`,
`next`, `test`), its statements in order."""


def record(engine: str) -> Said:
    """Build, test and build again; raises where dbt says that something failed."""
    from dbt.cli.main import dbtRunner

    found: Said = {}
    recorder = Recorder()

    def said(build: str) -> None:
        for node, statements in recorder.said.items():
            place = node if node.startswith(("model.", "test.")) else "hooks"
            found.setdefault(place, {}).setdefault(build, []).extend(statements)
        recorder.said = {}

    with tempfile.TemporaryDirectory() as folder, recorded(engine, recorder):
        os.environ |= ENVIRONMENT
        os.environ |= {
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
            "DBT_TARGET_PATH": f"{folder}/target",
            "DBT_LOG_PATH": f"{folder}/logs",
        }
        project = Path(folder) / "project"
        copy_with_examples(project)
        options = ["--project-dir", str(project), "--profiles-dir", str(project)]
        options += ["--target", engine, "--quiet"]
        options += ["--vars", json.dumps({**SCHEMAS, "as_of": "2011-07-01", "traits": TRAITS})]
        manifest = succeeded(dbtRunner().invoke(["parse", *options]))
        runner = dbtRunner(manifest=manifest)
        once = [*options, "--threads", "1"]
        recorder.columns = declared_columns(manifest)
        recorder.said = {}
        results = succeeded(runner.invoke(["run", *once]))
        said("first")
        succeeded(runner.invoke(["test", *once, "--exclude", "test_type:unit"]))
        said("test")
        recorder.relations = built(manifest, recorder.settled_rules)
        for model in [result.node for result in results if result.node.resource_type == "model"]:
            if names := selected_columns(engine, model.compiled_code):
                recorder.columns[model.schema, model.alias] = names
        succeeded(runner.invoke(["run", *once]))
        said("next")
    return found


@contextmanager
def recorded(engine: str, recorder: Recorder) -> Iterator[None]:
    """dbt's adapter of the engine, with a connection that is the recorder's, and relations that it knows."""
    from dbt.adapters.factory import FACTORY

    FACTORY.load_plugin(engine)
    adapter = FACTORY.get_adapter_class_by_name(engine)
    manager = adapter.ConnectionManager

    def opened(_: Any, connection: Any) -> Any:
        if connection.state != "open":
            connection.handle = handle(engine, recorder, connection)
            connection.state = "open"
        return connection

    def cased(name: str) -> str:
        return name.upper() if engine == "snowflake" else name

    def relations(self: Any, schema_relation: Any) -> list[Any]:
        return [
            self.Relation.create(
                database=cased(schema_relation.database),
                schema=cased(schema),
                identifier=cased(name),
                type=kind,
            )
            for (schema, name), kind in recorder.relations.items()
            if schema.lower() == (schema_relation.schema or "").strip("`").lower()
        ]

    def columns(self: Any, relation: Any) -> list[Any]:
        if engine == "redshift" and not self.connections.get_thread_connection().transaction_open:
            # As the statement would have begun one that is not sent.
            self.connections.begin()
        key = ((relation.schema or "").lower(), (relation.identifier or "").lower())
        made = [self.Column.create(cased(name), "text") for name in recorder.columns.get(key, [])]
        # So that one is added.
        return made[:-1] if key[1] == "sync_runs" else made

    patches: dict[Any, dict[str, Any]] = {
        manager: {"open": classmethod(opened)},
        adapter: {
            "list_relations_without_caching": relations,
            "get_columns_in_relation": columns,
            "list_schemas": lambda *_: [],
            "check_schema_exists": lambda *_: True,
        },
    }
    if engine == "bigquery":
        patches[adapter]["is_replaceable"] = lambda *_: True
    if engine == "databricks":
        patches[manager]["api_client"] = mock.Mock()
        patches[adapter]["get_relation_config"] = lambda *_: mock.MagicMock()
        patches[adapter]["_set_relation_information"] = lambda _, relation: relation
    with ExitStack() as stack:
        for place, own in patches.items():
            for name, new in own.items():
                stack.enter_context(mock.patch.object(place, name, new))
        yield


def handle(engine: str, recorder: Recorder, connection: Any) -> Any:
    """What dbt's adapter of the engine takes for a connection."""
    if engine == "bigquery":
        return BigQueryClient(recorder, connection)
    if engine == "databricks":
        from dbt.adapters.databricks.handle import DatabricksHandle

        return DatabricksHandle(Handle(recorder, connection), is_cluster=False)
    return Handle(recorder, connection)


def succeeded(done: Any) -> Any:
    """What a dbt command gave; raises where it failed."""
    if not done.success:
        results = getattr(done.result, "results", [])
        failed = [
            f"{one.node.unique_id}: {one.message}" for one in results if one.status in ("error", "fail")
        ]
        raise RuntimeError("\n".join(failed) or str(done.exception))
    return done.result


def declared_columns(manifest: Any) -> dict[tuple[str, str], list[str]]:
    """The columns of sources and models by their YAML."""
    nodes = [*manifest.sources.values(), *manifest.nodes.values()]
    return {
        (node.schema, node.identifier if node.resource_type == "source" else node.alias): list(node.columns)
        for node in nodes
        if node.resource_type in ("source", "model")
    }


def selected_columns(engine: str, model: str) -> list[str]:
    """The columns of a model: those of its last step; none where that names not all."""
    query = sqlglot.parse_one(model, dialect=engine)
    assert isinstance(query, exp.Query)
    last = query.ctes[-1].this if query.ctes else query
    names = [column.alias_or_name for column in last.selects]
    return [] if "*" in names else names


def built(manifest: Any, rules_hash: str | None) -> dict[tuple[str, str], str]:
    """The relations that a whole build by the rules of a hash leaves, and whether they are tables."""
    assert rules_hash is not None
    relations = {
        (node.schema, node.alias): "view" if node.config.materialized in ("view", "revetl_view") else "table"
        for node in manifest.nodes.values()
        if node.resource_type in ("model", "seed")
    }
    rules = manifest.nodes["model.revetl.int_revetl__identity_rules"]
    kept = {
        (rules.schema, f"int_revetl__raw_days__{source.name}"): "table"
        for source in manifest.sources.values()
        if source.source_name == "revetl_raw"
    }
    settled = [f"{rules.alias}__settled", f"{rules.alias}__settled_{rules_hash[:12]}"]
    return {**relations, **kept, **{(rules.schema, name): "table" for name in settled}}


if __name__ == "__main__":
    json.dump(record(sys.argv[1]), sys.stdout)
