"""Compare the members of a destination with the state of a sync, as SQL in the warehouse.

The members read back are loaded into a temporary table, `revetl_there`; the differences go to another,
`revetl_drift` (kind, key, identifiers). Kinds: `missing`, in the state but not at the destination;
`different`, at the destination with other field values; `extra`, at the destination but in neither the state
nor the audience. Two cases are not drift, because the next run settles them: a row whose last request got no
response, and a member of both the audience and the destination who is not in the state yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlglot import exp

from revetl.destinations.base.destination import Destination
from revetl.mapping.fields import MappedField
from revetl.project.workspace import Sync
from revetl.sync.plan.diff import Diff
from revetl.sync.readback import SCHEMA, ReadBack
from revetl.sync.state import leases
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import (
    column,
    query,
    statement,
    table,
)

KINDS = ("missing", "different", "extra")
MODES = ("mirror", "upsert", "update")
"""Modes in which the members of the destination match the state. In the others they don't: `insert` ignores
existing records, `archive` keeps former members with other field values, and events have no members."""

_THERE = table("revetl_there")
_PAGES = table("revetl_pages")
_MATCHED = table("revetl_matched")
_DRIFT = table("revetl_drift")
_LOADED_ROWS = 50_000


@dataclass(frozen=True)
class Example:
    """An example of drift: the audience's key, the destination's identifiers, and for `different` each field
    with its value in the state and at the destination, as text."""

    key: str
    identifiers: Mapping[str, Any]
    fields: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Drift:
    """The differences between the state and the `read` members of a destination.

    `fields` counts the members with a different value by field. `unread` names the fields that the
    destination returns for no member; they are not compared."""

    read: int
    missing: int = 0
    different: int = 0
    extra: int = 0
    fields: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    examples: Mapping[str, tuple[Example, ...]] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether anything differs."""
        return bool(self.missing or self.different or self.extra)


@dataclass(frozen=True)
class Comparison:
    """Compares one sync's state with the members read back. `find` writes the drift to a temporary table;
    `mark` and `adopt` read it."""

    diff: Diff
    sync: Sync
    destination: Destination
    there: ReadBack

    def find(self, examples: int) -> Drift:
        """Compare, and return the drift with up to `examples` of each kind."""
        self._load()
        run = self.diff.warehouse.run
        self.diff.warehouse.temporary(_MATCHED, self._match())
        self.diff.warehouse.temporary(_DRIFT, self._missing())
        run(self._different())
        run(self._extra())
        rows = self.diff.warehouse.rows(
            statement("select kind, count(*) from :drift as d group by kind", drift=_DRIFT)
        )
        counts: dict[str, int] = dict(rows)
        return Drift(
            read=self.there.members,
            **counts,
            fields=self._by_field() if counts.get("different") else {},
            unread=tuple(item.name for item in self._compared if item.name not in self.there.fields),
            examples={kind: self._examples(kind, examples) for kind in KINDS if counts.get(kind)},
        )

    def mark(self, repair_id: str) -> dict[str, int]:
        """Update the state for missing and different members, and return the count of each.

        A missing member is deleted from the state, so the next run adds them if they are in the audience. A
        different member gets a pending update, as after an update without a response, so the next run sends
        it again. Members with an open rejection are left out, because the next run would not send them. The
        caller owns the transaction.
        """
        diff, parts = self.diff, self._parts(repair_id)
        diff.warehouse.run(
            statement(
                "delete from :drift where kind = 'different' "
                "and key in (select r.key from :rejections as r where r.sync = :sync)",
                **parts,
            )
        )
        diff.warehouse.run(
            statement(
                "delete from :state where sync = :sync "
                "and key in (select d.key from :drift as d where d.kind = 'missing')",
                **parts,
            )
        )
        diff.warehouse.run(
            statement(
                """
                update :state set row_hash = null, pending_operation = 'update', pending_hash = row_hash,
                    pending_run_id = :repair_id
                where sync = :sync and key in (select d.key from :drift as d where d.kind = 'different')
                """,
                **parts,
            )
        )
        return {kind: self._record(kind, parts) for kind in ("missing", "different")}

    def adopt(self, repair_id: str) -> int:
        """Insert the extra members into the state, as adds without a response, and return their count.

        They aren't in the audience, so the next run removes them like any member who left: with the same
        guards, write-ahead log and acknowledgement. They have no audience key, so the identifier at the
        destination is used instead. Their field values are not stored. The caller owns the transaction.
        """
        parts = self._parts(repair_id)
        self.diff.warehouse.run(
            statement(
                """
                insert into :state (
                    sync, key, hash_by, identifiers, fields, pending_operation, pending_run_id, presence
                )
                select :sync, d.key, :hash_by, d.identifiers, '{}', 'add', :repair_id, 'member'
                from :drift as d where d.kind = 'extra'
                """,
                **parts,
                hash_by=self.diff.hash_by,
            )
        )
        return self._record("extra", parts)

    def _record(self, kind: str, parts: Mapping[str, object]) -> int:
        """Add the marked members to `sync_changes`, which is the history of each person."""
        operation, reason = {
            "missing": ("add", "no longer at the destination"),
            "different": ("update", "the destination has other field values"),
            "extra": ("remove", "at the destination, but not sent by this sync"),
        }[kind]
        self.diff.warehouse.run(
            statement(
                """
                insert into :changes (run_id, sync, key, operation, cause, outcome, reason, changed_at)
                select :repair_id, :sync, d.key, :operation, :kind, 'unknown', :reason, :now
                from :drift as d where d.kind = :kind
                """,
                **parts,
                operation=operation,
                kind=kind,
                reason=reason,
                now=leases.now(),
            )
        )
        ((count,),) = self.diff.warehouse.rows(
            statement("select count(*) from :drift as d where d.kind = :kind", drift=_DRIFT, kind=kind)
        )
        return int(count)

    def _parts(self, repair_id: str) -> dict[str, object]:
        tables = self.diff.tables
        return {
            "state": tables.state,
            "changes": tables.changes,
            "rejections": tables.rejections,
            "drift": _DRIFT,
            "sync": self.diff.sync,
            "repair_id": repair_id,
        }

    def _load(self) -> None:
        warehouse = self.diff.warehouse
        warehouse.load(_THERE, SCHEMA.empty_table())
        insert = statement(
            "insert into :there select place, identifiers, fields from :pages as p",
            there=_THERE,
            pages=_PAGES,
        )
        for pages in self.there.tables(_LOADED_ROWS):
            warehouse.load(_PAGES, pages)
            warehouse.run(insert)

    def _match(self) -> exp.Query:
        """Match state rows with members of the destination by any identifier."""
        matches = [
            statement(
                "select s.key as key, t.place as place from :held as s "
                "inner join :there as t on :ours = :theirs where s.sync = :sync",
                held=self.diff.held,
                there=_THERE,
                sync=self.diff.sync,
                ours=self.diff.warehouse.json_text(column("identifiers", of="s"), item.name),
                theirs=self.diff.warehouse.json_text(column("identifiers", of="t"), item.name),
            )
            for item in self.diff.mapping.identifiers
        ]
        found = matches[0] if len(matches) == 1 else exp.union(*matches)
        return query("select distinct m.key, m.place from :found as m", found=exp.Subquery(this=found))

    def _missing(self) -> exp.Query:
        return query(
            """
            select cast('missing' as varchar) as kind, s.key as key, s.identifiers as identifiers
            from :held as s
            where s.sync = :sync and s.row_hash is not null
            and not exists (select 1 from :matched as m where m.key = s.key)
            """,
            held=self.diff.held,
            matched=_MATCHED,
            sync=self.diff.sync,
        )

    def _different(self) -> exp.Expr:
        joined = self._joined()
        joined = joined.select(
            exp.alias_(exp.convert("different"), "kind"), column("key", "s"), column("identifiers", "s")
        )
        touched = exp.or_(exp.false(), *(differs for _, _, differs in self._differences().values()))
        query = joined.where(touched).distinct()
        return statement("insert into :drift select * from :query as d", drift=_DRIFT, query=query.subquery())

    def _joined(self) -> exp.Select:
        """Join the state rows of current members (`s`) with the members read back (`t`). Former members are
        left out: they are removed whatever their field values are."""
        joined = statement(
            """
            select from :held as s
            inner join :matched as m on m.key = s.key
            inner join :there as t on t.place = m.place
            where s.sync = :sync and s.row_hash is not null and t.fields is not null
            and s.key in (select :key from :model as a where :key is not null)
            """,
            held=self.diff.held,
            matched=_MATCHED,
            there=_THERE,
            sync=self.diff.sync,
            key=self.diff.key,
            model=self.diff.members.relation,
        )
        assert isinstance(joined, exp.Select)
        return joined

    @property
    def _compared(self) -> list[MappedField]:
        """The fields to compare; not those of `set_if_empty`, where an existing value is kept."""
        config = self.sync.config
        return [item for item in self.diff.mapping.fields if item.name not in config.set_if_empty]

    def _differences(self) -> dict[str, tuple[exp.Expr, exp.Expr, exp.Expr]]:
        """Map each field to the value sent (`s`), the value read back (`t`), and whether they differ."""
        found: dict[str, tuple[exp.Expr, exp.Expr, exp.Expr]] = {}
        for item in self._compared:
            if item.name not in self.there.fields:
                continue
            ours = self.diff.warehouse.json_text(column("fields", of="s"), item.name)
            theirs = self.diff.warehouse.json_text(column("fields", of="t"), item.name)
            if self.sync.config.nulls == "clear" and self.destination.cleared is not None:
                ours = exp.func("coalesce", ours, exp.convert(str(self.destination.cleared)))
            differs = ":ours is distinct from :theirs"
            if self.sync.config.nulls == "skip":
                differs += " and :ours is not null"
            if item.type.upper().startswith(("DOUBLE", "FLOAT", "DECIMAL")):
                # 12.50 equals 12.5. The texts are compared first: a bigint has more digits than a double.
                differs += " and coalesce(try_cast(:ours as double) <> try_cast(:theirs as double), true)"
            test = exp.paren(statement(differs, ours=ours, theirs=theirs))
            found[item.name] = (ours, theirs, test)
        return found

    def _extra(self) -> exp.Expr:
        """Insert members of the destination who share no identifier with the state or a current member."""
        mapping, warehouse = self.diff.mapping, self.diff.warehouse
        names = {
            item.name: warehouse.json_text(column("identifiers", of="t"), item.name)
            for item in mapping.identifiers
        }
        held = [
            statement(
                ":theirs in (select cast(:value as varchar) from :model as a where :value is not null)",
                theirs=names[item.name],
                value=self.diff.identifiers.sent_of(item),
                model=self.diff.model,
            )
            for item in mapping.identifiers
        ]
        key = names[mapping.identifiers[0].name] if mapping.by_key else column("identifiers", of="t")
        return statement(
            """
            insert into :drift
            select 'extra' as kind, :key as key, min(t.identifiers) as identifiers from :there as t
            where not exists (select 1 from :matched as m where m.place = t.place)
            and not coalesce(:held, false)
            and :key not in (select s.key from :state as s where s.sync = :sync)
            group by 2
            """,
            drift=_DRIFT,
            there=_THERE,
            matched=_MATCHED,
            state=self.diff.held,
            sync=self.diff.sync,
            key=key,
            held=exp.paren(exp.or_(*(exp.func("coalesce", each, exp.false()) for each in held))),
        )

    def _by_field(self) -> dict[str, int]:
        differences = self._differences()
        counted = [
            exp.func(
                "count",
                exp.Distinct(expressions=[exp.Case(ifs=[exp.If(this=test, true=column("key", "s"))])]),
            )
            for _, _, test in differences.values()
        ]
        (counts,) = self.diff.warehouse.rows(self._joined().select(*counted))
        found = {name: int(count) for name, count in zip(differences, counts, strict=True) if count}
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    def _examples(self, kind: str, most: int) -> tuple[Example, ...]:
        rows = self.diff.warehouse.rows(
            statement(
                "select d.key, d.identifiers from :drift as d where d.kind = :kind order by 1 limit :n",
                drift=_DRIFT,
                kind=kind,
                n=most,
            )
        )
        fields = self._values([key for key, _ in rows]) if rows and kind == "different" else {}
        return tuple(Example(key, _json(text), fields.get(key, {})) for key, text in rows)

    def _values(self, keys: list[str]) -> dict[str, dict[str, tuple[str | None, str | None]]]:
        """Return the fields that differ, with both values, for a few keys."""
        differences = self._differences()
        columns = [part for parts in differences.values() for part in parts]
        query = self._joined().select(column("key", "s"), *columns).where(column("key", "s").isin(*keys))
        found: dict[str, dict[str, tuple[str | None, str | None]]] = {}
        for key, *values in self.diff.warehouse.rows(query):
            triples = zip(differences, values[::3], values[1::3], values[2::3], strict=True)
            found.setdefault(key, {}).update(
                {name: (ours, theirs) for name, ours, theirs, differs in triples if differs}
            )
        return found


def disown(warehouse: Warehouse, tables: StateTables, sync: str, repair_id: str) -> None:
    """Revert `adopt` for members who were not removed because a guard stopped the run: a later run must not
    remove them without being asked to. The caller owns the transaction."""
    parts = {"state": tables.state, "changes": tables.changes, "sync": sync, "repair_id": repair_id}
    warehouse.run(
        statement(
            "delete from :state where sync = :sync and pending_run_id = :repair_id "
            "and pending_operation = 'add'",
            **parts,
        )
    )
    warehouse.run(statement("delete from :changes where run_id = :repair_id and cause = 'extra'", **parts))


def _json(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
