"""The diff, as SQL in the warehouse: an audience against what the destination is known to hold.

It leaves one temporary table, `revetl_changes` (key, row_hash, operation, held, origin), of changed keys
only; `sending` and `leaving` then read whole records for them. Operations: `add`, `update`, `remove`;
`rekey` (the destination knows the person by another identifier now: a remove and an add); `forget` (gone,
but every identifier is held by another member: nothing to send); `rehash` (only the hash's maker changed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from revetl.mapping import FieldMapping, Mapped
from revetl.sql import column, statement, table
from revetl.sync.tables import Tables
from revetl.warehouse import Warehouse

CHANGES = table("revetl_changes")


@dataclass(frozen=True)
class Diff:
    """The statements of one sync's diff on one engine. `hash_by` names what made its row hashes."""

    warehouse: Warehouse
    tables: Tables
    sync: str
    model: exp.Table
    mapping: FieldMapping
    mirror: bool
    has_state: bool

    @property
    def hash_by(self) -> str:
        return f"{self.warehouse.hash_by} {self.mapping.fingerprint}"

    @property
    def key(self) -> exp.Expr:
        return exp.cast(column(self.mapping.key, of="a"), "varchar")

    @property
    def held(self) -> exp.Table | exp.Subquery:
        """The state table; before the first run, an empty one of its shape."""
        if self.has_state:
            return self.tables.state
        empty = statement(
            "select '' as sync, '' as key, 0 as row_hash, '' as hash_by, '' as identifiers, '' as fields, "
            "'' as pending_operation, 0 as pending_hash, '' as pending_run_id where 1 = 0"
        )
        return exp.Subquery(this=empty)

    def probe(self) -> exp.Expr:
        """Rows held, rows whose outcome is unknown, rows hashed by another maker."""
        return statement(
            "select count(*), count(pending_operation), "
            "count(case when row_hash is not null and hash_by <> :hash_by then 1 end) "
            "from :held as s where sync = :sync",
            held=self.held,
            sync=self.sync,
            hash_by=self.hash_by,
        )

    def changes(self, *, uncertain: bool, otherwise: bool, full_refresh: bool) -> exp.Expr:
        """Make `revetl_changes`. `uncertain`: some outcomes are unknown, so that the pending columns have to
        be read; a change that is attempted again keeps the run it was first attempted in as its origin.
        `otherwise`: some rows were hashed by another maker, so that their hashes tell nothing."""
        hashed = [item.of("a") for item in self.mapping.hashed()] or [self.key]
        more = ", pending_operation, pending_hash, pending_run_id" if uncertain else ""
        more += ", hash_by" if otherwise else ""
        operation = (
            "case when a.key is null and h.key is not null then 'remove' when h.key is null then 'add' "
            + ("when h.row_hash is null and h.pending_operation <> 'update' then 'add' " if uncertain else "")
            + "else 'update' end"
        )
        origin = (
            "case when h.row_hash is null and h.pending_operation = (" + operation + ") "
            "and h.pending_hash is not distinct from a.row_hash then h.pending_run_id end"
            if uncertain
            else "cast(null as varchar)"
        )
        differs = "h.key is null or a.row_hash is distinct from h.row_hash"
        differs += " or h.hash_by <> :hash_by" if otherwise else ""
        differs = "true" if full_refresh else differs
        changed = f"a.key is null or {differs}" if self.mirror else f"a.row_hash is not null and ({differs})"
        return statement(
            f"""
            create or replace temporary table :changes as
            with audience as (select :key as key, :row_hash as row_hash from :model as a),
            held as (
                select key, row_hash {more} from :held as s where sync = :sync
            )
            select
                coalesce(a.key, h.key) as key,
                a.row_hash as row_hash,
                {operation} as operation,
                h.key is not null as held,
                {origin} as origin
            from audience as a
            full outer join held as h on a.key = h.key
            where {changed}
            """,  # noqa: S608  the pieces are the constants above
            changes=CHANGES,
            key=self.key,
            row_hash=self.warehouse.row_hash(hashed),
            model=self.model,
            held=self.held,
            sync=self.sync,
            hash_by=self.hash_by,
        )

    def counts(self) -> exp.Expr:
        """Changed keys by operation and whether they are held, with the null and repeated keys in them."""
        return statement(
            "select operation, held, count(*), count(*) - count(key), count(*) - count(distinct key) "
            "from :changes as c group by operation, held",
            changes=CHANGES,
        )

    def rehash(self) -> exp.Expr:
        """Where another maker made the hash, compare the records themselves: the same is no change."""
        return statement(
            """
            update :changes set operation = 'rehash' where operation = 'update' and key in (
                select s.key from :held as s inner join :model as a on :key = s.key
                where s.sync = :sync and s.row_hash is not null and s.hash_by <> :hash_by
                and s.identifiers = :identifiers and s.fields = :fields
            )
            """,
            **self._parts(),
            hash_by=self.hash_by,
        )

    def rekey(self) -> exp.Expr:
        """Where a held person's identifiers changed, the destination knows them by the old ones."""
        return statement(
            """
            update :changes set operation = 'rekey'
            where held and operation in ('add', 'update') and key in (
                select s.key from :held as s inner join :model as a on :key = s.key
                where s.sync = :sync and s.identifiers <> :identifiers
            )
            """,
            **self._parts(),
        )

    def forget(self) -> exp.Expr:
        """A remove of whose identifiers each is held by a current member would take that member out."""
        return statement(
            """
            update :changes set operation = 'forget' where operation = 'remove' and key not in (
                select s.key from :held as s where s.sync = :sync and (:any_free)
            )
            """,
            **self._parts(),
            any_free=exp.or_(*(is_free for _, _, is_free in self._held())),
        )

    def drop_rejected(self) -> exp.Expr:
        """A record that was rejected waits until its row changes."""
        return statement(
            """
            delete from :changes where exists (
                select 1 from :rejections as r
                where r.sync = :sync and r.key = revetl_changes.key and (
                    (r.operation = 'remove' and revetl_changes.operation = 'remove')
                    or (r.operation <> 'remove' and r.row_hash = revetl_changes.row_hash)
                )
            )
            """,
            changes=CHANGES,
            rejections=self.tables.rejections,
            sync=self.sync,
        )

    def sending(self, operation: str, run_id: str, limit: int | None = None) -> exp.Expr:
        """The current records to `add` or `update`, in the spool's columns."""
        return self._limited(
            statement(
                """
                select :operation as operation, c.key as key, c.row_hash as row_hash,
                    :identifiers as identifiers, :fields as fields, coalesce(c.origin, :run_id) as origin
                from :changes as c inner join :model as a on :key = c.key
                where c.operation in (:operation, :also)
                """,
                **self._parts(),
                operation=operation,
                run_id=run_id,
                also="rekey" if operation == "add" else operation,
            ),
            limit,
        )

    def leaving(self, run_id: str, limit: int | None = None) -> exp.Expr:
        """The held records to `remove`, without identifiers that a current member holds."""
        identifiers: exp.Expr = column("identifiers", of="s")
        free: exp.Expr = exp.true()
        # Whom the destination knows by the key alone, nobody else can hold.
        if not self.mapping.by_key:
            kept = {
                name: (exp.Case(ifs=[exp.If(this=is_free, true=text)]), "")
                for name, text, is_free in self._held()
            }
            identifiers = self.warehouse.json_object(kept)
            free = exp.or_(*(is_free for _, _, is_free in self._held()))
        return self._limited(
            statement(
                """
                select 'remove' as operation, c.key as key, s.row_hash as row_hash,
                    :kept as identifiers, s.fields as fields, coalesce(c.origin, :run_id) as origin
                from :changes as c inner join :held as s on s.key = c.key and s.sync = :sync
                where c.operation in ('remove', 'rekey') and (:free)
                """,
                **self._parts(),
                kept=identifiers,
                free=free,
                run_id=run_id,
            ),
            limit,
        )

    def forgotten(self) -> exp.Expr:
        """The keys to drop from the state, once the members who hold their identifiers are delivered."""
        return statement(
            """
            select operation, key, row_hash, '' as identifiers, '' as fields, '' as origin
            from :changes as c where operation = 'forget'
            """,
            changes=CHANGES,
        )

    def dismiss(self) -> exp.Expr:
        """Drop the rejections of people who left the audience and whom the destination never took."""
        return statement(
            """
            delete from :rejections where sync = :sync
            and key not in (select :key from :model as a where :key is not null)
            and key not in (select s.key from :held as s where s.sync = :sync)
            """,
            **self._parts(),
            rejections=self.tables.rejections,
        )

    def settle(self) -> exp.Expr:
        """Write the new hashes of `rehash`: it needs no request."""
        return statement(
            """
            update :held set hash_by = :hash_by, row_hash = (
                select c.row_hash from :changes as c where c.key = sync_state.key
            )
            where sync = :sync and key in (select key from :changes as c where c.operation = 'rehash')
            """,
            **self._parts(),
            hash_by=self.hash_by,
        )

    def _parts(self) -> dict[str, object]:
        return {
            "changes": CHANGES,
            "held": self.held,
            "model": self.model,
            "key": self.key,
            "sync": self.sync,
            "identifiers": self._json(self.mapping.identifiers),
            "fields": self._json(self.mapping.fields),
        }

    def _json(self, items: Sequence[Mapped]) -> exp.Expr:
        return self.warehouse.json_object({item.name: (item.of("a"), item.type) for item in items})

    def _held(self) -> list[tuple[str, exp.Expr, exp.Expr]]:
        """Each identifier's name, its recorded text in the state row `s`, and whether no member holds it."""
        found: list[tuple[str, exp.Expr, exp.Expr]] = []
        for item in self.mapping.identifiers:
            text = self.warehouse.json_text(column("identifiers", of="s"), item.name)
            is_free = statement(
                ":text is not null and :text not in "
                "(select cast(:value as varchar) from :model as a where :value is not null)",
                text=text,
                value=item.of("a"),
                model=self.model,
            )
            found.append((item.name, text, exp.paren(is_free)))
        return found

    @staticmethod
    def _limited(query: exp.Expr, limit: int | None) -> exp.Expr:
        if limit is None or not isinstance(query, exp.Select):
            return query
        return query.limit(limit)
