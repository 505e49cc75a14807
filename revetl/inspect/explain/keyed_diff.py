"""The diff of a sync for a few keys: what the next run would do with them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from sqlglot import exp

from revetl.inspect.explain.person import among
from revetl.sync.plan.diff import CHANGES, Diff
from revetl.sync.plan.diff_query import DiffOptions, make_changes
from revetl.sync.plan.eligibility import Members
from revetl.sync.plan.late_identifiers import CHANGED
from revetl.warehouse.templates import column, statement


@dataclass(frozen=True)
class NextChange:
    """What the next run would do with a key. `waits`: it is skipped, because the destination already rejected
    the identical change."""

    operation: str
    cause: str
    waits: bool = False


@dataclass(frozen=True)
class _OfKeys(Diff):
    """A diff restricted to the people of some keys."""

    keys: tuple[str, ...] = ()
    all_members: Members | None = None

    @property
    def everyone(self) -> exp.Table | exp.Subquery:
        # Includes all people: others with the same identifier affect the outcome.
        return (self.all_members or self.members).relation

    @property
    def unchanged(self) -> exp.Subquery:
        # For people outside these keys, changes since the last delivery are ignored.
        others = statement(
            "select * from :held as s where s.sync = :sync and s.key in (select :key from :everyone as a) "
            "and s.key not in (select c.key from :changed as c where c.key is not null)",
            held=super().held,
            sync=self.sync,
            key=self.key,
            everyone=self.everyone,
            changed=CHANGED,
        )
        return exp.Subquery(this=others)

    @property
    def held(self) -> exp.Table | exp.Subquery:
        mine = statement(
            "select * from :held as s where :mine",
            held=super().held,
            mine=among(column("key", of="s"), self.keys),
        )
        return exp.Subquery(this=mine)


def next_changes(diff: Diff, keys: tuple[str, ...]) -> dict[str, NextChange]:
    """Return by key what the next run would do with it, using a plan's own statements. Owners of an
    identifier are looked up among all members, as in a plan."""
    some = _of(diff, keys)
    # With few keys, enabling unneeded options costs nothing.
    options = DiffOptions(uncertain=True, otherwise=diff.facts.otherwise > 0)
    make_changes(some, options)
    before = _changes(diff)
    if not diff.facts.rejections:
        return before
    make_changes(some, replace(options, waiting=True))
    after = _changes(diff)
    return {key: replace(change, waits=after[key].operation == "wait") for key, change in before.items()}


def _of(diff: Diff, keys: tuple[str, ...]) -> _OfKeys:
    given: dict[str, Any] = {each.name: getattr(diff, each.name) for each in fields(Diff)}
    mine = statement(
        "select a.* from :model as a where :mine",
        model=diff.members.relation,
        mine=among(column(diff.mapping.key, of="a"), keys),
    )
    members: Members = replace(diff.members, relation=exp.Subquery(this=mine))
    return _OfKeys(**{**given, "members": members}, keys=keys, all_members=diff.members)


def _changes(diff: Diff) -> dict[str, NextChange]:
    rows = diff.warehouse.rows(statement("select key, operation, cause from :changes as c", changes=CHANGES))
    return {key: NextChange(operation, cause) for key, operation, cause in rows if key is not None}
