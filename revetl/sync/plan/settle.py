"""Statements that apply a plan's changes in the warehouse when no request is needed."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from revetl.sync.plan.diff import CHANGES, Diff
from revetl.sync.plan.former_texts import former_texts
from revetl.sync.plan.late_identifiers import load, union
from revetl.warehouse.templates import statement


def keep_only_suppressed() -> exp.Expr:
    """Delete every change except removes of suppressed people."""
    return statement(
        "delete from :changes where operation <> 'remove' or cause <> 'suppressed'", changes=CHANGES
    )


def dismiss_rejections(diff: Diff) -> exp.Expr:
    """Delete rejections of keys without changes.

    Either the member left, or their row matches destination state again.
    """
    return statement(
        """
        delete from :rejections where sync = :sync
        and key not in (select c.key from :changes as c where c.key is not null)
        """,
        changes=CHANGES,
        sync=diff.sync,
        rejections=diff.tables.rejections,
    )


def drop_former_identifiers(diff: Diff) -> exp.Expr:
    """Delete former identifiers, which are not needed if the sync never removes anyone."""
    return statement(
        "delete from :state where sync = :sync and key like '% was {%'",
        state=diff.tables.state,
        sync=diff.sync,
    )


def label_presence(diff: Diff) -> exp.Expr:
    """Set the presence of rows without one."""
    return statement(
        "update :state set presence = :presence where sync = :sync and presence is null",
        state=diff.tables.state,
        sync=diff.sync,
        presence=diff.facts.unlabelled_are,
    )


def settle_rehashed(diff: Diff) -> exp.Expr:
    """Update the hashes and fields of `rehash` changes, which need no request."""
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
        **{**diff.parts(), "model": diff.members.relation},
        state=diff.tables.state,
        hash_by=diff.hash_by,
    )


def brought_forward(diff: Diff) -> Diff:
    """Migrate the state from raw texts, which older versions stored, to sent values, and return the updated
    diff."""
    if not diff.is_old:
        return diff
    texts = former_texts(diff.warehouse, diff.tables.state, diff.sync, diff.mapping)
    load(diff.warehouse, union(texts), diff.finishers)
    aside = "' was {'"
    diff.warehouse.run(
        statement(
            f"""
            merge into :state as s
            using (
                select h.key as key, h.identifiers as identifiers, h.hash_by as hash_by,
                    case when h.key like '% was {{%'
                        then substr(h.key, 1, strpos(h.key, {aside}) - 1) || ' was ' || h.identifiers
                        else h.key
                    end as new_key
                from :as_sent as h where h.is_old = 1
            ) as f on s.sync = :sync and s.key = f.key
            when matched then update set key = f.new_key, identifiers = f.identifiers, hash_by = f.hash_by
            """,  # noqa: S608  the pieces are constants
            state=diff.tables.state,
            as_sent=diff.as_sent,
            sync=diff.sync,
        )
    )
    return replace(diff, is_old=False)
