"""Determine state changes of syncs and their alerts, which `notify` sends."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Protocol

from revetl.config.jinja import render
from revetl.config.models import AlertConfig, AlertKind
from revetl.errors import UsageError, nearest
from revetl.observability import notify
from revetl.observability.notify import Message, Outbox

HISTORY = 50
"""How many past runs determine the state of a sync."""

_LONGEST_ERROR = 600
_EMAIL = re.compile(r"[^\s<>()\",;:=]+@[\w-]+(?:\.[\w-]+)+")
_PATIENCE_SECONDS = 30.0


class State(StrEnum):
    """The state of a sync."""

    OK = "ok"
    FAILED = "failed"
    GUARD = "guard"
    REJECTING = "rejecting"


class RunOutcome(Protocol):
    """What determines a state: the status of a run and its counts per operation."""

    @property
    def status(self) -> str: ...
    @property
    def attempted(self) -> Mapping[str, int]: ...
    @property
    def rejected(self) -> Mapping[str, int]: ...


class RunSummary(RunOutcome, Protocol):
    """What a message includes of a run (`revetl.sync.state.run_log.Run`)."""

    @property
    def run_id(self) -> str: ...
    @property
    def sync(self) -> str: ...
    @property
    def audience(self) -> str: ...
    @property
    def destination(self) -> str: ...
    @property
    def planned(self) -> Mapping[str, int]: ...
    @property
    def delivered(self) -> Mapping[str, int]: ...
    @property
    def aborted(self) -> Mapping[str, int]: ...
    @property
    def stopped_by(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True)
class PastRun:
    """An `RunOutcome` from `sync_runs`."""

    status: str
    attempted: Mapping[str, int]
    rejected: Mapping[str, int]


def rejection_rate(run: RunOutcome) -> float | None:
    """Return the fraction of attempted records that were rejected; None if nothing was attempted."""
    attempted = sum(run.attempted.values())
    return sum(run.rejected.values()) / attempted if attempted else None


def state_of(run: RunOutcome, limit: float = 0.05) -> State | None:
    """Return the state that a run implies: REJECTING if the fraction of rejected records exceeds `limit`.
    None for a run that implies none: unfinished, interrupted by a user, or taken over by another run."""
    match run.status:
        case "stopped":
            return State.GUARD
        case "refused" | "crashed":
            return State.FAILED
        case "success" | "rejected":
            return State.REJECTING if (rejection_rate(run) or 0.0) > limit else State.OK
    return None


def state_after(previous: State | None, run: RunOutcome, limit: float = 0.05) -> State | None:
    """Return the state of a sync after a run: the run's state, or the previous one if it implies none.
    Rejected records stay pending, so a run that attempts nothing doesn't end REJECTING."""
    found = state_of(run, limit)
    idle = found is State.OK and rejection_rate(run) is None
    return previous if found is None or (previous is State.REJECTING and idle) else found


def last_state(newest_first: Iterable[RunOutcome], limit: float = 0.05) -> State | None:
    """Return the state of a sync after its past runs; None without runs."""
    state = None
    for run in reversed(list(newest_first)):
        state = state_after(state, run, limit)
    return state


def messages(previous: State | None, current: State | None, run: RunSummary) -> tuple[Message, ...]:
    """Return the message for a state change; empty if the state is unchanged or the first run succeeded."""
    if current is None or current is previous or (current is State.OK and previous is None):
        return ()
    kind: AlertKind
    match current:
        case State.OK:
            kind, title = "recovered", f"{run.sync} has recovered"
        case State.GUARD:
            kind, title = "guard", f"{run.sync} was stopped by the guard {run.stopped_by or ''}".rstrip()
        case State.REJECTING:
            kind, title = (
                "rejection_rate",
                f"{run.sync}: {rejection_rate(run) or 0:.1%} of records rejected",
            )
        case State.FAILED:
            kind, title = "failed", f"{run.sync} failed"
    lines = [
        *([f"Previous state: {previous}."] if previous else []),
        *([_sentence(run)] if run.error and current is not State.OK else []),
        f"Status: {run.status}. {_counts(run)}.",
        f"Run: {run.run_id}, {run.seconds:.1f} s.",
        *_way_out(current, run),
    ]
    return (Message(kind, f"revetl: {title}", "\n".join(lines)),)


def _sentence(run: RunSummary) -> str:
    """Return the reason of a failure. Alerts leave the company's systems, so email addresses are masked, and
    the message of the keys guard, which quotes rows, isn't included."""
    if run.stopped_by == "keys":
        return "The audience's key is null or not unique."
    text = " ".join((run.error or "").split())
    text = _EMAIL.sub("***", text)
    return text if len(text) <= _LONGEST_ERROR else text[:_LONGEST_ERROR] + "…"


def _counts(run: RunSummary) -> str:
    if not sum(run.planned.values()):
        return "Nothing to send"
    planned = ", ".join(f"{name} {count:,}" for name, count in run.planned.items() if count)
    delivered, rejected = sum(run.delivered.values()), sum(run.rejected.values())
    unanswered = sum(run.attempted.values()) - delivered - rejected
    sums = f"{delivered:,} delivered, {rejected:,} rejected, {sum(run.aborted.values()):,} not sent"
    return f"Planned: {planned}; {sums}" + (f", {unanswered:,} without a response" if unanswered else "")


def _way_out(state: State, run: RunSummary) -> list[str]:
    selection = f"audience {run.audience} --to {run.destination}"
    lines = []
    if state is State.GUARD:
        lines.append(f"To review the changes: revetl plan {selection}")
    if state is State.FAILED:
        lines.append(f"After fixing the cause: revetl sync {selection}")
    if sum(run.rejected.values()):
        lines.append(f"To see why records were rejected: revetl rejections {selection}")
    return lines


@dataclass(frozen=True)
class _Watch:
    """One entry of `alerts:` with the outboxes of its addresses."""

    config: AlertConfig
    outboxes: tuple[Outbox, ...]

    def watches(self, sync: str) -> bool:
        return any(fnmatchcase(sync, pattern) for pattern in self.config.syncs)


class Alerts:
    """The alerts of a command. `tell` queues messages for a thread and returns at once; `close` waits for
    pending messages, for a few seconds if an address doesn't respond."""

    def __init__(
        self, configs: Sequence[AlertConfig], syncs: Collection[str], say: Callable[[str], None]
    ) -> None:
        """Open the addresses of the entries that watch one of `syncs`, except those that render to nothing.
        `say` receives warnings: about inline addresses, and in `close`.

        Raises UsageError for a missing environment variable, an address that apprise doesn't support, and if
        apprise isn't installed.
        """
        self._say = say
        self._secrets: list[str] = []
        self._watches: list[_Watch] = []
        for index, config in enumerate(configs):
            watch = _Watch(config, ())
            if any(watch.watches(sync) for sync in syncs):
                place = f"revetl.yml: alerts.{index}.to"
                self._watches.append(_Watch(config, _opened(config, place, say, self._secrets)))

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets to hide in logs."""
        return tuple(self._secrets)

    def watches(self, sync: str) -> bool:
        """Whether any entry with an address watches a sync. Otherwise, its past runs aren't needed."""
        return any(watch.outboxes and watch.watches(sync) for watch in self._watches)

    def tell(self, past: Sequence[RunOutcome], run: RunSummary) -> None:
        """Send messages for the state change of a run. `past` are the sync's earlier runs, newest first, at
        most `HISTORY`."""
        for watch in self._watches:
            if not watch.watches(run.sync):
                continue
            previous = last_state(past, watch.config.rejection_rate)
            current = state_after(previous, run, watch.config.rejection_rate)
            for message in messages(previous, current, run):
                if message.kind in watch.config.on:
                    for outbox in watch.outboxes:
                        outbox.put(message)

    def close(self) -> None:
        """Wait for pending messages, and warn about those that weren't sent."""
        _close([box for watch in self._watches for box in watch.outboxes], self._say)

    def __enter__(self) -> Alerts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DataAlerts:
    """The data alerts of a command. Messages of a check go to every entry that contains it."""

    def __init__(self, configs: Sequence[AlertConfig], say: Callable[[str], None]) -> None:
        """Open the addresses of the entries with checks. Raises like `Alerts`."""
        self._say = say
        self._secrets: list[str] = []
        self._sent: dict[Outbox, list[tuple[str, str]]] = {}
        self._entries = [
            (config, _opened(config, f"revetl.yml: alerts.{index}.to", say, self._secrets))
            for index, config in enumerate(configs)
            if config.data
        ]

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets to hide in logs."""
        return tuple(self._secrets)

    def tell(self, key: str, message: Message) -> None:
        """Send a message of the check `key`; `recovered` only to entries with that in `on`."""
        for config, outboxes in self._entries:
            if _has(config, key) and (message.kind == "data" or message.kind in config.on):
                for outbox in outboxes:
                    outbox.put(message)
                    self._sent.setdefault(outbox, []).append((key, message.title))

    def has_address(self, key: str) -> bool:
        """Whether an entry with the check `key` has an address; its variable may not be set here."""
        return any(outboxes and _has(config, key) for config, outboxes in self._entries)

    def outcome(self) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """Return the check and title of each message that reached an address, and of each that reached none.
        Only valid after `close`."""
        lost: set[tuple[str, str]] = set()
        got: set[tuple[str, str]] = set()
        for outbox, sent in self._sent.items():
            arrived = len(sent) - outbox.unsent
            got.update(sent[:arrived])
            lost.update(sent[arrived:])
        return got, lost - got

    def close(self) -> None:
        """Wait for pending messages, and warn about those that weren't sent."""
        _close([box for _, outboxes in self._entries for box in outboxes], self._say)

    def __enter__(self) -> DataAlerts:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _has(config: AlertConfig, key: str) -> bool:
    return any(check.key == key for check in config.data)


def _close(outboxes: Iterable[Outbox], say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for outbox in outboxes:
        if problem := outbox.close(deadline):
            say(f"Warning: {problem}")


def _opened(
    config: AlertConfig, place: str, say: Callable[[str], None], secrets: list[str]
) -> tuple[Outbox, ...]:
    """Open the outboxes of an entry. Possible secrets in its addresses are added to `secrets`."""
    opened = []
    for index, raw in enumerate(config.to):
        at = f"{place}.{index}" if len(config.to) > 1 else place
        address = _rendered(raw, at).strip()
        if not address:
            continue
        opened.append(notify.open_outbox(address, at))
        secrets += [address, *notify.secrets_of(address)]
        if "env_var" not in raw:
            say(
                f"Warning: {at} is an inline address, which lets anyone with the file send messages to it. "
                "Write \"{{ env_var('NAME') }}\" and export the variable."
            )
    return tuple(opened)


def check_alerts(configs: Sequence[AlertConfig], syncs: Collection[str]) -> None:
    """Check `alerts:` against the names of all syncs, without sending anything. Raises UsageError like
    `Alerts`, and for a pattern that matches no sync. Missing variables are ignored."""
    for index, config in enumerate(configs):
        for pattern in config.syncs:
            if pattern != "*" and not any(fnmatchcase(sync, pattern) for sync in syncs):
                place = f"revetl.yml: alerts.{index}.syncs"
                raise UsageError(f"{place}: no sync matches '{pattern}'. {nearest(pattern, syncs)}")
        notify.require_apprise(f"revetl.yml: alerts.{index}")
        for raw in config.to:
            at = f"revetl.yml: alerts.{index}.to"
            address = str(render(raw, at, placeholders=True)).strip()
            if address and "<" not in address:
                notify.open_outbox(address, at)


def check_data_alerts(
    configs: Sequence[AlertConfig], audiences: Collection[str], syncs: Collection[str]
) -> None:
    """Raise UsageError for a check of an unknown audience or sync, and for a name that two different checks
    share."""
    named: dict[str, object] = {}
    for index, config in enumerate(configs):
        for place, check in enumerate(config.data):
            at = f"revetl.yml: alerts.{index}.data.{place}"
            for key, pattern, there in (
                ("audience", check.audience, audiences),
                ("sync", check.sync, syncs),
            ):
                if pattern is not None and not any(fnmatchcase(name, pattern) for name in there):
                    raise UsageError(f"{at}.{key}: no {key} matches '{pattern}'. {nearest(pattern, there)}")
            if named.setdefault(check.key, check) != check:
                raise UsageError(f"{at}.name: another check has the name '{check.key}'. Rename one of them.")


def _rendered(raw: str, place: str) -> str:
    way_out = ", or write env_var('NAME', '') to disable alerts where it is not set"
    return str(render(raw, place, way_out=way_out))
