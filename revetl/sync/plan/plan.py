"""The plan: what a sync would do, from the diff in the warehouse. Changes and sends nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from revetl.config.events import cased
from revetl.delivery.spool import OPERATIONS
from revetl.destinations.base.records import digest
from revetl.mapping.fields import (
    ALONG,
)
from revetl.mapping.internal_columns import is_internal
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan import guards
from revetl.sync.plan.counts import Counts, count_changes
from revetl.sync.plan.daily_limits import LATER
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.inputs import ColumnsLost
from revetl.sync.plan.presence import MEMBER
from revetl.sync.plan.unfinished import delivered_before, without_unfinished
from revetl.sync.state.identity import (
    Identity,
    destination_stop,
    is_accepted,
    restored_stop,
    warehouse_stop,
)
from revetl.sync.stop import Stop

Causes = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Request:
    """An exact request of a plan, with secrets redacted."""

    operation: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: object


@dataclass(frozen=True)
class IdentifierPreview:
    """An identifier of a plan: the share of members with a valid value, the normalization rule, examples of
    `raw`, `normalised` and `sent` values, and the number of members with an invalid value."""

    name: str
    share: float
    rule: str | None = None
    examples: tuple[tuple[object, object, object], ...] = ()
    invalid: int = 0


@dataclass(frozen=True)
class Shaped:
    """Records that a run would reject before sending: the first `checked` of the plan's `of` records,
    serialized as in a run, and the number `rejected`, by reason. Excludes rejections by the destination."""

    checked: int
    of: int
    rejected: Mapping[str, int]

    @property
    def is_sample(self) -> bool:
        """Whether only some of the records were checked."""
        return self.checked < self.of


@dataclass(frozen=True)
class Preview:
    """Details of a plan to review before it runs: exact requests, the number of requests, minutes at the
    destination's rate limit, the approximate charge (in units of `charged_in`), the `share` of members who
    can be identified, in total and by identifier, the number of updates by changed field, and records that
    would be rejected before sending (`shaped`)."""

    requests: tuple[Request, ...]
    request_count: int
    minutes: float | None
    share: float
    identifiers: tuple[IdentifierPreview, ...]
    changed_fields: Mapping[str, int]
    charge: int | None = None
    charged_in: str | None = None
    shaped: Shaped | None = None


@dataclass(frozen=True)
class Plan:
    """What a sync would do. `causes` counts changes by operation and cause. `left_out` counts members who are
    not sent, by cause. `rejected` counts records that the destination rejected and whose rows have not
    changed since. `kept` counts members who left under a key while another member took over their
    identifiers. `new_fields` and `old_fields` are the fields that a changed mapping added and removed.
    `notes` are sentences about the plan that no count covers. `invalid` counts members with an invalid value,
    by identifier. `whole` is true if every member is sent because the destination only accepts full
    snapshots. `digest` identifies the plan; it changes with the audience or the state."""

    sync: str
    audience: str
    destination: str
    mode: str
    audience_rows: int = 0
    held_rows: int = 0
    add: int = 0
    update: int = 0
    remove: int = 0
    kept: int = 0
    rejected: int = 0
    causes: Causes = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    new_fields: tuple[str, ...] = ()
    old_fields: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stops: tuple[Stop, ...] = ()
    whole: bool = False
    digest: str | None = None
    preview: Preview | None = None
    invalid: Mapping[str, int] = field(default_factory=dict)

    @property
    def changes(self) -> int:
        """Number of records to send."""
        return self.add + self.update + self.remove

    @property
    def counts(self) -> dict[str, int]:
        """Number of records to send, by operation."""
        return {"add": self.add, "update": self.update, "remove": self.remove}

    @property
    def suppressed(self) -> int:
        """Number of removes for suppressed people, which volume guards never stop."""
        return self.causes.get("remove", {}).get("suppressed", 0)


def _names(sync: Sync) -> dict[str, Any]:
    return {
        "sync": sync.name,
        "audience": sync.audience.name,
        "destination": sync.config.to,
        "mode": sync.config.mode,
    }


def without_columns(sync: Sync, lost: ColumnsLost) -> Plan:
    """Return the plan of a sync whose audience has lost columns that were sent."""
    return Plan(**_names(sync), held_rows=lost.held_rows, stops=(lost.stop,))


def make_plan(
    workspace: Workspace, sync: Sync, diff: Diff, *, full_refresh: bool = False, retry: bool = False
) -> Plan:
    """Compute the changes, in the warehouse's temporary table, and apply the guards."""
    summary = count_changes(diff, full_refresh=full_refresh, retry=retry)
    return judged(workspace, sync, diff, summary, full_refresh=full_refresh)


def judged(
    workspace: Workspace, sync: Sync, diff: Diff, summary: Counts, *, full_refresh: bool = False
) -> Plan:
    """Make the plan from counted changes."""
    facts = diff.facts
    causes = summary.causes
    totals = {operation: sum(by_cause.values()) for operation, by_cause in causes.items()}
    rekeyed = totals.get("rekey", 0)
    adds, updates = totals.get("add", 0) + rekeyed, totals.get("update", 0)
    removes = summary.sent_removes
    new_fields, old_fields = _changed_names(diff) if facts.otherwise else ((), ())
    before = Identity.read(facts.identity)
    failures = set(workspace.manifest.failures(sync.audience.model))
    if facts.build.failed:
        failures.add(sync.audience.name)
    change = guards.GuardInputs(
        sync=sync.name,
        key=sync.audience.key,
        audience_rows=summary.audience_rows,
        held_rows=facts.held_rows,
        adds=adds,
        updates=updates,
        removes=removes,
        null_keys=summary.null_keys,
        repeated_keys=_repeated(diff, summary),
        max_change=sync.config.max_change,
        max_removes=sync.config.max_removes,
        max_age=sync.config.max_age or sync.audience.config.max_age,
        built_at=facts.build.built_at or workspace.manifest.built_at(sync.audience.model),
        failures=tuple(sorted(failures)),
        lost_fields=_lost(diff, old_fields) if sync.config.fields is None else (),
        key_before=None if full_refresh or before is None else before.key_column,
    )
    plan = Plan(
        **_names(sync),
        audience_rows=summary.audience_rows,
        held_rows=facts.held_rows,
        add=adds,
        update=updates,
        remove=removes,
        kept=totals.get("forget", 0),
        rejected=totals.get("wait", 0),
        causes=_by_sent(causes),
        left_out=summary.left_out,
        new_fields=new_fields,
        old_fields=old_fields,
        stops=(*_misplaced(sync, diff, full_refresh=full_refresh), *_stops(change, diff)),
        notes=(*_notes(sync, diff), *_waiting(sync, diff, summary)),
        invalid=_invalid(diff, summary),
    )
    return replace(plan, digest=_digest(plan, sync, diff, summary))


def _stops(change: guards.GuardInputs, diff: Diff) -> list[Stop]:
    """Return the stops for a change.

    Changes that an interrupted run was already allowed to make are only looked up if a volume guard would
    stop.
    """
    stops = guards.judge(change, diff)
    if diff.has_state and any(stop.guard in guards.VOLUME for stop in stops):
        stops = guards.judge(without_unfinished(change, diff), diff)
    if (before := delivered_before(diff)) is not None:
        stops.append(guards.lost_state(diff.sync, *before))
    return stops


def _invalid(diff: Diff, summary: Counts) -> dict[str, int]:
    """Count members with an invalid value, by identifier."""
    counts = zip(diff.mapping.identifiers, summary.given, summary.usable, strict=True)
    return {item.name: given - usable for item, given, usable in counts if given > usable}


def _misplaced(sync: Sync, diff: Diff, *, full_refresh: bool) -> Iterator[Stop]:
    """Yield stops for a state that cannot be compared with.

    The state may belong to another warehouse or destination, be older than the last delivery, or have members
    whom the mode would lose track of.
    """
    facts, before = diff.facts, Identity.read(diff.facts.identity)
    if (stop := warehouse_stop(sync.name, before, diff.identity)) is not None:
        yield stop
    if full_refresh:
        return
    if (stop := destination_stop(sync.name, sync.config.to, before, diff.identity)) is not None:
        yield stop
    if not facts.knows_run and diff.remembered is not None and not is_accepted(before, diff.remembered):
        marked_at = sync.config.to if diff.is_marked else None
        yield restored_stop(sync.name, diff.remembered, facts.last_run, marked_at)
    members = facts.present.get(MEMBER, 0)
    if members and diff.presence.forgets_members:
        yield Stop(
            "mode",
            f"{sync.name}: the mode was '{facts.last_mode or 'mirror'}' and is '{sync.config.mode}' now, "
            f"which takes nobody out of the audience: the {members:,} people at '{sync.config.to}' would "
            "be forgotten. Remove them first (with an empty audience in the previous mode), send to another "
            "destination name, or leave them there for good with --full-refresh.",
            forceable=False,
        )


def _notes(sync: Sync, diff: Diff) -> Iterator[str]:
    """Yield further notes about the state."""
    facts = diff.facts
    rows = sum(facts.present.values())
    if facts.last_mode not in (None, sync.config.mode):
        yield (
            f"the mode was '{facts.last_mode}' before: of {rows:,} people in the state, {facts.held_rows:,} "
            f"count as held in mode '{sync.config.mode}'"
        )
    if diff.identity.has_other_key(Identity.read(facts.identity)):
        yield (
            f"the credentials of '{sync.config.to}' have changed since the last run. If they are of another "
            "account, nobody is there yet: use --full-refresh"
        )
    now = diff.mapping.versions
    before = " ".join(re.findall(r"(?:phones|countries) \S+", facts.hash_by_before))
    if facts.otherwise and before != now and now:
        yield (
            f"identifiers are normalized by {now}, and those of {facts.otherwise:,} held rows were by "
            f"{before or 'an earlier version'}. Those whose identifiers come out different are sent again."
        )
    if ignored := diff.members.ignored:
        yield (
            f"suppressions by {', '.join(ignored)} match nobody here: the audience has no column of that name"
        )


def _waiting(sync: Sync, diff: Diff, summary: Counts) -> Iterator[str]:
    """Yield notes about records that are not sent although none was rejected."""
    later = sum(summary.causes.get(LATER, {}).values())
    if later and diff.daily_limit is not None:
        yield diff.daily_limit.note(later)
    unknown = diff.facts.uncertain - summary.causes.get("add", {}).get("unknown", 0)
    if diff.presence.at_most_once and unknown > 0:
        yield unknown_note(sync, unknown)


def unknown_note(sync: Sync, count: int) -> str:
    """Return the note about at-most-once records with an unknown outcome."""
    return (
        f"{count:,} records have an unknown outcome: whether '{sync.config.to}' sent them is not known, and "
        "they are not sent again by themselves. Look them up there; "
        f"`revetl retry audience {sync.audience.name} --to {sync.config.to}` sends them again"
    )


def _digest(plan: Plan, sync: Sync, diff: Diff, summary: Counts) -> str:
    """Compute the plan's digest: the changes, their inputs, the sync's config, and the last run that
    delivered anything.

    A run that delivered nothing leaves the digest unchanged.
    """
    count, total = summary.digest
    sizes = (plan.audience_rows, plan.held_rows, count, total)
    last = diff.facts.last_sent
    return digest(*map(str, sizes), str(last), sync.config.model_dump_json(), diff.mapping.fingerprint)


def _by_sent(causes: Causes) -> Causes:
    """Return the causes by sent operation; a rekey is a remove and an add."""
    sent = {operation: dict(causes[operation]) for operation in OPERATIONS if operation in causes}
    for cause, count in causes.get("rekey", {}).items():
        for operation in ("remove", "add"):
            sent.setdefault(operation, {})[cause] = count
    return sent


def _changed_names(diff: Diff) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the fields that a changed mapping added and removed, compared with the fields sent before."""
    text = diff.facts.fields_before
    try:
        before = [] if text is None else [name for name in orjson.loads(text) if not name.startswith(ALONG)]
    except orjson.JSONDecodeError:
        # The value is not readable JSON; missing field names must not fail the plan.
        return (), ()
    now = [item.name for item in diff.mapping.fields]
    return tuple(name for name in now if name not in before), tuple(
        name for name in before if name not in now
    )


def _lost(diff: Diff, old_fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sent fields that the model has lost.

    Excludes fields hidden from the destination and internal columns, which older versions sent.
    """
    names = [*old_fields, *(item.name for item in diff.mapping.fields)]
    plain = {name: cased(name, "snake_case") for name in names}
    there = frozenset(plain.values())
    return tuple(
        name
        for name in old_fields
        if name not in diff.mapping.dropped and not is_internal(plain[name], there)
    )


def _repeated(diff: Diff, summary: Counts) -> int:
    """Count rows of the audience with a duplicate key.

    Avoids another scan of the audience. Without duplicates, the audience has the keys in destination state,
    minus those that left, plus the new ones; any excess is duplicates of existing keys. Duplicates of new
    keys are all in the changes. Modes that never remove have no changes for members who left, so there the
    distinct keys are counted.
    """
    with_key = summary.audience_rows - summary.null_keys
    if not diff.removes:
        return with_key - summary.different_keys
    return with_key - (diff.facts.held_rows - summary.left_keys) - summary.new_keys
