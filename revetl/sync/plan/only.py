"""`--only`: narrow a full plan to the changes of one member.

The member's previous state is kept in `sync_trials`, in the same transaction that records the intended
changes, so that `--undo` (undo.py) can restore it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlglot import exp

from revetl.destinations.base.destination import Destination
from revetl.errors import UsageError
from revetl.mapping.fields import MappedField
from revetl.project.workspace import Sync
from revetl.sync.plan import guards
from revetl.sync.plan.daily_limits import LATER
from revetl.sync.plan.diff import CHANGES, Diff
from revetl.sync.plan.eligibility import LEFT_OUT, alike
from revetl.sync.plan.plan import Plan
from revetl.sync.plan.suppressed import STANDARD
from revetl.sync.state import leases
from revetl.sync.state.tables import StateTables, insert
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, select, statement

ASIDE = " was {"
"""Separator between a key and a former identifier in the state."""
CAUSE = "undone"
"""Cause of changes made by a run that undoes a trial."""
_SHOWN = 5
_PHONE = "phone number"
_LAST_DIGITS = 7
_REASONS = {
    "suppressed": "is suppressed (revetl.suppressions)",
    "excluded": "is excluded from this sync (exclude, or another variant)",
    "claimed": "is claimed by an audience before this one (priority)",
    "held_out": "is held out (holdout)",
    "over_limit": "is over the limit of this sync (limit)",
    "other_event": "is an event that this sync does not send (other_events)",
}
_ROW = (
    "row_hash",
    "hash_by",
    "identifiers",
    "fields",
    "presence",
    "acknowledged_at",
    "run_id",
    "pending_run_id",
)


@dataclass(frozen=True)
class HeldRow:
    """The state row of one member."""

    row_hash: int | None
    hash_by: str | None
    identifiers: str
    fields: str
    presence: str | None
    acknowledged_at: datetime | None
    run_id: str | None
    pending_run_id: str | None = None


@dataclass(frozen=True)
class Trial:
    """A run of one member: its key, run, planned operations, and state before the run.

    `before` is None if the state had no row for the member.
    """

    key: str
    run_id: str
    operations: str
    before: HeldRow | None


def check_only(sync: Sync, destination: Destination) -> None:
    """Raise UsageError if the destination cannot receive a single member."""
    if not destination.takes_one or destination.takes_whole(sync.config.mode):
        raise UsageError(
            f"--only: {sync.config.to} ({destination.type}) is given whole audiences, so one member cannot "
            "be sent alone. Sync the audience, or try a destination that takes single members."
        )


def find_key(diff: Diff, sync: Sync, asked: str, keys: Iterable[str] = ()) -> tuple[str, str | None]:
    """Find the key of the one member that `asked` matches, and why the member is left out, if so.

    Matches by key or by identifier, as it is in the audience or as it was sent. `keys` are the member's keys
    in the identity graph, tried if nothing else matches. Raises UsageError if no member matches, or more than
    one.
    """
    found = _matching(diff, sync, asked)
    if not found and (known := [*keys]):
        found = {key: cause for each in known for key, cause in _matching(diff, sync, each).items()}
    if asked in found:
        return asked, found[asked]
    if not found:
        raise UsageError(
            f"--only {asked}: nobody in {sync.audience.name}, or held by {sync.config.to}, is known by that. "
            f"Name the {sync.audience.key}, or an identifier as it is in the audience."
        )
    if len(found) > 1:
        named = ", ".join(sorted(found)[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        raise UsageError(
            f"--only {asked}: {len(found)} members match ({named}). Name one by {sync.audience.key}."
        )
    return next(iter(found.items()))


def _matching(diff: Diff, sync: Sync, asked: str) -> dict[str, str | None]:
    """Return the matching keys, each with the cause for which the member is left out."""
    wanted = exp.convert(asked.strip().lower())
    relation = sync.audience.relation
    there = diff.warehouse.columns(relation)
    used = {name.lower() for item in diff.mapping.identifiers for name in item.columns}
    names = [name for name in there if name.lower() in used or name.lower() in (*STANDARD, "canonical_id")]
    tests = [statement(":key = :asked", key=diff.key, asked=asked)]
    tests += [exp.EQ(this=alike(column(name, of="a")), expression=wanted.copy()) for name in names]
    for item in diff.mapping.identifiers:
        if item.late:
            texts = _spellings(diff, item, relation, asked)
            tests += [exp.In(this=item.of("a"), expressions=[*map(exp.convert, texts)])] if texts else []
        elif _is_made(item):
            tests.append(is_one_of(item.of("a"), sent_as(diff, item, asked)))
    query = exp.select(exp.alias_(diff.key, "key")).from_(exp.alias_(relation.copy(), "a", table=True))
    if diff.members.chosen:
        on = statement("o.key = :key", key=diff.key)
        left_out = exp.alias_(LEFT_OUT.copy(), "o", table=True)
        query = query.select(column("cause", of="o")).join(left_out, on=on, join_type="left")
    else:
        query = query.select(exp.alias_(statement("cast(null as varchar)"), "cause"))
    rows = diff.warehouse.rows(query.where(exp.or_(*tests)))
    found = {str(key): cause for key, cause in rows if key is not None}
    if diff.has_state:
        held = [statement("s.key = :asked", asked=asked)]
        held += [
            is_one_of(
                diff.warehouse.json_text(column("identifiers", of="s"), item.name), sent_as(diff, item, asked)
            )
            for item in diff.mapping.identifiers
        ]
        rows = diff.warehouse.rows(
            statement(
                "select s.key from :held as s where s.sync = :sync and (:test)",
                held=diff.held,
                sync=diff.sync,
                test=exp.or_(*held),
            )
        )
        for (key,) in rows:
            found.setdefault(str(key).partition(ASIDE)[0], None)
    return found


def sent_as(diff: Diff, item: MappedField, asked: str) -> list[exp.Expr]:
    """Return the values that a text may be sent as: as written, and normalized by the destination's rule."""
    found: list[exp.Expr] = [exp.convert(asked.strip().lower())]
    if item.kind == _PHONE and any(each.isalpha() for each in asked):
        return found
    if item.late and (sent := diff.finishers[item.name](asked)) is not None:
        found.append(exp.convert(sent.lower()))
    elif not item.late and _is_made(item):
        found.append(alike(item.over(exp.convert(asked))))
    return found


def is_one_of(value: exp.Expr, values: list[exp.Expr]) -> exp.Expr:
    """Test whether an identifier equals one of these values."""
    return exp.In(this=alike(value), expressions=values)


def _is_made(item: MappedField) -> bool:
    """Test whether a column's text is normalized before it is sent, so that other texts can give the same
    value."""
    return item.made is not None and isinstance(item.raw, exp.Column)


def _spellings(diff: Diff, item: MappedField, relation: exp.Table, asked: str) -> list[str]:
    """Return the texts in the audience that normalize to the same identifier as `asked`.

    Reads only texts that contain its last digits in the same order.
    """
    finish = diff.finishers[item.name]
    digits = [each for each in asked if each in "0123456789"][-_LAST_DIGITS:]
    has_letters = any(each.isalpha() for each in asked)
    if not digits or has_letters or (sent := finish(asked)) is None:
        return []
    query = select("select distinct :text as raw from :relation as a", text=item.of("a"), relation=relation)
    like = exp.Like(this=item.of("a"), expression=exp.convert("%" + "%".join(digits) + "%"))
    return [str(raw) for (raw,) in diff.warehouse.rows(query.where(like)) if finish(str(raw)) == sent]


def favoring(diff: Diff, key: str) -> Diff:
    """Return the diff with one member first in line for the daily limit."""
    limit = diff.daily_limit
    return diff if limit is None else replace(diff, daily_limit=replace(limit, first=key))


def narrowed(diff: Diff, sync: Sync, plan: Plan, key: str, why: str | None) -> Plan:
    """Narrow a plan to one member, keeping only that member's changes in the warehouse.

    Guards on the audience and the state still apply; guards on volume apply to the member's change. Raises
    UsageError for a member who is left out and not in destination state.
    """
    counted = (
        "select c.operation, c.cause, count(*), sum(c.is_sent) from :changes as c where :theirs group by 1, 2"
    )
    rows = diff.warehouse.rows(statement(counted, changes=CHANGES, theirs=theirs(key)))
    if why is not None and not rows:
        raise UsageError(
            f"--only: {key} {_REASONS.get(why, why)}, and is not held by {sync.config.to}: nothing was sent."
        )
    waiting = statement(
        "select count(*) from :changes as c where c.operation = :later", changes=CHANGES, later=LATER
    )
    ((later,),) = diff.warehouse.rows(waiting)
    diff.warehouse.run(
        statement(
            "delete from :changes where key is null or not (:theirs)",
            changes=CHANGES,
            theirs=theirs(key, of=None),
        )
    )
    causes: dict[str, dict[str, int]] = {}
    removes = 0
    for operation, cause, count, sent in rows:
        causes.setdefault(operation, {})[cause] = int(count)
        removes += int(sent or 0)
    totals = {operation: sum(by.values()) for operation, by in causes.items()}
    rekeyed = totals.get("rekey", 0)
    made = replace(
        plan,
        add=totals.get("add", 0) + rekeyed,
        update=totals.get("update", 0),
        remove=removes,
        kept=totals.get("forget", 0),
        rejected=totals.get("wait", 0),
        causes={name: by for name, by in causes.items() if name in plan.counts}
        | ({"remove": causes["rekey"], "add": causes["rekey"]} if rekeyed else {}),
        left_out={},
        notes=_own_notes(plan, diff, int(later), totals.get(LATER, 0)),
        whole=False,
        digest=None,
    )
    change = guards.GuardInputs(
        sync=plan.sync,
        key=sync.audience.key,
        audience_rows=plan.audience_rows,
        held_rows=plan.held_rows,
        adds=made.add,
        updates=made.update,
        removes=made.remove,
        null_keys=0,
        repeated_keys=0,
        max_change=sync.config.max_change,
        max_removes=sync.config.max_removes,
    )
    others = (stop for stop in plan.stops if stop.guard not in guards.VOLUME)
    return replace(made, stops=(*others, *guards.volume(change)))


def _own_notes(plan: Plan, diff: Diff, waiting: int, own: int) -> tuple[str, ...]:
    """Return the plan's notes, with the daily-limit note counting only this member."""
    if diff.daily_limit is None or not waiting:
        return plan.notes
    notes = [note for note in plan.notes if note != diff.daily_limit.note(waiting)]
    return (*notes, *([diff.daily_limit.note(own)] if own else []))


def theirs(key: str, of: str | None = "c") -> exp.Expr:
    """Test whether a key is the member's own or stands for one of their former identifiers."""
    prefix = key + ASIDE
    return statement(
        "(:key = :own or substring(:key, 1, :length) = :prefix)",
        key=column("key", of=of) if of else exp.column("key"),
        own=key,
        length=len(prefix),
        prefix=prefix,
    )


def held_of(warehouse: Warehouse, tables: StateTables, sync: str, key: str) -> HeldRow | None:
    """Return the state row of a key."""
    query = exp.select(*_ROW).from_(tables.state)
    rows = warehouse.rows(query.where(statement("sync = :sync and key = :key", sync=sync, key=key)))
    return next((HeldRow(*row) for row in rows), None)


def trial_of(warehouse: Warehouse, tables: StateTables, sync: str, key: str) -> Trial | None:
    """Return the last run of only this member that was not undone."""
    names = ("run_id", "operations", "was_held", *_ROW[:-2])
    query = exp.select(*names).from_(tables.trials)
    rows = warehouse.rows(query.where(statement("sync = :sync and key = :key", sync=sync, key=key)))
    for run_id, operations, was_held, *row in rows:
        before = HeldRow(**dict(zip(_ROW, (*row, None), strict=False))) if was_held else None
        return Trial(key, str(run_id), str(operations), before)
    return None


def is_current(
    warehouse: Warehouse, tables: StateTables, sync: str, trial: Trial, now: HeldRow | None
) -> bool:
    """Test whether nothing was delivered for the member since the trial, except by a run to undo it."""
    if now is None:
        since = statement(
            "select count(*) from :changes as c inner join :trials as t on t.sync = c.sync and t.key = c.key "
            "where c.sync = :sync and c.key = :key and c.changed_at > t.tried_at and c.run_id <> :run_id "
            "and c.outcome in ('delivered', 'unknown') and coalesce(c.cause, '') <> :cause",
            changes=tables.changes,
            trials=tables.trials,
            sync=sync,
            key=trial.key,
            run_id=trial.run_id,
            cause=CAUSE,
        )
        is_last = not any(int(count) for (count,) in warehouse.rows(since))
        return "remove" in trial.operations and is_last
    if trial.run_id in (now.run_id, now.pending_run_id):
        return True
    undone = statement(
        "select count(*) from :changes as c where c.sync = :sync and c.key = :key and c.run_id = :run_id "
        "and c.cause = :cause",
        changes=tables.changes,
        sync=sync,
        key=trial.key,
        run_id=now.pending_run_id,
        cause=CAUSE,
    )
    return now.pending_run_id is not None and any(int(count) for (count,) in warehouse.rows(undone))


def keep_trial(
    warehouse: Warehouse, tables: StateTables, sync: str, key: str, run_id: str, plan: Plan
) -> None:
    """Save the member's state before a run of only this member.

    If an earlier such run can still be undone, keep the state from before that one.
    """
    now, earlier = held_of(warehouse, tables, sync, key), trial_of(warehouse, tables, sync, key)
    before = now
    operations = [name for name, count in plan.counts.items() if count]
    if earlier is not None and is_current(warehouse, tables, sync, earlier, now):
        before = earlier.before
        operations = [*dict.fromkeys([*earlier.operations.split(","), *operations])]
    forget_trial(warehouse, tables, sync, key)
    row: dict[str, Any] = dict.fromkeys(_ROW[:-2])
    if before is not None:
        row = {name: getattr(before, name) for name in row}
    values = {
        "sync": sync,
        "key": key,
        "run_id": run_id,
        "tried_at": leases.now(),
        "operations": ",".join(operations),
        "was_held": 0 if before is None else 1,
        **row,
    }
    warehouse.run(insert(tables.trials, values))


def forget_trial(warehouse: Warehouse, tables: StateTables, sync: str, key: str) -> None:
    """Delete the member's trial: nothing remains to undo."""
    warehouse.run(
        statement(
            "delete from :trials where sync = :sync and key = :key", trials=tables.trials, sync=sync, key=key
        )
    )


def forget_old_trials(warehouse: Warehouse, tables: StateTables, days: int) -> None:
    """Delete trials older than `days`."""
    since = leases.now() - timedelta(days=days)
    warehouse.run(statement("delete from :trials where tried_at < :since", trials=tables.trials, since=since))
