"""The disposition of a person at each sync of an audience: sent, to be sent, or held back and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from revetl.inspect.explain.answer import Person, SentChange, SyncVerdict
from revetl.inspect.explain.facts import Row, SyncRows
from revetl.inspect.explain.keyed_diff import NextChange, next_changes
from revetl.mapping.fields import ALONG
from revetl.observability.text import counted
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.inputs import ColumnsLost, read_inputs
from revetl.sync.state.tables import StateTables, state_tables
from revetl.warehouse import Warehouse

_LEFT_OUT = {
    "suppressed": "is on the suppression list",
    "excluded": "is excluded by exclude:",
    "claimed": "belongs to an audience with a higher priority in its priority list",
    "held_out": "is in the holdout group, which measures the audience's effect",
    "other_event": "is an event that the sync's `events:` do not include",
    "over_limit": "exceeds the sync's limit:",
}
_SENT = {
    "add": "would_be_added",
    "update": "would_be_updated",
    "remove": "would_be_removed",
    "rekey": "would_be_rekeyed",
}


def explain_delivery(
    workspace: Workspace, syncs: Sequence[Sync], person: Person, warehouse: Warehouse
) -> Iterator[SyncVerdict]:
    """Yield a disposition per sync and key of the person, or one without a key if the key doesn't identify
    them."""
    tables = state_tables(workspace, warehouse.database)
    for sync in syncs:
        yield from _of_sync(workspace, sync, person, warehouse, tables)


def _of_sync(
    workspace: Workspace, sync: Sync, person: Person, warehouse: Warehouse, tables: StateTables
) -> Iterator[SyncVerdict]:
    key = sync.audience.key
    keys = tuple(dict.fromkeys((*person.keys, *person.identities.get(key, ()))))
    if not keys:
        yield SyncVerdict(
            sync.name,
            None,
            "no_key",
            f"has no {key}, the key of {sync.audience.name}: nothing is sent.",
        )
        return
    destination = workspace.destination(sync, placeholders=True)
    diff = read_inputs(workspace, sync, destination, warehouse, tables)
    facts = SyncRows(sync, keys, warehouse, tables)
    held, rejections, history = facts.held(), facts.rejections(), facts.history()
    last_run = facts.last_run()
    if isinstance(diff, ColumnsLost):
        stop = diff.stop
        for each in keys:
            yield SyncVerdict(
                sync.name, each, "stopped", f"guard {stop.guard} would stop the next run: {stop.message}"
            )
        return
    left_out, changes = facts.left_out(diff), next_changes(diff, keys)
    members = facts.members(diff)
    lists = {
        cause: facts.listed_in(workspace, cause)
        for cause in ("excluded", "claimed")
        if any(found == cause for found, _ in left_out.values())
    }
    for each in keys:
        known = any(each in found for found in (held, rejections, members)) or history[each]
        if each not in person.keys and not known:
            continue
        at_sync = _AtSync(
            sync=sync,
            key=each,
            held=held.get(each),
            rejection=rejections.get(each),
            left_out=left_out.get(each),
            member=members.get(each),
            change=changes.get(each),
            last_run=last_run,
            by=tuple(lists.get(left_out[each][0], {}).get(each, ())) if each in left_out else (),
        )
        yield replace(at_sync.verdict(), history=tuple(_change(row) for row in history[each]))


@dataclass(frozen=True)
class _AtSync:
    """The facts about one key at one sync."""

    sync: Sync
    key: str
    held: Row | None
    rejection: Row | None
    left_out: tuple[str, Any] | None
    member: tuple[str, str] | None
    change: NextChange | None
    last_run: Row | None
    by: tuple[str, ...]

    def verdict(self) -> SyncVerdict:
        """Return the first that applies: ineligible, not a member, rejected, unanswered, unidentified,
        changed, sent."""
        word, sentence = self._word_and_sentence()
        change = self.change if self.change is not None and not self.change.waits else None
        sent = change.operation if change is not None and change.operation in _SENT else None
        acknowledged = self.held if self.held is not None and self.held["row_hash"] is not None else None
        return SyncVerdict(
            sync=self.sync.name,
            key=self.key,
            verdict=word,
            sentence=sentence,
            next_operation=sent,
            differs=self._differs(),
            held_since=acknowledged["acknowledged_at"] if acknowledged else None,
            held_by_run=acknowledged["run_id"] if acknowledged else None,
            notes=tuple(self._notes(word, sent)),
        )

    def _word_and_sentence(self) -> tuple[str, str]:
        to = self.sync.config.to
        if self.left_out is not None:
            return self._of_left_out()
        if self.member is None and self.held is None:
            return "not_a_member", "is not in the audience: nothing is sent."
        if self.rejection is not None and self.change is not None and self.change.waits:
            return "rejected", self._rejection(f"{to} rejected the {self.rejection['operation']}")
        if self.held is not None and self.held["row_hash"] is None and self.change is not None:
            return "unanswered", (
                f"run {self.held['pending_run_id']} sent the {self.held['pending_operation']} but never "
                f"received a response, so its outcome at {to} is unknown. The next run sends the "
                f"{self.change.operation}."
            )
        if self.member is not None and not any(_json(self.member[0]).values()):
            names = " or ".join(_json(self.member[0])) or "any"
            return "no_identifier", f"has no {names}, which {to} needs as identifiers: it cannot be sent."
        if self.change is not None and (found := self._of_change(self.change)) is not None:
            return found
        return self._of_held()

    def _of_left_out(self) -> tuple[str, str]:
        assert self.left_out is not None
        cause, since = self.left_out
        sentence = _LEFT_OUT[cause]
        if self.by:
            sentence += f" ({', '.join(self.by)})"
        if cause == "over_limit":
            sentence += f" {self.sync.config.limit:,}"
        if cause == "suppressed" and since is not None:
            sentence += f" since {_when(since)}"
        if self.change is not None and self.change.operation == "remove":
            return cause, f"{sentence}. The next run removes them from {self.sync.config.to}."
        there = ", which still has them" if self.held is not None else ""
        return cause, f"{sentence}: not sent to {self.sync.config.to}{there}."

    def _of_change(self, change: NextChange) -> tuple[str, str] | None:
        to = self.sync.config.to
        why = {
            "new": "they are new",
            "changed": "their synced values changed",
            "rekeyed": "their identifier changed",
            "left": "they left the audience",
            "suppressed": "they are on the suppression list",
        }.get(change.cause, change.cause)
        match change.operation:
            case "add":
                return "would_be_added", f"the next run adds them to {to}: {why}."
            case "update":
                return "would_be_updated", f"the next run updates them in {to}: {why}."
            case "remove":
                return "would_be_removed", f"the next run removes them from {to}: {why}."
            case "rekey":
                return (
                    "would_be_rekeyed",
                    f"the next run removes them from {to} by their old identifier and adds them by their new "
                    "one: "
                    f"{why}.",
                )
            case "forget":
                return (
                    "kept",
                    f"left the audience but is not removed from {to}: another member has their identifier.",
                )
        return None

    def _of_held(self) -> tuple[str, str]:
        to = self.sync.config.to
        if self.held is None:
            return (
                "not_sent",
                f"is in the audience, but mode '{self.sync.config.mode}' does not send them to {to}.",
            )
        by = f"in run {self.held['run_id']} at {_when(self.held['acknowledged_at'])}"
        if self.member is None:
            mode = self.sync.config.mode
            return (
                "kept",
                f"left the audience; mode '{mode}' does not remove anyone from {to}, which has had them "
                f"since {by}.",
            )
        return "delivered", f"was delivered to {to} {by}; nothing has changed since."

    def _rejection(self, start: str) -> str:
        assert self.rejection is not None
        field = f" (field {self.rejection['field']})" if self.rejection.get("field") else ""
        times = self.rejection["attempts"]
        return (
            f"{start}: {self.rejection['reason']}{field}. Attempted {counted(times, 'time')}, "
            f"last in run {self.rejection['run_id']} at {_when(self.rejection['last_rejected_at'])}. "
            "It is not retried until the row changes or `revetl retry` is run."
        )

    def _differs(self) -> dict[str, tuple[Any, Any]]:
        """Return the fields where the destination and the audience differ."""
        if self.held is None or self.member is None or self.held["row_hash"] is None:
            return {}
        if self.change is None or self.change.operation not in ("update", "rekey"):
            return {}
        found: dict[str, tuple[Any, Any]] = {}
        for before, after in (
            (_json(self.held["identifiers"]), _json(self.member[0])),
            (_json(self.held["fields"]), _json(self.member[1])),
        ):
            for name in sorted(each for each in {*before, *after} if not each.startswith(ALONG)):
                if before.get(name) != after.get(name) or (name in before) != (name in after):
                    found[name] = (before.get(name), after.get(name))
        return found

    def _notes(self, word: str, sent: str | None) -> Iterator[str]:
        to = self.sync.config.to
        if self.rejection is not None and word != "rejected" and sent is not None:
            yield f"{to} rejected them before ({self.rejection['reason']}); the row has changed since."
        if sent is None:
            return
        if self.last_run is None:
            yield "this sync has never run."
        elif self.last_run["status"] in ("stopped", "refused", "crashed", "interrupted", "lost"):
            run = self.last_run
            by = f" by guard {run['stopped_by']}" if run.get("stopped_by") else ""
            error = f": {run['error']}" if run.get("error") else "."
            at = _when(run["started_at"])
            yield f"the last run, {run['run_id']} at {at}, was {run['status']}{by}{error}"
        elif self.last_run["status"] == "running":
            since = _when(self.last_run["started_at"])
            yield f"run {self.last_run['run_id']} has been running since {since}."


def _change(row: Row) -> SentChange:
    return SentChange(
        run_id=row["run_id"],
        operation=row["operation"],
        cause=row.get("cause"),
        outcome=row["outcome"],
        reason=row.get("reason"),
        changed_at=row["changed_at"],
    )


def _json(text: str | None) -> dict[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _when(moment: datetime | None) -> str:
    return "an unknown time" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
