"""The runner's own tables in the warehouse, as `models/marts/delivery/_sources.yml` names them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import yaml
from sqlglot import exp

from revetl.errors import UsageError, WarehouseError
from revetl.paths import dbt_project_dir
from revetl.sql import statement, table
from revetl.version import __version__
from revetl.warehouse import Warehouse

Say = Callable[[str], None]

VERSION = 4
"""Counts up when a table changes in a way that an older revetl would not understand."""


_ATTEMPTS, _AGAIN_SECONDS = 4, 0.5
_LOST = {
    "sync_state": "Nobody is known to be held by any destination: who left since cannot be removed. Restore "
    "the table, or run `revetl reconcile SYNC --repair` where the destination can be read, or "
    "`revetl sync --full-refresh`, which sends all members and removes nobody.",
    "sync_runs": "The history of runs is lost; syncs go on.",
    "sync_changes": "The history of changes is lost; syncs go on.",
    "sync_rejections": "Which records were rejected is lost; they are sent again.",
    "sync_intents": "What runs cut short were about to send is lost, where it was not booked.",
    "sync_trials": "What runs of one member (--only) could undo is lost.",
    "sync_locks": "Which syncs were running is lost: make sure that none is.",
    "audience_holdouts": "Since when people were held out is lost; who is held out stays the same.",
    "suppressions": "The suppression list is lost: people on it are sent again until it is filled again.",
    "model_builds": "When audiences were built is lost. Run `dbt build`.",
    "audience_changes": "Who entered and left audiences so far is lost.",
    "audience_builds": "Alerts that compare with earlier builds begin again.",
    "alert_states": "Alerts on data that are told already are told once more.",
    "state_version": "",
}
"""What goes with a table, and the way out."""


@cache
def state_columns() -> dict[str, dict[str, str]]:
    """Table to column to type, in order."""
    text = (dbt_project_dir() / "models" / "marts" / "delivery" / "_sources.yml").read_text(encoding="utf-8")
    (source,) = yaml.safe_load(text)["sources"]
    return {
        each["name"]: {column["name"]: column["data_type"] for column in each["columns"]}
        for each in source["tables"]
    }


@dataclass(frozen=True)
class Tables:
    """The runner's tables in `schema` of `database`, always named in full: a DuckDB file may be named as
    the schema is."""

    schema: str
    database: str

    def named(self, name: str) -> exp.Table:
        """One of them by its name."""
        return table(name, self.schema, self.database)

    @property
    def state(self) -> exp.Table:
        return self.named("sync_state")

    @property
    def runs(self) -> exp.Table:
        return self.named("sync_runs")

    @property
    def changes(self) -> exp.Table:
        return self.named("sync_changes")

    @property
    def rejections(self) -> exp.Table:
        return self.named("sync_rejections")

    @property
    def intents(self) -> exp.Table:
        return self.named("sync_intents")

    @property
    def trials(self) -> exp.Table:
        return self.named("sync_trials")

    @property
    def locks(self) -> exp.Table:
        return self.named("sync_locks")

    @property
    def identities(self) -> exp.Table:
        return self.named("sync_identities")

    @property
    def holdouts(self) -> exp.Table:
        return self.named("audience_holdouts")

    @property
    def suppressions(self) -> exp.Table:
        return self.named("suppressions")

    @property
    def builds(self) -> exp.Table:
        return self.named("model_builds")

    def create(self, warehouse: Warehouse, say: Say = lambda _: None) -> None:
        """Make the schema and what is missing of the tables, and bring older ones forward. Where tables of
        this version are missing, somebody dropped them: `say` is given a warning of what is lost with each.
        Raises UsageError when a newer revetl made them."""
        version, missing = self._found(warehouse)
        if version == VERSION:
            for name in missing:
                self._create(warehouse, name, state_columns()[name])
                lost = f"{self.schema}.{name} was gone and is created again, empty. {_LOST.get(name, '')}"
                say(f"Warning: {lost}".rstrip())
            return
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._bring_forward(warehouse)
                return
            except WarehouseError:
                # Another run may be at it: two who make the same at once are refused by some engines.
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(_AGAIN_SECONDS)

    def _bring_forward(self, warehouse: Warehouse) -> None:
        warehouse.create_schema(self.schema)
        for name, columns in state_columns().items():
            self._create(warehouse, name, columns)
        with warehouse.transaction():
            table_of_version = self.named("state_version")
            warehouse.run(exp.Delete(this=table_of_version))
            warehouse.run(insert(table_of_version, {"version": VERSION, "revetl_version": __version__}))

    def _found(self, warehouse: Warehouse) -> tuple[int, list[str]]:
        """The version of the tables that are there (0 without one), and the names of those that are not.
        Raises UsageError for a newer version."""
        names = list(state_columns())
        there = warehouse.catalog([self.named(name) for name in names])
        missing = [name for name, columns in zip(names, there, strict=True) if columns is None]
        return (0 if "state_version" in missing else self._version(warehouse)), missing

    def _create(self, warehouse: Warehouse, name: str, columns: dict[str, str]) -> None:
        kinds = {column: warehouse.type_of(kind) for column, kind in columns.items()}
        if not warehouse.exists(self.named(name)):
            definition = exp.Schema(
                this=self.named(name),
                expressions=[
                    exp.ColumnDef(this=exp.to_identifier(column), kind=kind) for column, kind in kinds.items()
                ],
            )
            warehouse.run(exp.Create(this=definition, kind="TABLE", exists=True))
            return
        there = {column.lower() for column in warehouse.columns(self.named(name))}
        for column, kind in kinds.items():
            if column not in there:
                added = exp.ColumnDef(this=exp.to_identifier(column), kind=kind)
                warehouse.run(exp.Alter(this=self.named(name), kind="TABLE", actions=[added]))

    def _version(self, warehouse: Warehouse) -> int:
        """What `state_version` says. Raises UsageError for a newer version."""
        rows = warehouse.rows(
            statement(
                "select version, revetl_version from :version as v", version=self.named("state_version")
            )
        )
        version, made_by = rows[0] if rows else (0, "")
        self.check(version, made_by)
        return int(version)

    def check(self, version: int, made_by: str) -> None:
        """Raises UsageError when tables of a `version` are newer than this revetl."""
        if version > VERSION:
            raise UsageError(
                f"The tables in schema '{self.schema}' were made by revetl {made_by}, and this is "
                f"{__version__}, which does not understand them. Upgrade revetl here."
            )

    def are_current(self, warehouse: Warehouse) -> bool:
        """Whether they are all there, as this revetl makes them. Raises UsageError when a newer one did."""
        return self._found(warehouse) == (VERSION, [])

    def exist(self, warehouse: Warehouse) -> bool:
        """Whether a run has ever made them. Raises UsageError when a newer revetl did."""
        version, missing = self._found(warehouse)
        return version > 0 or "sync_state" not in missing


def insert(into: exp.Table, values: dict[str, object]) -> exp.Expr:
    """One row."""
    return exp.insert(exp.values([tuple(values.values())]), into, columns=list(values))
