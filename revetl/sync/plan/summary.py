"""The counts of a diff: the changes are made and counted in two statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from revetl.sync.plan.diff import Diff
from revetl.sync.plan.diff_query import Asked


@dataclass(frozen=True)
class Summary:
    """Changed keys by operation and cause, and how many of them are removes that are sent (of who is known by
    another identifier now, too); new keys, held keys that left; the audience's rows, null keys and different
    keys (counted only in modes that remove nobody); who is left out, by cause; what names the changes.
    `identified` are the members with any usable identifier; `usable` and `given` count each. `fields` are
    what was asked for."""

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


def summarise(
    diff: Diff,
    *,
    full_refresh: bool,
    retry: bool,
    fields: bool = False,
) -> Summary:
    """Make the changes, leaving them in the warehouse's temporary table, and count them. `full_refresh` takes
    every member again; `retry` takes what was rejected before, too. With `fields`, how many updates each
    field is a reason of."""
    facts = diff.facts
    diff.make(
        Asked(
            uncertain=facts.uncertain > 0,
            otherwise=facts.otherwise > 0,
            full_refresh=full_refresh,
            waiting=facts.rejections > 0 and not (full_refresh or retry),
            retry=retry,
        )
    )
    causes: dict[str, dict[str, int]] = {}
    left_out: dict[str, int] = {}
    sent_removes = 0
    given: dict[str, Any] = {}
    for what, operation, cause, *counts in diff.warehouse.rows(diff.summary(fields=fields)):
        first, second, third, *more = (int(count or 0) for count in counts)
        if what == "change":
            causes.setdefault(operation, {})[cause] = first
            sent_removes += second
        elif what == "left_out":
            left_out[cause] = first
        elif what == "audience":
            given |= {"audience_rows": first, "null_keys": first - second, "different_keys": third}
            if not diff.late:
                given |= _counted(diff, more)
        elif what == "identified":
            given |= _counted(diff, more)
        elif what == "fields":
            names = [item.name for item in diff.mapping.fields]
            counted = zip(names, [first, second, third, *more], strict=False)
            given["fields"] = dict(counted) if operation is None else orjson.loads(operation)
        else:
            given |= {"digest": (first, operation), "new_keys": second, "left_keys": third}
    return Summary(
        causes={operation: dict(sorted(causes[operation].items())) for operation in sorted(causes)},
        left_out=dict(sorted(left_out.items())),
        sent_removes=sent_removes,
        **given,
    )


def _counted(diff: Diff, counts: list[int]) -> dict[str, Any]:
    """What `Diff.summary` counts of identifiers."""
    many = len(diff.mapping.identifiers)
    usable, given = counts[1 : many + 1], counts[many + 1 : 2 * many + 1]
    return {"identified": counts[0], "usable": tuple(usable), "given": tuple(given)}
