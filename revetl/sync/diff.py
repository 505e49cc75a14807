"""The diff, as SQL in the warehouse: an audience against what the destination is known to hold.

It leaves one temporary table, `revetl_changes` (key, row_hash, operation, held, origin, cause, caused_at), of
changed keys only; `changed` then reads whole records for them. Operations: `add`, `update`, `remove`; `rekey`
(the destination knows the person by another identifier now: a remove and an add); `forget` (gone, but every
identifier is held by another member: nothing to send); `rehash` (only the hash's maker, or names that are
mapped, changed); `wait` (refused before, and the same still).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from revetl.mapping import FieldMapping
from revetl.sql import column, statement, table
from revetl.sync.membership import LEFT_OUT, Members, alike, suppressed_by
from revetl.sync.tables import Tables
from revetl.warehouse import Warehouse

CHANGES = table("revetl_changes")


@dataclass(frozen=True)
class Diff:
    """The statements of one sync's diff on one engine. `hash_by` names what made its row hashes."""

    warehouse: Warehouse
    tables: Tables
    sync: str
    members: Members
    mapping: FieldMapping
    mode: str
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

    @property
    def removes(self) -> bool:
        """Whether who left is taken out."""
        return self.mode in ("mirror", "archive")

    @property
    def once(self) -> bool:
        """Whether a key is sent once and never again."""
        return self.mode in ("insert", "events")

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
        operation = self._operation(uncertain)
        origin = (
            f"case when h.row_hash is null and h.pending_operation = ({operation}) "
            "and h.pending_hash is not distinct from a.row_hash then h.pending_run_id end"
            if uncertain
            else "cast(null as varchar)"
        )
        left = "coalesce(o.cause, 'left')" if self.members.left_out else "'left'"
        since = "o.since" if self.members.left_out else "cast(null as timestamp)"
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
                {origin} as origin,
                case
                    when a.key is null and h.key is not null then {left}
                    when h.key is null then 'new'
                    when h.row_hash is null then 'unknown'
                    when a.row_hash = h.row_hash then 'resent'
                    else 'changed'
                end as cause,
                case when a.key is null then {since} end as caused_at
            from audience as a
            full outer join held as h on a.key = h.key
            {"left join :left_out as o on o.key = h.key" if self.members.left_out else ""}
            where {self._differs(otherwise, full_refresh)}
            """,  # noqa: S608  the pieces are constants of this module
            changes=CHANGES,
            key=self.key,
            row_hash=self.warehouse.row_hash(hashed),
            model=self.members.relation,
            held=self.held,
            left_out=LEFT_OUT,
            sync=self.sync,
            hash_by=self.hash_by,
        )

    def _operation(self, uncertain: bool) -> str:
        new = "update" if self.mode == "update" else "add"
        pending = (
            f"when h.row_hash is null and h.pending_operation <> 'update' then '{new}'" if uncertain else ""
        )
        again = "add" if self.once else "update"
        return (
            "case when a.key is null and h.key is not null then 'remove' "
            f"when h.key is null then '{new}' {pending} else '{again}' end"
        )

    def _differs(self, otherwise: bool, full_refresh: bool) -> str:
        differs = "h.key is null or a.row_hash is distinct from h.row_hash"
        if self.once:
            differs = "h.key is null or h.row_hash is null"
        elif otherwise:
            differs += " or h.hash_by <> :hash_by"
        if full_refresh:
            differs = "true"
        return f"a.key is null or {differs}" if self.removes else f"a.row_hash is not null and ({differs})"

    def counts(self) -> exp.Expr:
        """Changed keys by operation and whether they are held, with the null and repeated keys in them."""
        return statement(
            "select operation, held, count(*), count(*) - count(key), count(*) - count(distinct key) "
            "from :changes as c group by operation, held",
            changes=CHANGES,
        )

    def causes(self) -> exp.Expr:
        """Changed keys by operation and cause."""
        return statement(
            "select operation, cause, count(*) from :changes as c group by operation, cause order by 1, 2",
            changes=CHANGES,
        )

    def changed_fields(self) -> exp.Expr:
        """How many updates each field is a reason for, in the mapping's order."""
        counted = [
            exp.func("count", exp.Case(ifs=[exp.If(this=differs, true=exp.convert(1))]))
            for differs in self.differences().values()
        ]
        joined = statement(
            """
            select 1 from :changes as c
            inner join :model as a on :key = c.key
            inner join :held as s on s.key = c.key and s.sync = :sync
            where c.operation = 'update'
            """,
            **self.parts(),
        )
        assert isinstance(joined, exp.Select)
        return joined.select(*counted, append=False)

    def digest(self) -> exp.Expr:
        """The changes as a number and a sum of hashes: the same for the same changes, in whatever order."""
        hashed = self.warehouse.row_hash(
            [column("key"), column("operation"), column("row_hash"), column("cause")]
        )
        return statement(
            "select count(*), cast(sum(cast(:hashed as decimal(38, 0))) as varchar) from :changes as c",
            hashed=hashed,
            changes=CHANGES,
        )

    def rehash(self) -> exp.Expr:
        """Where another maker made the hash, compare the records themselves: what no mapped field tells
        apart is no change. A field that is mapped no longer tells nothing."""
        return statement(
            """
            update :changes set operation = 'rehash' where operation = 'update' and key in (
                select s.key from :held as s inner join :model as a on :key = s.key
                where s.sync = :sync and s.row_hash is not null and s.hash_by <> :hash_by
                and s.identifiers = :identifiers and not (:touched)
            )
            """,
            **self.parts(),
            hash_by=self.hash_by,
            touched=exp.or_(exp.false(), *self.differences().values()),
        )

    def differences(self) -> dict[str, exp.Expr]:
        """Field to whether the member `a` has another value of it than the state row `s`."""
        now = self.json_of_fields()
        found = {}
        for item in self.mapping.fields:
            before = self.warehouse.json_text(column("fields", of="s"), item.name)
            after = self.warehouse.json_text(now.copy(), item.name)
            found[item.name] = statement(":before is distinct from :after", before=before, after=after)
        return found

    def rekey(self) -> exp.Expr:
        """Where a held person's identifiers changed, the destination knows them by the old ones."""
        return statement(
            """
            update :changes set operation = 'rekey', cause = 'rekeyed'
            where held and operation in ('add', 'update') and key in (
                select s.key from :held as s inner join :model as a on :key = s.key
                where s.sync = :sync and s.identifiers <> :identifiers
            )
            """,
            **self.parts(),
        )

    def forget(self) -> exp.Expr:
        """A remove of whose identifiers each is held by a current member would take that member out."""
        return statement(
            """
            update :changes set operation = 'forget' where operation = 'remove' and key not in (
                select s.key from :held as s where s.sync = :sync and (:any_free)
            )
            """,
            **self.parts(),
            any_free=exp.or_(*(is_free for _, _, is_free in self.held_identifiers())),
        )

    def set_waiting(self) -> exp.Expr:
        """A record that was rejected waits until its row changes: its operation is `wait`."""
        return statement(
            """
            update :changes set operation = 'wait' where exists (
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

    def name_suppressed(self) -> list[exp.Expr]:
        """Where who is to be removed was suppressed, that is the cause, even when the model itself leaves
        suppressed people out. They are found by the key and by what identifiers are made of."""
        sources: dict[str, tuple[exp.Expr, exp.Expr | None]] = {
            self.mapping.key: (column("key", of="s"), None)
        }
        for item in self.mapping.identifiers:
            if len(item.columns) == 1:
                (name,) = item.columns
                made = item.expression.transform(
                    lambda node: column("identifier_value", of="s") if isinstance(node, exp.Column) else node
                )
                sources[name] = (self.warehouse.json_text(column("identifiers", of="s"), item.name), made)
        return [
            statement(
                """
                update :changes set cause = 'suppressed', caused_at = (
                    select min(p.since) from :held as s inner join :listed as p on p.value = :value
                    where s.sync = :sync and s.key = revetl_changes.key
                )
                where operation = 'remove' and cause <> 'suppressed' and key in (
                    select s.key from :held as s inner join :listed as p on p.value = :value
                    where s.sync = :sync
                )
                """,
                **self.parts(),
                value=alike(held),
                listed=exp.Subquery(
                    this=suppressed_by(self.tables, kind, None if made is None else alike(made))
                ),
            )
            for kind, (held, made) in sources.items()
            if kind in self.members.suppressed_kinds
        ]

    def keep_suppressed(self) -> exp.Expr:
        """Drop every change but the removes of people who were suppressed."""
        return statement(
            "delete from :changes where operation <> 'remove' or cause <> 'suppressed'", changes=CHANGES
        )

    def dismiss(self) -> exp.Expr:
        """Drop the rejections of what is no change any more: who was refused has left, or is again as the
        destination has them."""
        return statement(
            """
            delete from :rejections where sync = :sync
            and key not in (select c.key from :changes as c where c.key is not null)
            """,
            changes=CHANGES,
            sync=self.sync,
            rejections=self.tables.rejections,
        )

    def drop_aside(self) -> exp.Expr:
        """Where nobody is removed, old identifiers are not either, and need not be kept."""
        return statement(
            "delete from :state where sync = :sync and key like '% was {%'",
            state=self.tables.state,
            sync=self.sync,
        )

    def settle(self) -> exp.Expr:
        """Write the new hashes and fields of `rehash`: it needs no request."""
        return statement(
            """
            merge into :state as s
            using (
                select c.key as key, c.row_hash as row_hash, :fields as fields
                from :changes as c inner join :model as a on :key = c.key
                where c.operation = 'rehash'
            ) as f on s.sync = :sync and s.key = f.key
            when matched then update set row_hash = f.row_hash, fields = f.fields, hash_by = :hash_by
            """,
            **self.parts(),
            state=self.tables.state,
            hash_by=self.hash_by,
        )

    def parts(self) -> dict[str, object]:
        """What statements over changes, members (`a`) and state (`s`) are made of."""
        return {
            "changes": CHANGES,
            "held": self.held,
            "model": self.members.relation,
            "key": self.key,
            "sync": self.sync,
            "identifiers": self.json_of_identifiers(),
            "fields": self.json_of_fields(),
        }

    def json_of_identifiers(self) -> exp.Expr:
        """The identifiers of the member `a`, as the text of a JSON object."""
        return self.warehouse.json_object(
            {item.name: (item.of("a"), item.type) for item in self.mapping.identifiers}
        )

    def json_of_fields(self) -> exp.Expr:
        """The fields of the member `a`, and the time of its event, as the text of a JSON object."""
        items = {item.name: (item.of("a"), item.type) for item in self.mapping.fields}
        if (moment := self.mapping.timestamp) is not None:
            items[moment.name] = (moment.of("a"), moment.type)
        return self.warehouse.json_object(items)

    def held_identifiers(self) -> list[tuple[str, exp.Expr, exp.Expr]]:
        """Each identifier's name, its recorded text in the state row `s`, and whether no member holds it."""
        found: list[tuple[str, exp.Expr, exp.Expr]] = []
        for item in self.mapping.identifiers:
            text = self.warehouse.json_text(column("identifiers", of="s"), item.name)
            is_free = statement(
                ":text is not null and :text not in "
                "(select cast(:value as varchar) from :model as a where :value is not null)",
                text=text,
                value=item.of("a"),
                model=self.members.relation,
            )
            found.append((item.name, text, exp.paren(is_free)))
        return found
