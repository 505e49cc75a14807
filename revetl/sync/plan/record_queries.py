"""Queries for the full records of changed keys, in the spool's columns."""

from __future__ import annotations

from sqlglot import exp

from revetl.sync.plan.diff import CHANGES, Diff
from revetl.warehouse.templates import column, statement


def sending(diff: Diff, operation: str, run_id: str, limit: int | None = None) -> exp.Expr:
    """Query the current records to `add` or `update`."""
    return _limited(
        statement(
            """
            select :operation as operation, c.key as key, c.row_hash as row_hash,
                :identifiers as identifiers, :fields as fields, coalesce(c.origin, :run_id) as origin,
                c.cause as cause, c.caused_at as caused_at, :invalid as invalid
            from :changes as c inner join :model as a on :key = c.key
            where c.operation in (:operation, :also)
            """,
            **diff.parts(),
            invalid=diff.identifiers.invalid(),
            operation=operation,
            run_id=run_id,
            also="rekey" if operation == "add" else operation,
        ),
        limit,
    )


def leaving(diff: Diff, run_id: str, limit: int | None = None) -> exp.Expr:
    """Query the records in destination state to `remove`, without identifiers that a current member has."""
    identifiers: exp.Expr = column("identifiers", of="s")
    free: exp.Expr = exp.true()
    # If the destination matches by key alone, no other member can match.
    if not diff.mapping.by_key:
        kept = {
            item.name: (exp.Case(ifs=[exp.If(this=is_free, true=text)]), "")
            for item, text, is_free in diff.identifiers.held_identifiers()
        }
        identifiers = diff.warehouse.json_object(kept)
        free = exp.or_(*(is_free for item, _, is_free in diff.identifiers.held_identifiers() if item.alone))
    return _limited(
        statement(
            """
            select 'remove' as operation, c.key as key, s.row_hash as row_hash,
                :kept as identifiers, s.fields as fields, coalesce(c.origin, :run_id) as origin,
                c.cause as cause, c.caused_at as caused_at, cast(null as varchar) as invalid
            from :changes as c inner join :held as s on s.key = c.key and s.sync = :sync
            where c.operation in ('remove', 'rekey') and (:free)
            """,
            **diff.parts(),
            kept=identifiers,
            free=free,
            run_id=run_id,
        ),
        limit,
    )


def forgotten() -> exp.Expr:
    """Query the keys to drop from the state after the members who took over their identifiers are
    delivered."""
    return statement(
        """
        select operation, key, row_hash, '' as identifiers, '' as fields, '' as origin, cause, caused_at,
            cast(null as varchar) as invalid
        from :changes as c where operation = 'forget'
        """,
        changes=CHANGES,
    )


def _limited(query: exp.Expr, limit: int | None) -> exp.Expr:
    if limit is None or not isinstance(query, exp.Select):
        return query
    return query.limit(limit)
