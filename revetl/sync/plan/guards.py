"""Guards: stop a run before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlglot import exp

from revetl.errors import GuardStopped, UsageError, nearest
from revetl.sync.plan.diff import Diff
from revetl.sync.state import leases
from revetl.sync.stop import Stop
from revetl.warehouse.templates import statement

VOLUME = ("empty", "max_change", "max_removes")
"""The guards on volume, which don't apply to removes of suppressed people."""
FORCEABLE = (*VOLUME, "max_age", "tests", "columns", "lost_state", "key_changed")
EXAMPLES = 5
SMALLEST_GUARDED = 1_000


@dataclass(frozen=True)
class GuardInputs:
    """The inputs of the guards: sizes, changed keys, the last build of the model with its failures, and
    fields that were sent before and no longer exist."""

    sync: str
    key: str
    audience_rows: int
    held_rows: int
    adds: int
    updates: int
    removes: int
    null_keys: int
    repeated_keys: int
    max_change: float
    max_removes: int | None = None
    max_age: float | None = None
    built_at: datetime | None = None
    failures: tuple[str, ...] = ()
    lost_fields: tuple[str, ...] = ()
    key_before: str | None = None
    """The key that the state is by, where it is known."""


def judge(change: GuardInputs, diff: Diff) -> list[Stop]:
    """Return the guards that stop this change, `keys` first."""
    stops = []
    if change.null_keys or change.repeated_keys:
        stops.append(Stop("keys", _keys(change, diff), forceable=False))
    if change.lost_fields:
        named = ", ".join(change.lost_fields[:EXAMPLES])
        stops.append(
            Stop(
                "columns",
                f"{change.sync}: the model no longer has columns that were sent before ({named}), and the "
                "sync has no fields: list. Restore the columns, or list the fields to send.",
            )
        )
    if change.failures:
        named = ", ".join(change.failures[:EXAMPLES])
        stops.append(
            Stop("tests", f"{change.sync}: the last dbt run failed for {named}. Fix it and run `dbt build`.")
        )
    if (replaced := _replaced(change)) is not None:
        stops.append(Stop("key_changed", replaced))
    if (stale := _stale(change)) is not None:
        stops.append(Stop("max_age", stale))
    return [*stops, *volume(change)]


def lost_state(sync: str, run_id: str, held: int) -> Stop:
    """Return the stop for an empty state, although an earlier run delivered members."""
    return Stop(
        "lost_state",
        f"{sync}: sync_state has no members, but after run {run_id} the destination had {held:,}: the table "
        "was dropped, emptied or restored. Without it, members who left cannot be removed. Restore it, or "
        f"run `revetl reconcile {sync} --repair` if the destination can be read back, or sync with "
        "--full-refresh, which sends all members and removes no one.",
    )


def volume(change: GuardInputs) -> list[Stop]:
    """Return the guards that stop a change because of its size."""
    stops = []
    if change.held_rows and not change.audience_rows:
        stops.append(
            Stop(
                "empty",
                f"{change.sync}: the audience is empty, but the destination has {change.held_rows:,} "
                "members. Check what the model selects.",
            )
        )
    touched = change.adds + change.updates + change.removes
    if change.held_rows >= SMALLEST_GUARDED and touched > change.max_change * change.held_rows:
        share = touched / change.held_rows
        stops.append(
            Stop(
                "max_change",
                f"{change.sync}: {touched:,} changes ({change.adds:,} adds, {change.updates:,} updates, "
                f"{change.removes:,} removes) are {share:.0%} of the {change.held_rows:,} members at the "
                f"destination; max_change is {change.max_change:.0%}. Check `revetl plan`.",
            )
        )
    if change.max_removes is not None and change.removes > change.max_removes:
        stops.append(
            Stop(
                "max_removes",
                f"{change.sync}: {change.removes:,} members would be removed; max_removes is "
                f"{change.max_removes:,}. Check `revetl plan`.",
            )
        )
    return stops


def _replaced(change: GuardInputs) -> str | None:
    """Why another key isn't the same people under another column's name, however few they are."""
    touched = change.adds + change.removes
    if change.key_before in (None, change.key) or touched <= change.max_change * change.held_rows:
        return None
    if not change.held_rows:
        return None
    return (
        f"{change.sync}: the key was '{change.key_before}' and is '{change.key}' now, which replaces people "
        f"that the destination holds: {change.adds:,} adds and {change.removes:,} removes, with "
        f"{change.held_rows:,} held. Restore the key, or look at `revetl plan`."
    )


def _stale(change: GuardInputs) -> str | None:
    if change.max_age is None:
        return None
    most = timedelta(seconds=change.max_age)
    if change.built_at is None:
        return f"{change.sync}: the model's build time is unknown; max_age is {most}. Run `dbt build`."
    age = leases.now() - change.built_at
    if age <= most:
        return None
    shown = timedelta(seconds=round(age.total_seconds()))
    return f"{change.sync}: the model was built {shown} ago; max_age is {most}. Run `dbt build`."


def check_forced(forced: tuple[str, ...]) -> None:
    """Raise UsageError when `--force` has an unknown guard, or one that cannot be overridden."""
    for name in forced:
        if name == "keys":
            raise UsageError("--force keys: null and repeated keys cannot be sent; fix the model.")
        if name not in FORCEABLE:
            raise UsageError(f"--force {name}: unknown guard. {nearest(name, FORCEABLE)}")


def standing(stops: tuple[Stop, ...], forced: tuple[str, ...]) -> list[Stop]:
    """Return the stops that `--force` does not override."""
    return [stop for stop in stops if not stop.forceable or stop.guard not in forced]


def only_volume(stops: list[Stop]) -> bool:
    """Whether all of the stops are guards on volume."""
    return all(stop.guard in VOLUME for stop in stops)


def as_error(stop: Stop) -> GuardStopped:
    """Return the error for a stop, with how to override it."""
    way_out = f" To override this guard: --force {stop.guard}." if stop.forceable else ""
    return GuardStopped(stop.guard, stop.message + way_out)


def _keys(change: GuardInputs, diff: Diff) -> str:
    """Return the message about null and repeated keys, with examples."""
    parts = []
    relation = diff.members.relation
    if change.null_keys:
        shown = [item.of("a") for item in diff.mapping.fields[:3]] or [exp.convert("an empty row")]
        query = exp.select(*shown).from_(exp.alias_(relation, "a", table=True))
        rows = diff.warehouse.rows(query.where(exp.Is(this=diff.key, expression=exp.null())).limit(EXAMPLES))
        examples = "; ".join(", ".join(str(value) for value in row) for row in rows)
        parts.append(f"{change.null_keys:,} rows have a null {change.key} ({examples})")
    if change.repeated_keys:
        rows = diff.warehouse.rows(
            statement(
                "select :key as key, count(*) as rows from :model as a where :key is not null "
                "group by 1 having count(*) > 1 order by 2 desc, 1 limit :n",
                key=diff.key,
                model=relation,
                n=EXAMPLES,
            )
        )
        examples = ", ".join(f"{key} ({count} rows)" for key, count in rows)
        parts.append(f"{change.repeated_keys:,} rows have the same {change.key} as another row ({examples})")
    return (
        f"{change.sync}: {' and '.join(parts)}. Each key must identify one row: fix the model, and add "
        "`unique` and `not_null` tests to the key."
    )
