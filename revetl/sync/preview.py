"""What a person sees of a plan before it runs: exact requests, their cost, and how people are identified."""

from __future__ import annotations

import math

import httpx
import orjson
from sqlglot import exp

from revetl.destinations.base import SENSITIVE, Destination, Records
from revetl.mapping import RULES, Mapped
from revetl.project import Sync
from revetl.sql import statement
from revetl.sync.batches import cut_batches, record_of, shaping_of
from revetl.sync.changed import leaving, sending
from revetl.sync.diff import Diff
from revetl.sync.plan import Identified, Plan, Preview, Request
from revetl.sync.spool import OPERATIONS
from revetl.transport import redact

_EXAMPLES = 3


def preview(plan: Plan, sync: Sync, diff: Diff, destination: Destination, size: int) -> Preview:
    """The preview of a plan, with the exact requests for up to `size` records of each operation."""
    requests: list[Request] = []
    request_count = 0
    for operation in OPERATIONS:
        shown, count = _requests(plan, sync, diff, destination, operation, size)
        requests += shown
        request_count += count
    pace = destination.pace
    share, identifiers = _identified(diff, size)
    return Preview(
        requests=tuple(requests),
        request_count=request_count,
        minutes=None if pace is None else request_count * pace.per_seconds / pace.requests / 60,
        share=share,
        identifiers=identifiers,
        changed_fields=_changed_fields(diff) if plan.update else {},
    )


def whole_of(sync: Sync, run_id: str, operation: str = "") -> Records:
    """What the batches of a run are part of."""
    config = sync.config
    return Records(
        sync.name,
        sync.audience.name,
        run_id,
        operation,
        (),
        event=config.event,
        set_if_empty=config.set_if_empty,
    )


def _requests(
    plan: Plan, sync: Sync, diff: Diff, destination: Destination, operation: str, size: int
) -> tuple[list[Request], int]:
    """The requests of a few records of an operation, and about how many all of them will take."""
    planned = plan.counts[operation]
    if not planned:
        return [], 0
    # One record at least, for its size tells how many a request takes.
    taken = max(size, 1)
    query = leaving(diff, "plan", taken) if operation == "remove" else sending(diff, operation, "plan", taken)
    shaping = shaping_of(sync.config, destination)
    records = [
        record_of(shaping, operation, key, *texts) for _, key, _, *texts, _, _ in diff.warehouse.rows(query)
    ]
    whole = whole_of(sync, "plan", operation)
    cuts = list(cut_batches(destination, sync.config.mode, whole, [(0, records)]))
    made = [cut.request for cut in cuts if cut.request is not None]
    each = max(1, destination.limits.records)
    if (most := destination.limits.bytes) is not None and made:
        mean = sum(len(request.content) for request in made) / len(records)
        each = max(1, min(each, int(most / mean)))
    shown = [show(operation, request, destination) for request in made] if size else []
    return shown, math.ceil(planned / each)


def show(operation: str, request: httpx.Request, destination: Destination) -> Request:
    """A request as a person may see it: secrets replaced, the body as JSON where it is JSON."""
    secrets = destination.secrets()
    text = redact(request.content.decode(errors="replace"), secrets)
    try:
        body: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = text
    headers = {
        name: "***" if SENSITIVE.search(name) else redact(value, secrets)
        for name, value in request.headers.items()
        if name.lower() not in {"content-length", "host"}
    }
    return Request(operation, request.method, redact(str(request.url), secrets), headers, body)


def _identified(diff: Diff, size: int) -> tuple[float, tuple[Identified, ...]]:
    """The share of members who have any identifier, and each identifier with its own."""
    items = diff.mapping.identifiers
    values = [item.of("a") for item in items]
    any_of = (
        values[0] if len(values) == 1 else exp.func("coalesce", *(exp.cast(v, "varchar") for v in values))
    )
    counted = [exp.func("count", value) for value in (any_of, *values)]
    query = exp.select(exp.func("count", exp.Star()), *counted).from_(
        exp.alias_(diff.members.relation.copy(), "a", table=True)
    )
    ((rows, usable, *each),) = diff.warehouse.rows(query)
    most = max(rows, 1)
    found = tuple(
        _with_examples(diff, item, count / most, size) for item, count in zip(items, each, strict=True)
    )
    return usable / most, found


def _with_examples(diff: Diff, item: Mapped, share: float, size: int) -> Identified:
    if item.hashed is None:
        return Identified(item.name, share)
    raw, normalised, sent = item.steps("a")
    rows = diff.warehouse.rows(
        statement(
            "select :raw as raw, :normalised as normalised, :sent as sent from :model as a "
            "where :raw is not null order by :key limit :n",
            raw=raw,
            normalised=normalised,
            sent=sent,
            model=diff.members.relation,
            key=diff.key,
            n=min(size, _EXAMPLES),
        )
    )
    rule = f"{RULES[item.hashed].words}, then SHA-256; what is a SHA-256 already is sent as it is"
    return Identified(item.name, share, rule, tuple((row[0], row[1], row[2]) for row in rows))


def _changed_fields(diff: Diff) -> dict[str, int]:
    if not diff.mapping.fields:
        return {}
    (counts,) = diff.warehouse.rows(diff.changed_fields())
    named = {item.name: count for item, count in zip(diff.mapping.fields, counts, strict=True) if count}
    return dict(sorted(named.items(), key=lambda each: -each[1]))
