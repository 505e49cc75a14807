"""What a destination holds against what the state says that it holds, as SQL in the warehouse.

The members that were read back are in one temporary table, `revetl_there`, and what differs in another,
`revetl_drift` (kind, key, identifiers). Kinds: `missing`, in the state and not there; `different`, there with
other fields; `extra`, there and known to neither the state nor the audience. A row whose last attempt was
never answered is none of these: the next run settles it. Nor is someone there whom the audience has and the
state does not: the next run adds them.
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
"""Modes in which the destination holds whom the state has. An insert leaves alone who is there, an archived
member stays there under other fields, and of events nobody is a member."""

_THERE = table("revetl_there")
_PAGES = table("revetl_pages")
_MATCHED = table("revetl_matched")
_DRIFT = table("revetl_drift")
_LOADED_ROWS = 50_000


@dataclass(frozen=True)
class Example:
    """One person of a drift: the audience's key, what the destination knows them by, and of who is
    `different`, field to (value in the state, value there), as text."""

    key: str
    identifiers: Mapping[str, Any]
    fields: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Drift:
    """What differs between the state and a destination that holds `read` members. `fields` is how often each
    differs; `unread` names those that the destination gives nobody's value of, which are not compared."""

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
    """The statements that compare one sync's state with what was read back. `find` leaves the drift in the
    warehouse's temporary table, from which `mark` and `adopt` take it."""

    diff: Diff
    sync: Sync
    destination: Destination
    there: ReadBack

    def find(self, examples: int) -> Drift:
        """Compare, and give the drift with up to `examples` of each kind."""
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
        """Have the state say what is known of the missing and the different, and give how many of each.

        A missing person is held no longer, so the next run adds them if the audience has them. Of a different
        one it is uncertain what is there, as of an update without an answer, so the next run sends it again;
        not where a rejection waits, for then it would not. In a transaction of the caller.
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
        """Have the state hold the extra people, as adds without an answer, and give how many.

        They are in no audience, so the next run finds that they left and removes them like anybody who did:
        by the same guards, journal and acknowledgement. Without a key of the audience, what the destination
        knows them by takes its place. Nothing of their fields is kept. In a transaction of the caller.
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
        """Book what was marked among the changes, for a person's history."""
        operation, reason = {
            "missing": ("add", "it is not there any more"),
            "different": ("update", "other fields are there"),
            "extra": ("remove", "it is there, and was not sent from here"),
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
        """Who of the state is whom there: by any identifier."""
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
        """State rows `s` of current members with what is there of them, `t`. Who left is to be removed,
        whatever their fields are there."""
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
        """The fields that hold there what was sent; of who has a value, `set_if_empty` keeps that."""
        config = self.sync.config
        return [item for item in self.diff.mapping.fields if item.name not in config.set_if_empty]

    def _differences(self) -> dict[str, tuple[exp.Expr, exp.Expr, exp.Expr]]:
        """Field to the value that was sent to `s`, the one that `t` has, and whether these are two."""
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
                # 12.50 and 12.5 are one number; a bigint has more digits than a double.
                differs += " and coalesce(try_cast(:ours as double) <> try_cast(:theirs as double), true)"
            test = exp.paren(statement(differs, ours=ours, theirs=theirs))
            found[item.name] = (ours, theirs, test)
        return found

    def _extra(self) -> exp.Expr:
        """Who is there under no identifier that the state or a current member has."""
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
        """Of a few keys, the fields that differ with both values."""
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
    """Take back what `adopt` did, of people who are still there: a guard kept them from being removed, and a
    later run is not to do it unasked. In a transaction of the caller."""
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
