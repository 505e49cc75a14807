"""Compute the changes of a diff and count them, in two statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlglot import exp

from revetl.sync.plan.diff import CHANGES, Diff
from revetl.sync.plan.diff_query import DiffOptions, make_changes
from revetl.sync.plan.eligibility import LEFT_OUT
from revetl.warehouse.templates import column, select, statement


@dataclass(frozen=True)
class Counts:
    """The counts of a diff: changed keys by operation and cause, with the removes that are sent (including
    those of members with a new identifier); new keys and keys that left; the audience's rows, null keys and
    distinct keys (the last only in modes without removes); excluded members by cause; and a hash of the
    changes. `identified` counts the members with any valid identifier, `usable` and `given` the valid and the
    given values of each identifier. `fields` is set on request."""

    causes: dict[str, dict[str, int]] = field(default_factory=dict)
    sent_removes: int = 0
    new_keys: int = 0
    left_keys: int = 0
    audience_rows: int = 0
    null_keys: int = 0
    different_keys: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    digest: tuple[int, str | None] = (0, None)
    identified: int = 0
    usable: tuple[int, ...] = ()
    given: tuple[int, ...] = ()
    fields: Mapping[str, int] = field(default_factory=dict)


def count_changes(
    diff: Diff,
    *,
    full_refresh: bool,
    retry: bool,
    fields: bool = False,
) -> Counts:
    """Compute the changes into the temporary table `revetl_changes`, and count them.

    `full_refresh` includes every member, `retry` also records rejected before. With `fields`, count the
    updates that each field causes."""
    facts = diff.facts
    make_changes(
        diff,
        DiffOptions(
            uncertain=facts.uncertain > 0,
            otherwise=facts.otherwise > 0,
            full_refresh=full_refresh,
            waiting=facts.rejections > 0 and not (full_refresh or retry),
            retry=retry,
        ),
    )
    causes: dict[str, dict[str, int]] = {}
    left_out: dict[str, int] = {}
    sent_removes = 0
    given: dict[str, Any] = {}
    for what, operation, cause, *counts in diff.warehouse.rows(_counting(diff, fields=fields)):
        first, second, third, *more = (int(count or 0) for count in counts)
        if what == "change":
            causes.setdefault(operation, {})[cause] = first
            sent_removes += second
        elif what == "left_out":
            left_out[cause] = first
        elif what == "audience":
            given |= {"audience_rows": first, "null_keys": first - second, "different_keys": third}
            if not diff.mapping.late:
                given |= _counted(diff, more)
        elif what == "identified":
            given |= _counted(diff, more)
        elif what == "fields":
            names = [item.name for item in diff.mapping.fields]
            counted = zip(names, [first, second, third, *more], strict=False)
            given["fields"] = dict(counted) if operation is None else orjson.loads(operation)
        else:
            given |= {"digest": (first, operation), "new_keys": second, "left_keys": third}
    return Counts(
        causes={operation: dict(sorted(causes[operation].items())) for operation in sorted(causes)},
        left_out=dict(sorted(left_out.items())),
        sent_removes=sent_removes,
        **given,
    )


def _counted(diff: Diff, counts: list[int]) -> dict[str, Any]:
    """Return the identifier counts of a `_counting` row."""
    many = len(diff.mapping.identifiers)
    usable, given = counts[1 : many + 1], counts[many + 1 : 2 * many + 1]
    return {"identified": counts[0], "usable": tuple(usable), "given": tuple(given)}


def _counting(diff: Diff, *, fields: bool = False) -> exp.Query:
    """Return the query of all counts of a plan, as rows of kind, operation, cause and numbers.

    - `change`, by operation and cause: rows, removes that are sent;
    - `all` changes: rows, distinct new keys, keys that left, and as operation a sum of hashes, which does
      not depend on the order of the changes;
    - `audience`: rows, keys, distinct keys, members with any valid identifier, and the valid and given values
      of each identifier; if identifiers are normalized in Python, the last three are in `identified` instead;
    - `left_out`, by cause: rows;
    - `fields`, on request: the updates that each field causes, see `_count_of_differences`.
    """
    identified = [exp.func("count", each) for each in diff.identifiers.counts()]
    most = max(3 + len(identified), len(diff.mapping.fields) if fields else 0)

    def numbers(*made: exp.Expr | str) -> list[exp.Expr]:
        counted = [statement(each) if isinstance(each, str) else each for each in made]
        filled = [*counted, *[exp.convert(0)] * (most - len(counted))]
        return [exp.alias_(each, f"n{at}") for at, each in enumerate(filled)]

    parts: list[exp.Expr] = [
        select(
            "select 'change' as what, c.operation as operation, c.cause as cause "
            "from :changes as c group by c.operation, c.cause",
            changes=CHANGES,
        ).select(*numbers("count(*)", "sum(c.is_sent)")),
        select(
            "select 'all', cast(sum(cast(:hashed as decimal(38, 0))) as varchar), cast(null as varchar) "
            "from :changes as c",
            changes=CHANGES,
            hashed=_change_hash(diff),
        ).select(
            *numbers(
                "count(*)",
                "count(distinct case when c.held = 0 then c.key end)",
                "count(case when c.held = 1 and c.row_hash is null then 1 end)",
            )
        ),
        select(
            "select 'audience', cast(null as varchar), cast(null as varchar) from :model as a",
            model=diff.members.relation if diff.mapping.late else diff.identifiers.counted(),
        ).select(
            *numbers(
                "count(*)",
                exp.func("count", diff.key),
                # If members who left are among the changes, repeated keys follow from the other counts.
                "0" if diff.removes else statement("count(distinct :key)", key=diff.key),
                *(() if diff.mapping.late else identified),
            )
        ),
    ]
    if diff.mapping.late:
        everyone = select(
            "select 'identified', cast(null as varchar), cast(null as varchar) from :counted as a",
            counted=diff.identifiers.counted(),
        )
        parts.append(everyone.select(*numbers("0", "0", "0", *identified)))
    if diff.members.chosen:
        left_out = select(
            "select 'left_out', cast(null as varchar), o.cause from :left_out as o group by o.cause",
            left_out=LEFT_OUT,
        )
        parts.append(left_out.select(*numbers("count(*)")))
    if fields:
        parts.append(_count_of_differences(diff, numbers))
    return exp.union(*parts, distinct=False)


def _change_hash(diff: Diff) -> exp.Expr:
    kinds = {"key": "varchar", "operation": "varchar", "row_hash": "bigint", "cause": "varchar"}
    return diff.warehouse.row_hash([(column(name, of="c"), kind) for name, kind in kinds.items()])


def _count_of_differences(diff: Diff, numbers: Callable[..., list[exp.Expr]]) -> exp.Select:
    """Count the updates that each field causes: as a JSON object, or as numbers in the order of the
    fields."""
    names = [item.name for item in diff.mapping.fields]
    both = select(
        """
        select c.key
        from :changes as c
        inner join :model as a on :key = c.key
        inner join :held as s on s.key = c.key and s.sync = :sync
        where c.operation = 'update'
        """,
        **diff.parts(),
    ).select(*diff.compared(), append=False)
    if (counted := diff.warehouse.count_differences(both, names)) is not None:
        text = exp.Subquery(this=counted)
        return select("select 'fields', :text, cast(null as varchar)", text=text).select(*numbers())
    tests = [exp.Case(ifs=[exp.If(this=diff.differs(name), true=exp.convert(1))]) for name in names]
    return select(
        "select 'fields', cast(null as varchar), cast(null as varchar) from :both as u",
        both=both.subquery(),
    ).select(*numbers(*(exp.func("count", test) for test in tests)))
