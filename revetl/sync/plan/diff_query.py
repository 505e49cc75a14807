"""The query of a diff: the changed keys, with the operation for each.

    audience, held → changed     compares hashes; has keys and hashes only
    changed        → looked_at   joins what decides the operation: rows of the state and the audience, the
                                 current owners of identifiers, suppressions, rejections
    looked_at      → judged      computes the operation

Each step reads the previous one once, because some engines evaluate a CTE again for each reference. Joins
that a sync does not need are left out. Conditions are 1 or 0: T-SQL has no boolean columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from revetl.sync.plan.diff import CHANGES, Diff
from revetl.sync.plan.eligibility import LEFT_OUT
from revetl.sync.plan.former_texts import former_texts
from revetl.sync.plan.late_identifiers import CHANGED, load, load_nothing, union
from revetl.warehouse.templates import column, select, statement


@dataclass(frozen=True)
class DiffOptions:
    """What a diff has to consider.

    `uncertain`: some outcomes are unknown, so the pending columns are read; a change that is attempted again
    keeps the run of its first attempt as its origin. `otherwise`: some rows have another hash fingerprint, so
    their hashes cannot be compared. `full_refresh`: every member is a change. `waiting`: some records were
    rejected, and wait until they change. `retry`: records sent at most once are sent again if their outcome
    is unknown."""

    uncertain: bool = False
    otherwise: bool = False
    full_refresh: bool = False
    waiting: bool = False
    retry: bool = False


def make_changes(diff: Diff, options: DiffOptions) -> None:
    """Create `revetl_changes` in the warehouse, and `revetl_changed` and `revetl_late` if identifiers are
    normalized in Python."""
    if diff.mapping.late:
        if diff.is_old:
            # Referenced by the rows in the state; the changed keys don't need its contents.
            load_nothing(diff.warehouse)
        diff.warehouse.temporary(CHANGED, changed_of(diff, options))
        load(
            diff.warehouse,
            union([*diff.identifiers.late_texts(), *(_former_texts(diff) if diff.is_old else ())]),
            diff.finishers,
        )
    changes = changes_of(diff, options)
    if diff.daily_limit is not None:
        changes = diff.daily_limit.capped(changes, diff.mapping, diff.members.relation, diff.key)
    diff.warehouse.temporary(CHANGES, changes)


def _former_texts(diff: Diff) -> list[exp.Select]:
    return former_texts(diff.warehouse, diff.tables.state, diff.sync, diff.mapping)


def changes_of(diff: Diff, options: DiffOptions) -> exp.Query:
    """Return the query of `revetl_changes`, described in `diff`; it reads `revetl_changed` if identifiers are
    normalized in Python."""
    query = _Changes(diff, options).query()
    assert isinstance(query, exp.Query)
    return query


def changed_of(diff: Diff, options: DiffOptions) -> exp.Query:
    """Return the query of `revetl_changed`: the changed keys, before their operation is computed."""
    query = _Changes(diff, options).changed()
    assert isinstance(query, exp.Query)
    return query


@dataclass(frozen=True)
class _Changes:
    diff: Diff
    options: DiffOptions
    is_made: bool = False

    def changed(self) -> exp.Expr:
        return self._filled(f"with {self._steps()} select * from changed")  # noqa: S608  as below

    def _steps(self) -> str:
        """Return the CTEs that compare hashes, or read `revetl_changed` if it has been created."""
        if self.diff.mapping.late and self.is_made:
            return "changed as (select * from :changed as c)"
        return f"""
            audience as (select :key as key, :row_hash as row_hash from :members as a),
            held as (select {self._held_columns()} from :held as s where sync = :sync),
            changed as ({self._changed()})
        """  # noqa: S608  as below

    def _filled(self, template: str, **parts: object) -> exp.Expr:
        return statement(
            template,
            **self.diff.parts(),
            members=self.diff.members.relation,
            row_hash=self.diff.warehouse.row_hash(self.diff.hashed),
            left_out=LEFT_OUT,
            hash_by=self.diff.hash_by,
            changed=CHANGED,
            **parts,
        )

    def query(self) -> exp.Expr:
        waiting = (
            "case when (refused = 'remove' and operation = 'remove') "
            "or (refused <> 'remove' and refused_hash = row_hash) then 'wait' else operation end"
            if self.options.waiting
            else "operation"
        )
        # The mapped fields are equal. Fields that are no longer mapped don't count.
        touched = "and not (:touched)" if self._rehashes else ""
        return replace(self, is_made=True)._filled(
            f"""
            with {replace(self, is_made=True)._steps()},
            looked_at as (:looked_at),
            judged as (
                select key, row_hash, held, origin, cause, caused_at, is_free, suppressed_at, refused,
                    refused_hash,
                    case
                        when operation = 'update' and is_same = 1 {touched} then 'rehash'
                        when held = 1 and operation <> 'remove' and is_renamed = 1 then 'rekey'
                        when operation = 'remove' and is_free = 0 then 'forget'
                        else operation
                    end as operation
                from looked_at
            )
            select key, row_hash, {waiting} as operation, held, origin,
                case
                    when operation = 'rekey' then 'rekeyed'
                    when operation = 'remove' and suppressed_at is not null then 'suppressed'
                    else cause
                end as cause,
                case when operation = 'remove' then coalesce(suppressed_at, caused_at) else caused_at end
                    as caused_at,
                case when {waiting} in ('remove', 'rekey') then is_free else 0 end as is_sent
            from judged
            """,  # noqa: S608  the pieces are constants of this module
            looked_at=self._looked_at(),
            touched=self.diff.differs(),
        )

    @property
    def _rehashes(self) -> bool:
        return self.options.otherwise and not self.options.full_refresh

    def _held_columns(self) -> str:
        columns = "key, row_hash"
        if self.options.uncertain:
            columns += ", pending_operation, pending_hash, pending_run_id"
        return columns + (", hash_by" if self.options.otherwise else "")

    def _changed(self) -> str:
        operation = self._operation()
        origin = (
            f"case when h.row_hash is null and h.pending_operation = ({operation}) "
            "and h.pending_hash is not distinct from a.row_hash then h.pending_run_id end"
            if self.options.uncertain
            else "cast(null as varchar)"
        )
        someone_is_left_out = self.diff.members.chosen
        left = "coalesce(o.cause, 'left')" if someone_is_left_out else "'left'"
        since = "o.since" if someone_is_left_out else "cast(null as timestamp)"
        return f"""
            select
                coalesce(a.key, h.key) as key,
                a.row_hash as row_hash,
                {operation} as operation,
                case when h.key is not null then 1 else 0 end as held,
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
            {"left join :left_out as o on o.key = h.key" if someone_is_left_out else ""}
            where {self._differs()}
        """  # noqa: S608  as above

    def _operation(self) -> str:
        new = "update" if self.diff.mode == "update" else "add"
        pending = (
            f"when h.row_hash is null and h.pending_operation <> 'update' then '{new}'"
            if self.options.uncertain
            else ""
        )
        again = "add" if self.diff.once else "update"
        return (
            "case when a.key is null and h.key is not null then 'remove' "
            f"when h.key is null then '{new}' {pending} else '{again}' end"
        )

    def _differs(self) -> str:
        differs = "h.key is null or a.row_hash is distinct from h.row_hash"
        at_most_once = self.diff.presence.at_most_once
        if self.diff.once:
            is_unknown = "" if at_most_once and not self.options.retry else " or h.row_hash is null"
            differs = "h.key is null" + is_unknown
        elif self.options.otherwise:
            differs += " or h.hash_by <> :hash_by"
        if self.options.full_refresh and not at_most_once:
            differs = "1 = 1"
        if self.diff.removes:
            return f"a.key is null or {differs}"
        return f"a.row_hash is not null and ({differs})"

    def _looked_at(self) -> exp.Select:
        """Return the changed keys with everything that decides their operation."""
        diff = self.diff
        by_identifiers = diff.removes and not diff.mapping.by_key and diff.has_state
        rehashes = self._rehashes
        lists = diff.identifiers.suppressions() if diff.removes and diff.has_state else []
        query = select(
            """
            select c.key, c.row_hash, c.operation, c.held, c.origin, c.cause, c.caused_at,
                :is_same as is_same, :is_renamed as is_renamed, :is_free as is_free,
                :suppressed_at as suppressed_at, :refused as refused, :refused_hash as refused_hash
            from changed as c
            """,
            is_same=_one_if(self._is_same() if rehashes else None),
            is_renamed=_one_if(diff.identifiers.renamed() if by_identifiers else None),
            is_free=_one_if(self._is_free()) if by_identifiers else exp.convert(1),
            suppressed_at=_first_since(len(lists)),
            refused=statement("r.operation" if self.options.waiting else "cast(null as varchar)"),
            refused_hash=statement("r.row_hash" if self.options.waiting else "cast(null as bigint)"),
        )
        if rehashes:
            query = query.select(*diff.compared())
        if by_identifiers or rehashes or lists:
            query = _joined(query, diff.held, "s", "s.sync = :sync and s.key = c.key", sync=diff.sync)
        if by_identifiers or rehashes:
            on = ":key = c.key and c.held = 1 and c.operation <> 'remove'"
            query = _joined(query, diff.model, "a", on, key=diff.key)
        if by_identifiers:
            for at, (text, holders) in enumerate(diff.identifiers.holders()):
                holding = exp.Subquery(this=holders)
                query = _joined(query, holding, f"h{at}", f"h{at}.value = :text", text=text)
        for at, (value, listed) in enumerate(lists):
            query = _joined(query, listed, f"p{at}", f"p{at}.value = :value and c.held = 1", value=value)
        if self.options.waiting:
            on = "r.sync = :sync and r.key = c.key"
            query = _joined(query, diff.tables.rejections, "r", on, sync=diff.sync)
        return query

    def _is_same(self) -> exp.Expr:
        """Return the condition that the hash has another fingerprint, and the identifiers are the same."""
        return statement(
            "s.row_hash is not null and s.hash_by <> :hash_by and not (:renamed)"
            if self.diff.mapping.late
            else "s.row_hash is not null and s.hash_by <> :hash_by and s.identifiers = :identifiers",
            **self.diff.parts(),
            renamed=self.diff.identifiers.renamed(),
            hash_by=self.diff.hash_by,
        )

    def _is_free(self) -> exp.Expr:
        """Return the condition that an identifier in the state belongs to no current member, so that removing
        it removes no one else."""
        return exp.or_(
            *(
                statement(f":text is not null and h{at}.value is null", text=text)
                for at, (text, _) in enumerate(self.diff.identifiers.holders())
            )
        )


def _joined(query: exp.Select, to: exp.Expr, alias: str, on: str, **parts: object) -> exp.Select:
    """Join a relation to the query, in place."""
    relation = exp.alias_(to.copy(), alias, table=True)
    return query.join(relation, on=statement(on, **parts), join_type="left", copy=False)


def _one_if(test: exp.Expr | None) -> exp.Expr:
    if test is None:
        return exp.convert(0)
    return exp.Case(ifs=[exp.If(this=test, true=exp.convert(1))], default=exp.convert(0))


def _first_since(lists: int) -> exp.Expr:
    if not lists:
        return statement("cast(null as timestamp)")
    sinces = [column("since", of=f"p{at}") for at in range(lists)]
    return sinces[0] if lists == 1 else exp.func("coalesce", *sinces)
