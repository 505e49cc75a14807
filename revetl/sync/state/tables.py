"""The state tables in the warehouse, which `models/marts/delivery/_sources.yml` declares."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import orjson
from sqlglot import exp

from revetl._version import __version__
from revetl.errors import AccessDenied, UsageError, WarehouseError
from revetl.local.package_yaml import read_package_yaml
from revetl.local.paths import dbt_project_dir
from revetl.project.workspace import Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.foreign_tables import check_ours
from revetl.warehouse.templates import column, statement, table

Say = Callable[[str], None]

VERSION = 6
"""The version of the state tables; incremented by changes that an older revetl cannot read."""

_FORMER = "revetl"

_ATTEMPTS, _AGAIN_SECONDS = 4, 0.5
_LOST = {
    "sync_state": "The members of every destination are unknown: those who left since cannot be removed. "
    "Restore the table, or run `revetl reconcile SYNC --repair` if the destination can be read back, or "
    "`revetl sync --full-refresh`, which sends all members and removes no one.",
    "sync_runs": "The history of runs is lost; syncs continue.",
    "sync_changes": "The history of changes is lost; syncs continue.",
    "sync_rejections": "The list of rejected records is lost; they are sent again.",
    "sync_intents": "Unrecorded records of interrupted runs are lost.",
    "replays": "Interrupted replays cannot be resumed: start them again.",
    "replay_ranges": "The record of replayed events is lost: another replay may send events twice if the "
    "destination does not deduplicate them.",
    "replay_rejections": "The list of rejected events of replays is lost.",
    "sync_trials": "Earlier runs of one member (--only) can no longer be undone.",
    "sync_locks": "The locks of running syncs are lost: make sure that no sync is running.",
    "audience_holdouts": "The start times of holdouts are lost; the holdout groups stay the same.",
    "suppressions": "The suppression list is lost: people on it are sent again until it is restored.",
    "privacy_requests": "The open erasure requests are lost: make them again.",
    "privacy_identifiers": "The identifiers of open erasure requests are lost: make the requests again.",
    "privacy_places": "The progress of open erasure requests is lost: make the requests again.",
    "privacy_tombstones": "People suppressed by finished requests are sent again: request their suppression "
    "again.",
    "privacy_receipts": "The receipts of erasures are lost.",
    "model_builds": "The build times of audiences are lost. Run `dbt build`.",
    "audience_changes": "The history of who entered and left audiences is lost.",
    "audience_builds": "Alerts that compare with earlier builds start over.",
    "alert_states": "Open alerts on data are sent once more.",
    "state_version": "",
}
"""What is lost with a table, and what to do about it."""


@cache
def state_columns() -> dict[str, dict[str, str]]:
    """Return the column types by table and column, in order."""
    file = dbt_project_dir() / "models" / "marts" / "delivery" / "_sources.yml"
    (source,) = read_package_yaml(file)["sources"]
    return {
        each["name"]: {column["name"]: column["data_type"] for column in each["columns"]}
        for each in source["tables"]
    }


@dataclass(frozen=True)
class StateTables:
    """The state tables in `schema` of `database`, always fully qualified: a DuckDB file may have the same
    name as the schema."""

    schema: str
    database: str
    former: str | None = None
    """The schema that an older version used by default instead of `schema`."""
    target: str = ""
    """The dbt target that reads and writes them."""

    def named(self, name: str) -> exp.Table:
        """Return a table by name."""
        return table(name, self.schema, self.database)

    def of_this_target(self, alias: str) -> exp.Expr:
        """Return the condition for rows of table `alias` that this target wrote. Rows without a target,
        from an older version, belong to every target."""
        written = exp.func("coalesce", column("target", of=alias), exp.convert(self.target))
        return written.eq(exp.convert(self.target))

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
        """Create the schema and missing tables, and migrate older ones.

        If tables of this version are missing, they were dropped: `say` gets a warning for each, with what is
        lost. Raises UsageError when a newer revetl created them, AccessDenied for a missing privilege."""
        try:
            self._create_all(warehouse, say)
        except AccessDenied as error:
            raise AccessDenied(
                f"{error} Syncs store their state in the schema '{self.schema}' (dbt variable "
                "state_schema): grant the privilege to "
                f"create the schema, or create it and grant USAGE and CREATE on schema {self.schema}."
            ) from error

    def _create_all(self, warehouse: Warehouse, say: Say) -> None:
        version, missing = self._found(warehouse)
        if version == VERSION:
            for name in missing:
                self._create(warehouse, name, state_columns()[name], None)
                lost = f"{self.schema}.{name} was missing; created it again, empty. {_LOST.get(name, '')}"
                say(f"Warning: {lost}".rstrip())
            return
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._bring_forward(warehouse)
                return
            except AccessDenied:
                raise
            except WarehouseError:
                # Another run may be creating the same tables, which some engines refuse.
                if attempt == _ATTEMPTS:
                    raise
                time.sleep(_AGAIN_SECONDS)

    def _bring_forward(self, warehouse: Warehouse) -> None:
        warehouse.create_schema(self.schema)
        wanted = state_columns()
        there = warehouse.catalog([self.named(name) for name in wanted])
        without_target = [
            name
            for (name, columns), found in zip(wanted.items(), there, strict=True)
            if self._create(warehouse, name, columns, found)
        ]
        for name in without_target:
            self._adopt_rows(warehouse, name)
        with warehouse.transaction():
            table_of_version = self.named("state_version")
            warehouse.run(exp.Delete(this=table_of_version))
            warehouse.run(insert(table_of_version, {"version": VERSION, "revetl_version": __version__}))

    def _found(self, warehouse: Warehouse) -> tuple[int, list[str]]:
        """Return the version of the existing tables (0 without one), and the names of missing ones. Raises
        UsageError for a newer version."""
        names = list(state_columns())
        there = warehouse.catalog([self.named(name) for name in names])
        missing = [name for name, columns in zip(names, there, strict=True) if columns is None]
        if "sync_state" in missing and self.former is not None:
            self._check_former(warehouse, self.former)
        return (0 if "state_version" in missing else self._version(warehouse)), missing

    def _check_former(self, warehouse: Warehouse, former: str) -> None:
        """Raise UsageError if an older version stored the state in another schema: the new state would start
        empty, and the members of each destination would be lost. Builds of this version record their target:
        with one, the schema is another target's, named by the project's generate_schema_name."""
        names = ("sync_state", "model_builds")
        state, builds = warehouse.catalog([table(name, former, self.database) for name in names])
        if state is not None and "target" not in {each.lower() for each in builds or ()}:
            raise UsageError(
                f"Schema '{former}' has the state of an older version of revetl, and {self.schema} has none. "
                "To keep using it, set vars.revetl in dbt_project.yml: "
                f"`state_schema: {former}` and `raw_schema: raw`. To start with a new state, set "
                "state_schema to another name."
            )

    def _adopt_rows(self, warehouse: Warehouse, name: str) -> None:
        """Fill a new column `target` with the target that wrote the state. If no sync has run, or syncs of
        several targets have, the target is unknown; rows without one belong to every target."""
        found = warehouse.rows(
            statement("select distinct written_by from :identities as i", identities=self.identities)
        )
        targets = {_target_of(str(written_by)) for (written_by,) in found} - {None}
        if len(targets) == 1:
            update = "update :table set target = :target where target is null"
            warehouse.run(statement(update, table=self.named(name), target=targets.pop()))

    def _create(
        self, warehouse: Warehouse, name: str, columns: dict[str, str], found: dict[str, str] | None
    ) -> bool:
        """Create a table, or add the columns missing in `found`. Return whether `target` was added."""
        kinds = {each: warehouse.type_of(kind) for each, kind in columns.items()}
        if found is None:
            definition = exp.Schema(
                this=self.named(name),
                expressions=[
                    exp.ColumnDef(this=exp.to_identifier(each), kind=kind) for each, kind in kinds.items()
                ],
            )
            warehouse.run(exp.Create(this=definition, kind="TABLE", exists=True))
            return False
        there = {each.lower() for each in found}
        check_ours(self.schema, name, columns, there, "state_schema")
        for each, kind in kinds.items():
            if each not in there:
                added = exp.ColumnDef(this=exp.to_identifier(each), kind=kind)
                warehouse.run(exp.Alter(this=self.named(name), kind="TABLE", actions=[added]))
        return "target" in kinds and "target" not in there

    def _version(self, warehouse: Warehouse) -> int:
        """Return the version in `state_version`. Raises UsageError for a newer version."""
        rows = warehouse.rows(
            statement(
                "select version, revetl_version from :version as v", version=self.named("state_version")
            )
        )
        version, made_by = rows[0] if rows else (0, "")
        self.check(version, made_by)
        return int(version)

    def check(self, version: int, made_by: str) -> None:
        """Raise UsageError when the tables' `version` is newer than this revetl's."""
        if version > VERSION:
            raise UsageError(
                f"The tables in schema '{self.schema}' were created by revetl {made_by}; this is revetl "
                f"{__version__}, which cannot read them. Upgrade revetl."
            )

    def are_current(self, warehouse: Warehouse) -> bool:
        """Whether all tables exist in this version. Raises UsageError when a newer revetl created them."""
        return self._found(warehouse) == (VERSION, [])

    def readable(self, warehouse: Warehouse, *names: str) -> dict[str, exp.Expr]:
        """Return the tables `state`, `runs` or `rejections` as queries with the columns of this version.

        Columns that an older table lacks are null, and a missing table is empty. Nothing is written."""
        columns = {name: state_columns()[f"sync_{name}"] for name in names}
        found = warehouse.catalog([self.named(f"sync_{name}") for name in names])
        there = dict(zip(names, found, strict=True))
        return {name: self._read_as(warehouse, name, columns[name], there[name]) for name in names}

    def _read_as(
        self, warehouse: Warehouse, name: str, columns: dict[str, str], there: dict[str, str] | None
    ) -> exp.Expr:
        relation = self.named(f"sync_{name}")
        known = {each.lower() for each in there or ()}
        if there is not None and columns.keys() <= known:
            return relation
        made = exp.select(
            *(
                column(each)
                if each in known
                else exp.alias_(exp.cast(exp.null(), warehouse.type_of(kind)), each, quoted=True)
                for each, kind in columns.items()
            )
        )
        if there is None:
            one = exp.alias_(exp.Literal.number(1), "nothing")
            return made.from_(exp.select(one).subquery("nothing")).where(statement("1 = 0")).subquery()
        return made.from_(relation).subquery()

    def exist(self, warehouse: Warehouse) -> bool:
        """Whether the tables exist. Raises UsageError when a newer revetl created them."""
        version, missing = self._found(warehouse)
        return version > 0 or "sync_state" not in missing


def state_tables(workspace: Workspace, database: str) -> StateTables:
    """Return the state tables of a project, in the database of its target."""
    former = None if workspace.dbt.variable("state_schema") else _FORMER
    schema = workspace.state_schema
    return StateTables(
        schema, database, None if schema.lower() == former else former, target=workspace.target.name
    )


def _target_of(written_by: str) -> str | None:
    """Return the target in a row of `sync_identities`."""
    try:
        found = orjson.loads(written_by).get("target")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return None if found is None else str(found)


def insert(into: exp.Table, values: dict[str, object]) -> exp.Expr:
    """One row."""
    return exp.insert(exp.values([tuple(values.values())]), into, columns=list(values))
