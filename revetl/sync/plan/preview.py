"""The preview of a plan: exact requests, their cost, and how people are identified."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import orjson
from sqlglot import exp

from revetl.delivery.batches import cut_batches
from revetl.delivery.serializer import Serializer, record_of
from revetl.delivery.spool import OPERATIONS
from revetl.destinations.base.addresses import shown_address
from revetl.destinations.base.destination import Destination, Record
from revetl.destinations.base.records import SyncContext
from revetl.destinations.base.secret_values import SENSITIVE
from revetl.identifiers.normalize import RULES, finish
from revetl.local.redaction import redact
from revetl.mapping.fields import MappedField
from revetl.project.workspace import Sync
from revetl.sync.plan.counts import Counts
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.plan import (
    IdentifierPreview,
    Plan,
    Preview,
    Request,
)
from revetl.sync.plan.record_queries import leaving, sending
from revetl.sync.plan.shaped import shaped
from revetl.sync.state.identity import Identity, audience_there
from revetl.warehouse.templates import select, statement

_EXAMPLES = 3
_EXAMPLE = "example"
MESSAGE_ID = "message_id"
"""The key of message audiences."""
_AUDIENCE_ID = "AUDIENCE_ID"
"""Placeholder for an ID that only the destination knows."""


def preview(
    plan: Plan,
    summary: Counts,
    sync: Sync,
    diff: Diff,
    destination: Destination,
    shaping: Serializer,
    size: int,
) -> Preview:
    """Build the preview of a plan, with exact requests for up to `size` records per operation."""
    samples = _samples(plan, diff, size)
    before = None if diff.starts_over else Identity.read(diff.facts.identity)
    former = None if diff.starts_over or diff.sync == sync.name else diff.sync
    audience = audience_there(sync, destination, before, former)
    requests: list[Request] = []
    request_count, charge = 0, 0.0
    for operation in OPERATIONS:
        records = [record_of(shaping, operation, *texts) for texts in samples.get(operation, [])]
        shown, count, charged = _requests(plan, sync, destination, audience, operation, records, size)
        requests += shown
        request_count += count
        charge += charged
    pace = destination.pace
    share, identifiers = _identified(destination, diff, summary, samples)
    return Preview(
        requests=tuple(requests),
        request_count=request_count,
        minutes=None if pace is None else request_count * pace.per_seconds / pace.requests / 60,
        share=share,
        identifiers=identifiers,
        changed_fields=_changed_fields(diff, summary),
        charge=None if destination.charged_in is None else round(charge),
        charged_in=destination.charged_in,
        shaped=shaped(plan, diff, destination, shaping, _context(sync, destination, audience)),
    )


def context_of(sync: Sync, run_id: str, audience: str, operation: str = "") -> SyncContext:
    """Return the context of a run's batches. `audience` is the destination's name for the audience."""
    config = sync.config
    return SyncContext(
        sync.name,
        audience,
        run_id,
        operation,
        event=config.event,
        has_message_ids=config.event_column is not None and sync.audience.key == MESSAGE_ID,
        set_if_empty=config.set_if_empty,
        spreads=config.fields is None,
        at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )


def _samples(plan: Plan, diff: Diff, size: int) -> dict[str, list[tuple[str, str, str, str]]]:
    """Query sample records by operation, and example values of each hashed identifier, in one statement.

    Examples are under `example NAME`. Each sample is a key and three texts.
    """
    # Read at least one record: its size determines how many fit in a request.
    taken = max(size, 1)
    queries: list[exp.Expr] = []
    for operation in OPERATIONS:
        if plan.counts[operation]:
            query = leaving(diff, "", taken) if operation == "remove" else sending(diff, operation, "", taken)
            queries.append(query)
    queries += [
        _examples(diff, item, min(size, _EXAMPLES))
        for item in diff.mapping.identifiers
        if item.hashed is not None and size
    ]
    if not queries:
        return {}
    parts = [
        select(
            "select q.operation, q.key, q.identifiers, q.fields, q.origin from :query as q",
            query=query.subquery(),
        )
        for query in queries
        if isinstance(query, exp.Query)
    ]
    found: dict[str, list[tuple[str, str, str, str]]] = {}
    for operation, *texts in diff.warehouse.rows(
        parts[0] if len(parts) == 1 else exp.union(*parts, distinct=False)
    ):
        found.setdefault(operation, []).append(tuple(texts))
    return found


def _examples(diff: Diff, item: MappedField, size: int) -> exp.Expr:
    """Query raw, normalized and sent values of a hashed identifier, in the columns of a record."""
    raw, normalised, sent = item.steps("a")
    return statement(
        "select :name as operation, :key as key, cast(:raw as varchar) as identifiers, "
        ":normalised as fields, :sent as origin from :model as a "
        "where :raw is not null order by :key limit :n",
        name=f"{_EXAMPLE} {item.name}",
        raw=raw,
        normalised=normalised,
        sent=sent,
        model=diff.members.relation,
        key=diff.key,
        n=size,
    )


def _requests(
    plan: Plan,
    sync: Sync,
    destination: Destination,
    audience: str,
    operation: str,
    records: list[Record],
    size: int,
) -> tuple[list[Request], int, float]:
    """Return the requests for sample records of an operation, and the estimated number and charge of all
    requests."""
    planned = plan.counts[operation]
    if not planned:
        return [], 0, 0.0
    context = _context(sync, destination, audience, operation)
    cuts = list(cut_batches(destination, sync.config.mode, context, [(0, records)]))
    made = [cut.request for cut in cuts if cut.request is not None]
    limits = destination.limits_of(sync.config.mode)
    each = max(1, limits.records)
    if (most := limits.bytes) is not None and made:
        # For a request without a body, the records have no size.
        mean = max(sum(len(request.content) for request in made) / len(records), 1)
        each = max(1, min(each, int(most / mean)))
    shown = [show(operation, request, destination) for request in made] if size else []
    charge = sum(map(destination.charge, made)) / max(len(records), 1)
    return shown, math.ceil(planned / each), charge * planned


def _context(sync: Sync, destination: Destination, audience: str, operation: str = "") -> SyncContext:
    """Return the context of a plan's batches, with a placeholder if only the destination knows the audience
    ID."""
    audience_id = destination.audience_of(audience) or _AUDIENCE_ID
    return replace(context_of(sync, "plan", audience, operation), audience_id=audience_id)


def show(operation: str, request: httpx.Request, destination: Destination) -> Request:
    """Return a request for display: secrets redacted, JSON bodies parsed, binary bodies replaced by their
    size."""
    secrets = destination.secrets()
    # Headers carry credentials under any name.
    in_headers = (*secrets, *(each.value for each in destination.filled_in))
    try:
        text = redact(request.content.decode(), secrets)
        body: object = orjson.loads(text)
    except UnicodeDecodeError:
        body = f"({len(request.content):,} bytes)"
    except orjson.JSONDecodeError:
        body = text
    headers = {
        name: "***" if SENSITIVE.search(name) else redact(value, in_headers)
        for name, value in request.headers.items()
        if name.lower() not in {"content-length", "host"}
    }
    url = redact(shown_address(request.url, destination.filled_in), secrets)
    return Request(operation, request.method, url, headers, body)


def _identified(
    destination: Destination,
    diff: Diff,
    summary: Counts,
    samples: Mapping[str, list[tuple[str, str, str, str]]],
) -> tuple[float, tuple[IdentifierPreview, ...]]:
    """Return the share of members with any identifier, and a preview of each identifier."""
    most = max(summary.audience_rows, 1)
    found = []
    for item, count, given in zip(diff.mapping.identifiers, summary.usable, summary.given, strict=True):
        rule = None
        if item.hashed is not None:
            rule = f"{RULES[item.hashed].words}, then SHA-256; what is a SHA-256 already is sent as it is"
        examples = tuple(
            _finished(item, texts, destination) for _, *texts in samples.get(f"{_EXAMPLE} {item.name}", [])
        )
        found.append(IdentifierPreview(item.name, count / most, rule, examples, max(given - count, 0)))
    return summary.identified / most, tuple(found)


def _finished(
    item: MappedField, example: Sequence[str | None], destination: Destination
) -> tuple[object, object, object]:
    """Return an example's raw, normalized and sent values, applying normalization that runs in Python."""
    raw, made, sent = example
    identifier = next(each for each in destination.known_by if each.name == item.name)
    rule = identifier.hashed or identifier.normalised
    if made is None or rule is None or RULES[rule].late is None:
        return raw, made, sent
    region = destination.phone_region
    hashed = identifier.hashed is not None
    return raw, finish(rule, made, region, hashed=False), finish(rule, made, region, hashed=hashed)


def _changed_fields(diff: Diff, summary: Counts) -> dict[str, int]:
    counts = {item.name: summary.fields.get(item.name, 0) for item in diff.mapping.fields}
    return dict(sorted(((name, n) for name, n in counts.items() if n), key=lambda each: -each[1]))
