"""When a run is stopped before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from revetl.errors import GuardStopped, UsageError, nearest
from revetl.sql import statement
from revetl.sync.diff import Diff

FORCEABLE = ("empty", "max_change", "tests")
EXAMPLES = 5
SMALLEST_GUARDED = 1_000


@dataclass(frozen=True)
class Stop:
    """A guard that judged the change implausible, and why."""

    guard: str
    message: str


@dataclass(frozen=True)
class Change:
    """What the guards look at: sizes, changed keys, and the failed dbt tests of the last build."""

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
    failed_tests: tuple[str, ...]


def judge(change: Change, diff: Diff) -> list[Stop]:
    """The guards that stop this change, `keys` first."""
    stops = []
    if change.null_keys or change.repeated_keys:
        stops.append(Stop("keys", _keys(change, diff)))
    if change.failed_tests:
        named = ", ".join(change.failed_tests[:EXAMPLES])
        stops.append(
            Stop("tests", f"{change.sync}: the last dbt run failed for {named}. Mend it and run `dbt build`.")
        )
    if change.held_rows and not change.audience_rows:
        stops.append(
            Stop(
                "empty",
                f"{change.sync}: the audience is empty now, and the destination holds {change.held_rows:,}. "
                "Look at what the model selects.",
            )
        )
    touched = change.adds + change.updates + change.removes
    if change.held_rows >= SMALLEST_GUARDED and touched > change.max_change * change.held_rows:
        share = touched / change.held_rows
        stops.append(
            Stop(
                "max_change",
                f"{change.sync}: {touched:,} changes ({change.adds:,} adds, {change.updates:,} updates, "
                f"{change.removes:,} removes) are {share:.0%} of the {change.held_rows:,} the destination "
                f"holds, and max_change is {change.max_change:.0%}. Look at `revetl plan`.",
            )
        )
    return stops


def check_forced(forced: tuple[str, ...]) -> None:
    """Raises UsageError when `--force` names what is no guard, or one that cannot be overridden."""
    for name in forced:
        if name == "keys":
            raise UsageError("--force keys: null and repeated keys cannot be sent; mend the model.")
        if name not in FORCEABLE:
            raise UsageError(f"--force {name}: there is no such guard. {nearest(name, FORCEABLE)}")


def enforce(stops: list[Stop], forced: tuple[str, ...]) -> None:
    """Raises GuardStopped for the first guard that is not forced."""
    for stop in stops:
        if stop.guard not in forced:
            way_out = "" if stop.guard == "keys" else f" To send it all the same: --force {stop.guard}."
            raise GuardStopped(stop.guard, stop.message + way_out)


def _keys(change: Change, diff: Diff) -> str:
    """The sentence about null and repeated keys, with examples of each."""
    parts = []
    if change.null_keys:
        shown = [item.of("a") for item in diff.mapping.fields[:3]] or [exp.convert("an empty row")]
        query = exp.select(*shown).from_(exp.alias_(diff.model, "a", table=True))
        rows = diff.warehouse.rows(query.where(exp.Is(this=diff.key, expression=exp.null())).limit(EXAMPLES))
        examples = "; ".join(", ".join(str(value) for value in row) for row in rows)
        parts.append(f"{change.null_keys:,} rows have no {change.key} ({examples})")
    if change.repeated_keys:
        rows = diff.warehouse.rows(
            statement(
                "select :key as key, count(*) as rows from :model as a where :key is not null "
                "group by 1 having count(*) > 1 order by 2 desc, 1 limit :n",
                key=diff.key,
                model=diff.model,
                n=EXAMPLES,
            )
        )
        examples = ", ".join(f"{key} ({count} rows)" for key, count in rows)
        parts.append(f"{change.repeated_keys:,} rows repeat a {change.key} that another row has ({examples})")
    return (
        f"{change.sync}: {' and '.join(parts)}. A key has to name one row: mend the model, and give the key "
        "`unique` and `not_null` tests."
    )
