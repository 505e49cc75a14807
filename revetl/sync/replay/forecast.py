"""Estimate the cost of a replay by building its batches without sending them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import orjson

from revetl.delivery.batches import PositionedBatch, cut_batches
from revetl.delivery.journal import Range
from revetl.delivery.serializer import records_of
from revetl.delivery.spool import Spool
from revetl.destinations.base.answers import Body, entry_of
from revetl.destinations.base.destination import Destination, Rejection
from revetl.destinations.base.records import SyncContext
from revetl.sync.plan.plan import Request
from revetl.sync.plan.preview import show
from revetl.sync.replay.slices import Line
from revetl.sync.replay.store import grouped

_MOST_STEPS = 1_000


@dataclass
class Forecast:
    """The cost of batches: number of requests, charge in the destination's unit, rejections under its
    documented rules, by reason, and sample requests.

    `is_exact` is true if the number of requests does not depend on any response.
    """

    requests: int = 0
    charge: int = 0
    records: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    samples: list[Request] = field(default_factory=list)
    is_exact: bool = True


def forecast_slice(
    into: Forecast, line: Line, context: SyncContext, spool: Spool, lanes: list[Range], size: int
) -> None:
    """Add a slice to a forecast, with up to `size` sample requests."""
    shown = 0
    for lane in lanes:
        source = ((cut.first, records_of(batch, line.shaping, "add")) for cut, batch in spool.read([lane]))
        for cut in cut_batches(line.destination, line.mode, context, source):
            into.records += cut.size
            for why in cut.refused.values():
                reason = why.reason if isinstance(why, Rejection) else why
                into.refused[grouped(reason)] += 1
            if cut.request is None:
                continue
            if shown < size:
                into.samples.append(show(line.types[0], _sample(line, context, cut), line.destination))
                shown += 1
            _walk(into, line.destination, cut)


def _sample(line: Line, context: SyncContext, cut: PositionedBatch) -> httpx.Request:
    """Return the exact request for the first two records of a batch, to keep the sample readable."""
    few = tuple(cut.records.records[:2])
    made = next(cut_batches(line.destination, line.mode, context, [(0, few)]), None)
    request = None if made is None else made.request
    assert cut.request is not None
    return cut.request if request is None else request


def _walk(into: Forecast, destination: Destination, cut: PositionedBatch) -> None:
    """Count the requests of a batch, assuming that each gets a success response."""
    assert cut.request is not None
    assert cut.flow is not None
    request, steps = cut.request, 0
    try:
        while steps < _MOST_STEPS:
            steps += 1
            into.requests += 1
            into.charge += destination.charge(request)
            step = cut.flow.send(_success(destination, request, len(cut.records)))
            while not isinstance(step, httpx.Request):
                step = next(cut.flow)
            request = step
    except StopIteration:
        return
    except Exception:
        # The following requests depend on the actual response.
        into.is_exact = False


def _success(destination: Destination, request: httpx.Request, records: int) -> httpx.Response:
    entry = entry_of(request, destination.understood)
    shape: Any = {} if entry is None else entry.shape
    first = shape[0] if isinstance(shape, tuple) else shape
    if isinstance(first, Body):
        return httpx.Response(200, text="OK", request=request)
    return httpx.Response(200, content=orjson.dumps(_example(first, records)), request=request)


def _example(shape: Any, records: int) -> Any:
    """Return an example value of a response shape. Integers are the number of records, as in
    `events_received`."""
    if isinstance(shape, tuple):
        return _example(shape[0], records)
    if isinstance(shape, Mapping):
        return {name: _example(each, records) for name, each in shape.items() if not name.endswith("?")}
    if isinstance(shape, list):
        return []
    if isinstance(shape, type):
        return {str: "", int: records, float: float(records), bool: True, dict: {}, list: []}.get(shape)
    return shape


def scaled(found: Forecast, share: float) -> Forecast:
    """Scale the forecast of a `share` of the messages to all of them."""
    if share >= 1 or share <= 0:
        return found
    return replace(
        found,
        requests=round(found.requests / share),
        charge=round(found.charge / share),
        refused=Counter({reason: round(count / share) for reason, count in found.refused.items()}),
        is_exact=False,
    )
