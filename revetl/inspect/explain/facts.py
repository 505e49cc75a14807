"""The warehouse's facts about a person's keys at one sync, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlglot import exp

from revetl.inspect.explain.person import among
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.eligibility import LEFT_OUT, alike
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement

Row = Mapping[str, Any]
HISTORY = 5


class SyncRows:
    """The rows of some keys at one sync. Tables and columns that an older revetl didn't create count as
    empty."""

    def __init__(self, sync: Sync, keys: tuple[str, ...], warehouse: Warehouse, tables: StateTables) -> None:
        self.sync, self.keys, self.warehouse, self.tables = sync, keys, warehouse, tables

    def held(self) -> dict[str, Row]:
        """Return the destination state by key."""
        return {row["key"]: row for row in self._rows(self.tables.state, self._mine())}

    def rejections(self) -> dict[str, Row]:
        """Return the rejections by key."""
        return {row["key"]: row for row in self._rows(self.tables.rejections, self._mine())}

    def history(self) -> dict[str, list[Row]]:
        """Return the last changes by key, latest first."""
        found: dict[str, list[Row]] = {key: [] for key in self.keys}
        latest = [exp.Ordered(this=column(name), desc=True) for name in ("changed_at", "run_id")]
        for row in self._rows(self.tables.changes, self._mine(), latest):
            if len(found[row["key"]]) < HISTORY:
                found[row["key"]].append(row)
        return found

    def last_run(self) -> Row | None:
        """Return the last run of the sync."""
        mine = column("sync").eq(self.sync.name)
        latest = [exp.Ordered(this=column(name), desc=True) for name in ("started_at", "run_id")]
        rows = self._rows(self.tables.runs, mine, latest, limit=1)
        return rows[0] if rows else None

    def left_out(self, diff: Diff) -> dict[str, tuple[str, Any]]:
        """Return by key why the sync leaves it out, and since when if known."""
        if not diff.members.chosen:
            return {}
        rows = self.warehouse.rows(
            statement(
                "select key, cause, since from :left_out as o where :mine",
                left_out=LEFT_OUT,
                mine=among(column("key", of="o"), self.keys),
            )
        )
        return {key: (cause, since) for key, cause, since in rows}

    def members(self, diff: Diff) -> dict[str, tuple[str, str]]:
        """Return by key the audience's current identifiers and fields, as JSON, whether sent or not; call it
        after computing the diff of these keys."""
        rows = self.warehouse.rows(
            statement(
                "select :key, :identifiers, :fields from :model as a where :mine",
                key=diff.key,
                identifiers=diff.identifiers.json_of_known(),
                fields=diff.json_of_fields(),
                model=diff.identifiers.as_sent(self.sync.audience.relation),
                mine=among(column(self.sync.audience.key, of="a"), self.keys),
            )
        )
        return {key: (identifiers, values) for key, identifiers, values in rows}

    def listed_in(self, workspace: Workspace, cause: str) -> dict[str, list[str]]:
        """Return by key the models that exclude it, or the audiences that claim it."""
        lists: list[tuple[str, exp.Table, str, str]] = []
        key = self.sync.audience.key
        if cause == "claimed":
            audiences = workspace.before_in_priority(self.sync)
            lists = [(each.name, each.relation, each.key, key) for each in audiences]
        else:
            for index, each in enumerate(self.sync.config.exclude):
                relation, own = workspace.list_of_people(each.model, f"{self.sync.place}.exclude.{index}")
                on = each.on or key
                lists.append((each.model, relation, each.column or own or on, on))
        found: dict[str, list[str]] = {}
        # As `exclude` and `priority` compare them.
        compared = alike if cause == "excluded" else lambda value: exp.cast(value, "varchar")
        for name, relation, listed, on in lists:
            rows = self.warehouse.rows(
                statement(
                    "select distinct cast(:key as varchar) from :model as a inner join :relation as x "
                    "on :listed = :mine where :of_keys",
                    key=column(key, of="a"),
                    model=self.sync.audience.relation,
                    relation=relation,
                    listed=compared(column(listed, of="x")),
                    mine=compared(column(on, of="a")),
                    of_keys=among(column(key, of="a"), self.keys),
                )
            )
            for (each_key,) in rows:
                found.setdefault(each_key, []).append(name)
        return found

    def _mine(self) -> exp.Expr:
        return exp.and_(column("sync").eq(self.sync.name), among(column("key"), self.keys))

    def _rows(
        self, of: exp.Table, where: exp.Expr, order: list[exp.Ordered] | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        if not self.warehouse.exists(of):
            return []
        names = list(self.warehouse.columns(of))
        query = exp.select(*(column(name) for name in names)).from_(of.copy()).where(where)
        if order:
            query = query.order_by(*order)
        if limit:
            query = query.limit(limit)
        return [dict(zip(names, row, strict=True)) for row in self.warehouse.rows(query)]
