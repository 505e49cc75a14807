"""The plan of a replay: what it would send, the cost, and expected rejections. Sends nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import orjson

from revetl.config.models import AudienceConfig, SyncConfig
from revetl.delivery.serializer import withheld_note
from revetl.delivery.spool import Spool
from revetl.destinations.base.destination import Destination
from revetl.destinations.base.records import digest
from revetl.errors import UsageError, nearest
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.plan import Request
from revetl.sync.plan.preview import context_of
from revetl.sync.replay.dedupe import FOREVER, deduplicates_for, rule_of
from revetl.sync.replay.forecast import Forecast, forecast_slice, scaled
from revetl.sync.replay.request import EVENTS, ReplayRequest
from revetl.sync.replay.slices import (
    DELIVERED_BY_SYNCS,
    SLICE_MESSAGES,
    Line,
    ReplaySource,
    SliceReader,
    line_of,
    live_syncs,
    phases_at,
    replay_model,
    slices_of,
    write_slice,
)
from revetl.sync.replay.source import Source, Survey, make_source
from revetl.sync.replay.store import sent_before
from revetl.sync.state import leases
from revetl.sync.state.identity import identity_of
from revetl.sync.state.tables import StateTables, state_tables
from revetl.sync.stop import Stop
from revetl.warehouse import Warehouse

PLAN_MESSAGES = 1_000_000
"""Maximum number of messages that a plan builds batches for; the rest is estimated from them."""


@dataclass(frozen=True)
class ReplayPlan:
    """What a replay would do. `messages` counts the selected messages by type, and `people` counts their
    people. `left_out` counts messages that are not sent, by cause. `refused` counts messages that the
    destination would reject, by reason. `minutes` is the time at its rate limit, and `charge` the cost in
    `charged_in`. `is_exact` is true if the number of requests is exact for a replay without failures;
    otherwise it is an estimate. `digest` identifies the plan; it changes with the messages."""

    destination: str
    type: str
    request: ReplayRequest
    messages: Mapping[str, int] = field(default_factory=dict)
    people: int = 0
    first: datetime | None = None
    last: datetime | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    slices: int = 0
    request_count: int = 0
    minutes: float | None = None
    charge: int | None = None
    charged_in: str | None = None
    is_exact: bool = True
    requests: tuple[Request, ...] = ()
    notes: tuple[str, ...] = ()
    stops: tuple[Stop, ...] = ()
    digest: str = ""

    @property
    def total(self) -> int:
        """Number of selected messages."""
        return sum(self.messages.values())

    @property
    def to_send(self) -> int:
        """Number of messages that are sent and accepted, by the destination's documented rules."""
        return self.total - sum(self.left_out.values()) - sum(self.refused.values())


@dataclass(frozen=True)
class Prepared:
    """The inputs of a replay, in an open warehouse."""

    source: Source
    lines: tuple[Line, ...]
    survey: Survey
    live: tuple[Sync, ...]
    delivered_to: str
    destination: Destination


def base_sync(to: str) -> Sync:
    """Return the sync that a replay counts as, before its messages are known."""
    source = ReplaySource(replay_model(), AudienceConfig(key="message_id"))
    return Sync(source, SyncConfig(to=to, mode="upsert"), f"--to {to}", called=f"replay.{to}")


def find_destination(workspace: Workspace, to: str, *, placeholders: bool = False) -> Destination:
    """Return the configured destination. Raises UsageError if it does not support messages."""
    from revetl.destinations import destination_class

    config = workspace.config.destinations.get(to)
    if config is None:
        raise UsageError(
            f"--to {to}: revetl.yml has no destination '{to}'. {nearest(to, workspace.config.destinations)}"
        )
    kind = destination_class(config.get("type"), f"revetl.yml: destinations.{to}")
    mode = next((mode for mode in ("events", "upsert") if mode in kind.modes()), None)
    if mode is None:
        raise UsageError(f"--to {to}: {config.get('type')} does not take events.")
    sync = base_sync(to)
    config_of = sync.config.model_copy(update={"mode": mode})
    return workspace.destination(
        Sync(sync.audience, config_of, sync.place, called=sync.called), placeholders=placeholders
    )


def prepare(
    workspace: Workspace, warehouse: Warehouse, request: ReplayRequest, destination: Destination
) -> Prepared:
    """Check a request against the project, the destination and the warehouse.

    Raises UsageError for an invalid request or if there is nothing to send.
    """
    lines = tuple(
        line_of(workspace, request, destination, types) for types in phases_at(destination, request)
    )
    source = make_source(workspace, warehouse, request)
    surveys = [source.survey(line.types) for line in lines]
    survey = Survey(
        {name: count for each in surveys for name, count in each.messages.items()},
        max((each.people for each in surveys), default=0),
        min((each.first for each in surveys if each.first), default=None),
        max((each.last for each in surveys if each.last), default=None),
        min((each.earliest for each in surveys if each.earliest), default=None),
    )
    if not survey.total:
        raise UsageError(_nothing(request, survey))
    identity = identity_of(workspace, lines[0].sync, destination)
    to = {name: value for name, value in identity.delivered_to.items() if name != "audience"}
    delivered_to = orjson.dumps(to, option=orjson.OPT_SORT_KEYS).decode()
    return Prepared(
        source, lines, survey, tuple(live_syncs(workspace, request.to)), delivered_to, destination
    )


def _nothing(request: ReplayRequest, survey: Survey) -> str:
    types = ", ".join(request.types)
    if survey.earliest is None:
        return f"There are no {types} messages in the warehouse. Load some, and run `dbt build`."
    return (
        f"No {types} messages match. The earliest there are is of {survey.earliest:%Y-%m-%d}. Change --from "
        "and --until, or the filters."
    )


def plan_digest(prepared: Prepared, request: ReplayRequest) -> str:
    """Compute the plan's digest from the request, the destination and the selected messages."""
    survey = prepared.survey
    counts = orjson.dumps(dict(survey.messages), option=orjson.OPT_SORT_KEYS).decode()
    mapping = [line.sync.config.model_dump_json() for line in prepared.lines]
    times = [str(survey.first), str(survey.last), str(survey.people)]
    return digest(request.text, prepared.delivered_to, counts, *times, *mapping)


def again_stop(
    warehouse: Warehouse, tables: StateTables, request: ReplayRequest, prepared: Prepared
) -> Stop | None:
    """Return a stop if messages would be counted twice.

    That is, earlier replays sent some of them, and the destination never deduplicates or no longer does.
    """
    span = deduplicates_for(prepared.destination)
    if span == FOREVER:
        return None
    (there,) = warehouse.catalog([tables.named("replay_ranges")])
    if there is None:
        return None
    since = None if span is None else leases.now() - span
    found = sent_before(warehouse, tables, request, prepared.delivered_to, since)
    if found is None:
        return None
    messages, at = found
    why = (
        "does not recognize an event that it has already"
        if span is None
        else f"recognizes an event for {_span(span.total_seconds())} only"
    )
    return Stop(
        "again",
        f"replay.{request.to}: {messages:,} messages of these days were sent to '{request.to}' by replays, "
        f"the last at {at:%Y-%m-%d %H:%M} UTC, and {prepared.destination.type} {why}: those that are "
        "selected again would be counted twice. Change the window, or use --again.",
    )


def _span(seconds: float) -> str:
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} days" if days > 2 else f"{days * 24 + hours} hours"


def plan_replay(
    workspace: Workspace,
    request: ReplayRequest,
    *,
    again: bool = False,
    size: int = 1,
    requests_per_second: float | None = None,
) -> ReplayPlan:
    """Plan a replay, with up to `size` sample requests of each kind. Changes nothing and needs no secrets.

    Raises UsageError for messages that cannot be replayed.
    """
    request = request.fixed()
    destination = limited(find_destination(workspace, request.to, placeholders=True), requests_per_second)
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        prepared = prepare(workspace, warehouse, request, destination)
        stop = None if again else again_stop(warehouse, tables, request, prepared)
        reader = SliceReader(prepared.source, tables, prepared.live, again)
        found, slices = _forecast(prepared, reader, size)
    finally:
        warehouse.close()
    notes = [rule_of(destination), *_notes(prepared, request, reader)]
    notes += filter(None, {withheld_note(line.shaping, line.destination): None for line in prepared.lines})
    pace = destination.pace
    return ReplayPlan(
        destination=request.to,
        type=destination.type,
        request=request,
        messages=prepared.survey.messages,
        people=prepared.survey.people,
        first=prepared.survey.first,
        last=prepared.survey.last,
        left_out=dict(reader.left_out.most_common()),
        refused=dict(found.refused.most_common()),
        slices=slices,
        request_count=found.requests,
        minutes=None if pace is None else found.requests * pace.per_seconds / pace.requests / 60,
        charge=None if destination.charged_in is None else found.charge,
        charged_in=destination.charged_in,
        is_exact=found.is_exact,
        requests=tuple(found.samples),
        notes=tuple(notes),
        stops=() if stop is None else (stop,),
        digest=plan_digest(prepared, request),
    )


def limited(destination: Destination, requests_per_second: float | None) -> Destination:
    """Return the destination with a lower rate limit, if one is given."""
    if requests_per_second is None:
        return destination
    pace = destination.pace
    if pace is not None and pace.requests / pace.per_seconds <= requests_per_second:
        return destination
    return destination.model_copy(update={"requests_per_second": requests_per_second})


def _forecast(prepared: Prepared, reader: SliceReader, size: int) -> tuple[Forecast, int]:
    survey, found = prepared.survey, Forecast()
    parts = slices_of(survey.messages, [line.types for line in prepared.lines], SLICE_MESSAGES)
    by_types = {line.types: line for line in prepared.lines}
    looked_at = 0
    with tempfile.TemporaryDirectory(prefix="revetl-replay-") as folder:
        for part in parts:
            if looked_at >= PLAN_MESSAGES:
                break
            line = by_types[part.types]
            spool = Spool(Path(folder))
            lanes = write_slice(reader.warehouse, reader.read(line, part, "plan"), spool)
            context = context_of(line.sync, "plan", line.sync.audience.name, "add")
            forecast_slice(found, line, context, spool, lanes, size)
            looked_at += spool.rows("add") + 1
    if len(parts) and part is not parts[-1]:
        share = (found.records + sum(reader.left_out.values())) / survey.total
        reader.left_out = type(reader.left_out)(
            {cause: round(count / share) for cause, count in reader.left_out.items()}
        )
        return scaled(found, share), len(parts)
    return found, len(parts)


def _notes(prepared: Prepared, request: ReplayRequest, reader: SliceReader) -> list[str]:
    survey, notes = prepared.survey, []
    if request.since is not None and survey.earliest is not None and survey.earliest > request.since:
        notes.append(f"the warehouse has messages since {survey.earliest:%Y-%m-%d}, and none before")
    if reader.left_out.get(DELIVERED_BY_SYNCS):
        names = ", ".join(sync.name for sync in prepared.live)
        notes.append(f"messages that {names} has delivered are left out; --again sends them, too")
    if any(name in EVENTS for name in request.types):
        line = next(line for line in prepared.lines if line.types[0] in EVENTS)
        mapped = [sync.name for sync in prepared.live if request.mapping in (None, sync.audience.name)]
        is_default = not mapped or request.mapping == "default"
        names = ", ".join(f"{name}: {text}" for name, text in sorted(line.sync.config.identifiers.items()))
        by = "the default mapping" if is_default else f"the mapping of {mapped[0]}"
        notes.append(f"events are mapped by {by}, and people identified by {names}")
    return notes
