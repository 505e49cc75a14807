"""Slices of a replay: hash ranges of people, each read into a temporary table and spooled in time order.

A slice covers enough people for about SLICE_MESSAGES messages, so that the amount sorted, spooled and
delivered at once does not grow with the number of messages. Within a slice, people are divided into lanes by
hash. Each lane is delivered in order, which keeps a person's messages in order, and lanes are delivered
concurrently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
from sqlglot import exp

from revetl.config.models import AudienceConfig, SyncConfig
from revetl.dbt import Model
from revetl.delivery.journal import Range
from revetl.delivery.serializer import Serializer, shaping_in
from revetl.delivery.spool import Spool
from revetl.destinations.base.destination import Destination
from revetl.errors import UsageError, nearest
from revetl.governance.pii import Hider, hider_of
from revetl.governance.transformations import TRANSFORMATIONS_FILE
from revetl.mapping.events import MESSAGE_TYPE
from revetl.mapping.fields import TIMESTAMP, FieldMapping, check_found, make_mapping
from revetl.project.workspace import AudienceModel, Sync, Workspace
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.diff_query import DiffOptions, make_changes
from revetl.sync.plan.eligibility import LEFT_OUT, SUPPRESSED, Members, members_of
from revetl.sync.plan.late_identifiers import finishers
from revetl.sync.plan.pii import give_salt, hidden
from revetl.sync.plan.presence import EVENT, Presence
from revetl.sync.plan.spellings import spelled_of
from revetl.sync.plan.state_summary import StateSummary, find_places, read_facts
from revetl.sync.plan.suppressed import folded, identified_by
from revetl.sync.replay.request import DEFAULT_MAPPING, EVENTS, ReplayRequest
from revetl.sync.replay.source import BUCKETS, Source, phases_of, profile_identifiers
from revetl.sync.state.identity import Identity
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, query, select, statement, table

SLICE_MESSAGES = 250_000
_BATCH_ROWS = 10_000
MESSAGES = table("revetl_replay_messages")
"""The messages of a slice."""
DONE = table("revetl_replay_done")
"""IDs of a slice's messages that got a response before the replay was interrupted."""
DELIVERED_BY_SYNCS = "delivered"
"""Cause for leaving out messages that an event sync has delivered to the destination."""
_TRAITS = "$row.traits"
_PREFERRED = {
    "amplitude": {"user_id": "user_id", "device_id": "anonymous_id"},
    "facebook_conversions": {"external_id": "coalesce(user_id, anonymous_id)"},
    "google_analytics": {"client_id": "anonymous_id", "user_id": "user_id"},
    "mixpanel": {"distinct_id": "coalesce(user_id, anonymous_id)"},
    "webhook": {"id": "coalesce(user_id, anonymous_id)"},
}
"""Message identifiers by destination type, if they differ from the columns' names."""


_EXPORTS = ("file", "sql")
_EXPORTED = ("message_type", "anonymous_id", "user_id", "properties", "context", "received_at", "source_id")
"""Message columns for files and tables, which receive full messages."""


@dataclass(frozen=True)
class Slice:
    """Messages of `types` for people in the buckets from `first` up to but excluding `end`."""

    number: int
    types: tuple[str, ...]
    first: int
    end: int


def slices_of(messages: Mapping[str, int], phases: Sequence[tuple[str, ...]], size: int) -> list[Slice]:
    """Divide a replay into slices of about `size` messages each, from the number of messages by type."""
    found: list[Slice] = []
    for types in phases:
        total = sum(messages.get(name, 0) for name in types)
        if not total:
            continue
        parts = min(BUCKETS, -(-total // size))
        for part in range(parts):
            first, end = BUCKETS * part // parts, BUCKETS * (part + 1) // parts
            found.append(Slice(len(found), types, first, end))
    return found


def phases_at(destination: Destination, request: ReplayRequest) -> list[tuple[str, ...]]:
    """Return the phases of a replay to a destination. Segment batches have one message type each."""
    phases = phases_of(request.types)
    if destination.type != "segment":
        return phases
    return [(name,) for phase in phases for name in phase]


@dataclass(frozen=True)
class ReplaySource(AudienceModel):
    """The staged messages, in place of an audience."""

    @property
    def relation(self) -> exp.Table:
        return MESSAGES


@dataclass(frozen=True)
class TraitsSerializer(Serializer):
    """Serializes identify and group messages with their traits as fields, applying PII rules."""

    hider: Hider | None = None

    def sends_as_is(self, operation: str) -> bool:
        return False

    def fields(self, operation: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        traits = fields.get(_TRAITS)
        made = traits if isinstance(traits, dict) else {}
        if self.hider is not None:
            made = self.hider.value("traits", made)
        return super().fields(operation, made)


@dataclass(frozen=True)
class Line:
    """How messages of some types are sent: the sync, and the destination configured for these types."""

    sync: Sync
    destination: Destination
    shaping: Serializer
    types: tuple[str, ...]

    @property
    def mode(self) -> str:
        return self.sync.config.mode

    @property
    def lanes(self) -> int:
        """Number of batches in flight at once."""
        return self.destination.max_in_flight


def live_syncs(workspace: Workspace, to: str) -> list[Sync]:
    """Return the syncs that send events to a destination, keyed by message ID."""
    return [
        sync
        for audience in workspace.audiences()
        if audience.key == "message_id"
        for sync in audience.syncs
        if sync.config.to == to and sync.config.mode == "events" and sync.config.event_column is not None
    ]


def line_of(
    workspace: Workspace, request: ReplayRequest, destination: Destination, types: tuple[str, ...]
) -> Line:
    """Return how a replay sends messages of some types. Raises UsageError for types that the destination does
    not support."""
    kind = types[0]
    mode = "events" if kind in EVENTS else "upsert"
    if mode not in destination.modes():
        what = "events" if mode == "events" else f"{kind} messages"
        raise UsageError(f"--to {request.to}: {destination.type} does not take {what}.")
    if destination.sends_at_most_once(mode):
        raise UsageError(
            f"--to {request.to}: {destination.type} sends messages to people; it takes no replay."
        )
    if kind == "group" and destination.type != "segment":
        raise UsageError(
            f"--as group: {destination.type} has no group calls. Leave group out of --as, or sync an "
            "audience of accounts."
        )
    if destination.type == "segment":
        if kind in EVENTS:
            destination = destination.model_copy(update={"events_as": kind})
        else:
            destination = destination.model_copy(update={"calls": kind})
    config = _config(workspace, request, destination, mode, kind)
    source = ReplaySource(replay_model(), AudienceConfig(key="message_id"))
    sync = Sync(source, config, f"replay to {request.to}", called=f"replay.{request.to}")
    workspace.check_target(sync)
    shaping = shaping_in(workspace.root, sync, destination)
    if mode != "events":
        hider = hider_of(workspace.root, request.to)
        shaping = TraitsSerializer(**vars(shaping), hider=hider)
    return Line(sync, destination, shaping, types)


def replay_model() -> Model:
    """Return a stand-in for the dbt model of the messages."""
    return Model("replay", "replay", None, "", MESSAGES.name, "", (), "replay", {})


def _config(
    workspace: Workspace, request: ReplayRequest, destination: Destination, mode: str, kind: str
) -> SyncConfig:
    usual = _identifiers(destination, kind)
    found = None if mode != "events" else _mapped_by(workspace, request)
    if not usual and (found is None or not found.config.identifiers):
        names = ", ".join(each.name for each in destination.known_by)
        raise UsageError(
            f"--to {request.to}: {destination.type} identifies people by {names}, which messages do not have."
            " Map an expression to one in a sync of messages to it, such as `identifiers: {email: "
            "properties.email}`, and name its audience with --mapping."
        )
    if mode != "events":
        return SyncConfig(to=request.to, mode="upsert", identifiers=usual)
    event = {"event_column": "event_text", "message_type": MESSAGE_TYPE, "timestamp": "timestamp"}
    if found is None and destination.type in _EXPORTS:
        fields = {name: name for name in _EXPORTED if name not in usual.values()}
        event["standard_events"] = "false"
        return SyncConfig(to=request.to, mode="events", identifiers=usual, fields=fields, **event)  # type: ignore[arg-type]
    if found is None:
        return SyncConfig(to=request.to, mode="events", identifiers=usual, **event)  # type: ignore[arg-type]
    own = {"identifiers": found.config.identifiers or usual, **event}
    off = {"limit": None, "order_by": None, "holdout": None, "salt": None, "variants": (), "priority": None}
    return found.config.model_copy(update={**off, **own, "enabled": True})


def _mapped_by(workspace: Workspace, request: ReplayRequest) -> Sync | None:
    """Return the sync whose mapping a replay uses: the named one, or the destination's only event sync."""
    if request.mapping == DEFAULT_MAPPING:
        return None
    found = live_syncs(workspace, request.to)
    names = [sync.audience.name for sync in found]
    if request.mapping is not None:
        for sync in found:
            if sync.audience.name == request.mapping:
                return sync
        raise UsageError(
            f"--mapping {request.mapping}: no sync of messages of that audience goes to '{request.to}'. "
            f"{nearest(request.mapping, [*names, DEFAULT_MAPPING])}"
        )
    if len(found) > 1:
        raise UsageError(
            f"--to {request.to}: several syncs map events to it ({', '.join(names)}). Name one with "
            f"--mapping, or use --mapping {DEFAULT_MAPPING}."
        )
    return found[0] if found else None


def _identifiers(destination: Destination, kind: str) -> dict[str, str]:
    known = {each.name: each.column for each in destination.known_by}
    preferred = _PREFERRED.get(destination.type)
    if preferred is not None and preferred.keys() <= known.keys():
        return preferred
    there = ("user_id", "anonymous_id", *(("group_id",) if kind == "group" else ()))
    return {name: own for name, own in known.items() if own in there}


@dataclass
class SliceReader:
    """Reads slices: their messages, the ones to leave out, and the records in the spool's columns.

    With `again`, also include messages that an event sync has delivered.
    """

    source: Source
    tables: StateTables
    live: Sequence[Sync] = ()
    again: bool = False
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of messages left out of the slices read so far, by cause."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The mapped fields of the last slice read, with the engine's types."""
    _places: frozenset[str] | None = None

    @property
    def warehouse(self) -> Warehouse:
        return self.source.warehouse

    def read(self, line: Line, part: Slice, run_id: str, done: pa.Table | None = None) -> exp.Select:
        """Load the slice's messages into a temporary table, without those `done`, and return the ordered
        query of its records.

        Raises UsageError for an invalid mapping.
        """
        messages = self.source.messages(part.types, first=part.first, end=part.end)
        if done is not None:
            self.warehouse.load(DONE, done)
            messages = select(
                "select * from :made as d where d.message_id not in (select x.key from :done as x)",
                made=exp.Subquery(this=messages),
                done=DONE,
            )
        self.warehouse.temporary(MESSAGES, messages)
        columns = self.warehouse.columns(select("select * from :messages as m", messages=MESSAGES))
        diff = self._diff(line, columns)
        self.fields = {item.name: item.type for item in diff.mapping.fields}
        if diff.mapping.late:
            make_changes(diff, DiffOptions())
        fields = diff.json_of_fields() if line.mode == "events" else self._traits(columns)
        return select(
            """
            select 'add' as operation, :key as key, :lane as row_hash,
                :identifiers as identifiers, :fields as fields, :run_id as origin,
                a.message_type as cause, a.timestamp as caused_at, :invalid as invalid
            from :model as a order by :lane, a.timestamp, :key
            """,
            key=diff.key,
            lane=exp.cast(statement("a.bucket % :lanes", lanes=line.lanes), "bigint"),
            identifiers=diff.identifiers.json_of_identifiers(),
            fields=fields,
            run_id=run_id,
            invalid=diff.identifiers.invalid(),
            model=diff.model,
        )

    def _traits(self, columns: Mapping[str, str]) -> exp.Expr:
        return self.warehouse.json_object(
            {
                _TRAITS: (column("traits", of="a"), columns["traits"]),
                TIMESTAMP: (column("timestamp", of="a"), columns["timestamp"]),
            }
        )

    def _diff(self, line: Line, columns: dict[str, str]) -> Diff:
        workspace, sync, destination = self.source.workspace, line.sync, line.destination
        mapping = make_mapping("message_id", sync.config, destination, _own_columns(columns), sync.place)
        if line.mode != "events":
            mapping = replace(mapping, fields=(), along=())
        check_found(sync.config, destination, mapping, sync.place)
        identified, whole = identified_by(mapping, destination), mapping
        if (hider := hider_of(workspace.root, sync.config.to)) is not None:
            mapping = hidden(mapping, hider, f"{sync.place} ({TRANSFORMATIONS_FILE}: pii)")
            if hider.hashes:
                give_salt(self.warehouse, hider)
        mapping = self._typed(mapping)
        presence = Presence.of(sync.config.mode, destination)
        facts = self._facts(sync, presence)
        members = members_of(
            workspace,
            sync,
            columns,
            facts,
            self.warehouse,
            self.tables,
            identified,
            spelled_of(whole, mapping, destination, columns, identified),
            destination.phone_region,
        )
        members = self._without_delivered(self._without_suppressed_people(members, facts))
        return Diff(
            warehouse=self.warehouse,
            tables=self.tables,
            sync=sync.name,
            members=members,
            mapping=mapping,
            mode=sync.config.mode,
            facts=facts,
            finishers=finishers(destination),
            presence=presence,
            identity=Identity(),
        )

    def _typed(self, mapping: FieldMapping) -> FieldMapping:
        untyped = mapping.untyped()
        if not untyped:
            return mapping
        picked = exp.select(*(exp.alias_(made, name, quoted=True) for name, made in untyped.items()))
        return mapping.typed(self.warehouse.columns(picked.from_(MESSAGES)))

    def _facts(self, sync: Sync, presence: Presence) -> StateSummary:
        # The catalog does not list temporary tables, so look up only the other tables.
        elsewhere = replace(sync, audience=_Elsewhere(sync.audience.model, sync.audience.config, self.tables))
        places = find_places(elsewhere, self.warehouse, self.tables)
        facts = read_facts(sync, self.warehouse, self.tables, places, "", presence)
        self._places = places.tables
        return facts.holding_nobody()

    def _without_suppressed_people(self, members: Members, facts: StateSummary) -> Members:
        """Remove messages of people who are suppressed by another of their identifiers.

        Also counts the messages left out so far, for any cause.
        """
        if members.chosen:
            found = self.warehouse.rows(
                select("select o.cause, count(*) from :left_out as o group by 1", left_out=LEFT_OUT)
            )
            self.left_out.update({str(cause): int(count) for cause, count in found})
        identifiers = profile_identifiers(self.source.workspace, self.warehouse)
        if not facts.suppressed_kinds or identifiers is None:
            return members
        kinds = self.warehouse.rows(
            select("select distinct i.identifier_type from :identifiers as i", identifiers=identifiers)
        )
        pairs = [
            statement(
                "(s.identifier_type = :suppressed and p.identifier_type = :kind)",
                suppressed=suppressed,
                kind=kind,
            )
            for suppressed in facts.suppressed_kinds
            for (kind,) in kinds
            if folded(str(kind)) == folded(suppressed)
        ]
        if not pairs:
            return members
        tests = [
            statement(
                """
                :name in (
                    select i.identifier_value from :identifiers as i where i.identifier_type = :kind
                    and i.canonical_id in (
                        select p.canonical_id from :identifiers as p
                        inner join :suppressions as s
                            on lower(trim(s.identifier_value)) = lower(p.identifier_value) and (:pairs)
                    )
                )
                """,
                name=column(name, of="a"),
                kind=name,
                identifiers=identifiers,
                suppressions=self.tables.suppressions,
                pairs=exp.or_(*pairs),
            )
            for name in ("user_id", "anonymous_id")
        ]
        return self._left_out_by(members, exp.or_(*tests), SUPPRESSED)

    def _without_delivered(self, members: Members) -> Members:
        """Remove messages that event syncs have delivered to the destination."""
        if self.again or not self.live or "sync_state" not in (self._places or ()):
            return members
        names = [exp.convert(sync.name) for sync in self.live]
        test = statement(
            "cast(a.message_id as varchar) in (select s.key from :state as s "
            "where :of and s.presence = :event and s.row_hash is not null)",
            state=self.tables.state,
            of=exp.In(this=column("sync", of="s"), expressions=names),
            event=EVENT,
        )
        return self._left_out_by(members, test, DELIVERED_BY_SYNCS)

    def _left_out_by(self, members: Members, test: exp.Expr, cause: str) -> Members:
        parts = {"members": members.relation, "test": test}
        ((count,),) = self.warehouse.rows(
            query("select count(*) from :members as a where coalesce(:test, false)", **parts)
        )
        if not count:
            return members
        self.left_out[cause] += int(count)
        kept = query("select a.* from :members as a where not coalesce(:test, false)", **parts)
        return replace(members, relation=exp.Subquery(this=kept))


@dataclass(frozen=True)
class _Elsewhere(AudienceModel):
    tables: StateTables

    @property
    def relation(self) -> exp.Table:
        return self.tables.named(MESSAGES.name)


def _own_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the message columns that a mapping may read."""
    return {name: kind for name, kind in columns.items() if name != "bucket"}


def write_slice(warehouse: Warehouse, records: exp.Select, spool: Spool) -> list[Range]:
    """Spool a slice's records, and return the range of each lane."""
    import pyarrow.compute as pc

    lanes: Counter[int] = Counter()

    def counted() -> Iterator[pa.RecordBatch]:
        for batch in warehouse.stream(records, _BATCH_ROWS):
            found: Any = pc.value_counts(batch.column(batch.schema.get_field_index("row_hash")))
            for each in found.to_pylist():
                lanes[int(each["values"])] += each["counts"]
            yield batch

    spool.write("add", counted())
    ranges, first = [], 0
    for lane in sorted(lanes):
        ranges.append(Range("add", first, first + lanes[lane]))
        first += lanes[lane]
    return ranges
