"""The runner's own tables in the warehouse; docs/architecture.md describes them for analysts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from revetl.sql import statement, table
from revetl.warehouse import Warehouse

_COLUMNS = {
    # What each destination is known to hold. One row a sync and key. `row_hash` is null where the last
    # attempt's outcome is unknown; the pending columns then say what was attempted.
    "sync_state": {
        "sync": "varchar",
        "key": "varchar",
        "row_hash": "bigint",
        "hash_by": "varchar",
        "identifiers": "varchar",
        "fields": "varchar",
        "acknowledged_at": "timestamp",
        "run_id": "varchar",
        "pending_operation": "varchar",
        "pending_hash": "bigint",
        "pending_run_id": "varchar",
    },
    # One row a run. planned = delivered + rejected + unsent, an operation at a time.
    "sync_runs": {
        "run_id": "varchar",
        "sync": "varchar",
        "audience": "varchar",
        "destination": "varchar",
        "mode": "varchar",
        "status": "varchar",
        "started_at": "timestamp",
        "finished_at": "timestamp",
        "audience_rows": "bigint",
        "planned_add": "bigint",
        "planned_update": "bigint",
        "planned_remove": "bigint",
        "delivered_add": "bigint",
        "delivered_update": "bigint",
        "delivered_remove": "bigint",
        "rejected": "bigint",
        "unsent": "bigint",
        "forced": "varchar",
        "error": "varchar",
    },
    # Records a destination would not take, until it does. One row a sync and key.
    "sync_rejections": {
        "sync": "varchar",
        "key": "varchar",
        "operation": "varchar",
        "row_hash": "bigint",
        "reason": "varchar",
        "attempts": "bigint",
        "identifiers": "varchar",
        "fields": "varchar",
        "first_rejected_at": "timestamp",
        "last_rejected_at": "timestamp",
        "run_id": "varchar",
    },
    # Who is running a sync now. One row a sync.
    "sync_locks": {
        "sync": "varchar",
        "run_id": "varchar",
        "host": "varchar",
        "process": "varchar",
        "acquired_at": "timestamp",
        "expires_at": "timestamp",
    },
}


@dataclass(frozen=True)
class Tables:
    """The runner's tables in `schema` of `database`, always named in full: a DuckDB file may be named as
    the schema is."""

    schema: str
    database: str

    @property
    def state(self) -> exp.Table:
        return table("sync_state", self.schema, self.database)

    @property
    def runs(self) -> exp.Table:
        return table("sync_runs", self.schema, self.database)

    @property
    def rejections(self) -> exp.Table:
        return table("sync_rejections", self.schema, self.database)

    @property
    def locks(self) -> exp.Table:
        return table("sync_locks", self.schema, self.database)

    def create(self, warehouse: Warehouse) -> None:
        """Make the schema and the tables that are missing."""
        warehouse.run(
            statement("create schema if not exists :schema", schema=table(self.schema, self.database))
        )
        for name, columns in _COLUMNS.items():
            definition = exp.Schema(
                this=table(name, self.schema, self.database),
                expressions=[
                    exp.ColumnDef(this=exp.to_identifier(column), kind=exp.DataType.build(kind))
                    for column, kind in columns.items()
                ],
            )
            warehouse.run(exp.Create(this=definition, kind="TABLE", exists=True))

    def exist(self, warehouse: Warehouse) -> bool:
        """Whether a run has ever made them."""
        return warehouse.exists(self.runs)


def insert(into: exp.Table, values: dict[str, object]) -> exp.Expr:
    """One row."""
    return exp.insert(exp.values([tuple(values.values())]), into, columns=list(values))
