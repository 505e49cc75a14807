"""The runner's own tables in the warehouse, as `models/marts/delivery/_sources.yml` names them."""

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
"""Counts up when a table changes in a way that an older revetl would not understand."""

_FORMER = "revetl"

_ATTEMPTS, _AGAIN_SECONDS = 4, 0.5
_LOST = {
    "sync_state": "Nobody is known to be held by any destination: who left since cannot be removed. Restore "
    "the table, or run `revetl reconcile SYNC --repair` where the destination can be read, or "
    "`revetl sync --full-refresh`, which sends all members and removes nobody.",
    "sync_runs": "The history of runs is lost; syncs go on.",
    "sync_changes": "The history of changes is lost; syncs go on.",
    "sync_rejections": "Which records were rejected is lost; they are sent again.",
    "sync_intents": "What runs cut short were about to send is lost, where it was not booked.",
    "replays": "Replays that were begun cannot be resumed: begin them again.",
    "replay_ranges": "What replays sent is lost: another replay may send events twice where a destination "
    "does not recognize them.",
    "replay_rejections": "Why events of replays were rejected is lost.",
    "sync_trials": "What runs of one member (--only) could undo is lost.",
    "sync_locks": "Which syncs were running is lost: make sure that none is.",
    "audience_holdouts": "Since when people were held out is lost; who is held out stays the same.",
    "suppressions": "The suppression list is lost: people on it are sent again until it is filled again.",
    "privacy_requests": "Which requests of erasure are open is lost: make them again.",
    "privacy_identifiers": "The identifiers of open requests of erasure are lost: make the requests again.",
    "privacy_places": "What is done of open requests of erasure is lost: make the requests again.",
    "privacy_tombstones": "People suppressed by finished requests are sent again: request their suppression "
    "again.",
    "privacy_receipts": "The receipts of erasures are lost.",
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
    file = dbt_project_dir() / "models" / "marts" / "delivery" / "_sources.yml"
    (source,) = read_package_yaml(file)["sources"]
    return {
        each["name"]: {column["name"]: column["data_type"] for column in each["columns"]}
        for each in source["tables"]
    }


@dataclass(frozen=True)
class StateTables:
    """The runner's tables in `schema` of `database`, always named in full: a DuckDB file may be named as
    the schema is."""

    schema: str
    database: str
    former: str | None = None
    """The schema in which an older version kept what is in `schema` now, where no variable says which."""
    target: str = ""
    """The dbt target that reads and writes them."""

    def named(self, name: str) -> exp.Table:
        """One of them by its name."""
        return table(name, self.schema, self.database)

    def of_this_target(self, alias: str) -> exp.Expr:
        """The condition of rows of a table called `alias` that this target wrote. Rows of an older version
        whose target is not known are every target's."""
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
        """Make the schema and what is missing of the tables, and bring older ones forward. Where tables of
        this version are missing, somebody dropped them: `say` is given a warning of what is lost with each.
        Raises UsageError when a newer revetl made them, AccessDenied for a right that is missing."""
        try:
            self._create_all(warehouse, say)
        except AccessDenied as error:
            raise AccessDenied(
                f"{error} Syncs keep their state in the schema '{self.schema}' (dbt variable "
                "state_schema): grant the right to "
                f"create the schema, or create it and grant USAGE and CREATE on schema {self.schema}."
            ) from error

    def _create_all(self, warehouse: Warehouse, say: Say) -> None:
        version, missing = self._found(warehouse)
        if version == VERSION:
            for name in missing:
                self._create(warehouse, name, state_columns()[name], None)
                lost = f"{self.schema}.{name} was gone and is created again, empty. {_LOST.get(name, '')}"
                say(f"Warning: {lost}".rstrip())
            return
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._bring_forward(warehouse)
                return
            except AccessDenied:
                raise
            except WarehouseError:
                # Another run may be at it: two who make the same at once are refused by some engines.
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
        """The version of the tables that are there (0 without one), and the names of those that are not.
        Raises UsageError for a newer version."""
        names = list(state_columns())
        there = warehouse.catalog([self.named(name) for name in names])
        missing = [name for name, columns in zip(names, there, strict=True) if columns is None]
        if "sync_state" in missing and self.former is not None:
            self._check_former(warehouse, self.former)
        return (0 if "state_version" in missing else self._version(warehouse)), missing

    def _check_former(self, warehouse: Warehouse, former: str) -> None:
        """Raises UsageError where an older version kept the state in another schema: it would begin empty
        here, and who is in each destination would be forgotten. Builds of this version note their target:
        theirs is another target's state, whose schema the project's generate_schema_name calls so."""
        names = ("sync_state", "model_builds")
        state, builds = warehouse.catalog([table(name, former, self.database) for name in names])
        if state is not None and "target" not in {each.lower() for each in builds or ()}:
            raise UsageError(
                f"Schema '{former}' has the state that an older version of revetl kept there, and "
                f"{self.schema} has none. To go on with it, set vars.revetl in dbt_project.yml: "
                f"`state_schema: {former}` and `raw_schema: raw`. To begin a state of its own, set "
                "state_schema to another name."
            )

    def _adopt_rows(self, warehouse: Warehouse, name: str) -> None:
        """Once, when a table gets its column `target`: its rows become those of the target that wrote the
        state. Where no sync has run, or syncs of several targets have, it is not known, and the rows stay
        without one, which are every target's."""
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
        """Create a table, or add the columns that `found`, its present ones, lack. Returns whether the column
        `target` was added."""
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

    def readable(self, warehouse: Warehouse, *names: str) -> dict[str, exp.Expr]:
        """By `state`, `runs` or `rejections`, the table with the columns of this version, to be read: what a
        table of an older version lacks is null, and a table that is missing is empty. Nothing is written."""
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
        """Whether a run has ever made them. Raises UsageError when a newer revetl did."""
        version, missing = self._found(warehouse)
        return version > 0 or "sync_state" not in missing


def state_tables(workspace: Workspace, database: str) -> StateTables:
    """The tables of a project, in the database that its target opens."""
    former = None if workspace.dbt.variable("state_schema") else _FORMER
    schema = workspace.state_schema
    return StateTables(
        schema, database, None if schema.lower() == former else former, target=workspace.target.name
    )


def _target_of(written_by: str) -> str | None:
    """The target that a row of `sync_identities` names."""
    try:
        found = orjson.loads(written_by).get("target")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return None if found is None else str(found)


def insert(into: exp.Table, values: dict[str, object]) -> exp.Expr:
    """One row."""
    return exp.insert(exp.values([tuple(values.values())]), into, columns=list(values))
