"""What another policy would do to what has landed, counted in the warehouse. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from revetl.dbt.project_files import Options, read_project
from revetl.dbt.run_operation import ask
from revetl.errors import UsageError, nearest
from revetl.governance.tracking_plan.compiled import compile_plan
from revetl.governance.tracking_plan.compiled_transformations import (
    CompiledTransformations,
    compile_transformations,
)
from revetl.governance.tracking_plan.plan import PLAN_FILE, TrackingPlan, read_plan
from revetl.governance.tracking_plan.project import resolved_plan


@dataclass(frozen=True)
class Overrides:
    """Actions in the place of the plan's, for every event and source; None leaves them as they are."""

    on_violation: str | None = None
    unplanned_events: str | None = None
    unplanned_properties: str | None = None


@dataclass(frozen=True)
class BrokenRule:
    """Messages that break one rule at one place (places in arrays are left out: `products[].price`), and what
    would be done; `sample` are ids of some of them."""

    rule: str
    path: str | None
    action: str
    messages: int
    sample: tuple[str, ...]


@dataclass(frozen=True)
class SimulatedEvent:
    """An event (or another type of message) of a source. `blocked_now` are blocked as the models were built
    last; `blocked` and `omitted` would be. `share_blocked` is of `messages`."""

    message_type: str
    event: str | None
    source: str | None
    messages: int
    blocked_now: int
    blocked: int
    omitted: int
    share_blocked: float
    rules: tuple[BrokenRule, ...] = ()
    read_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Simulation:
    """Every event that something would be done about, the most affected first."""

    events: tuple[SimulatedEvent, ...]

    @property
    def blocked(self) -> int:
        return sum(each.blocked for each in self.events)

    @property
    def omitted(self) -> int:
        return sum(each.omitted for each in self.events)

    @property
    def newly_blocked(self) -> int:
        """Blocked and not blocked now; it may be less than none."""
        return sum(each.blocked - each.blocked_now for each in self.events)


def simulate(
    options: Options, overrides: Overrides, *, source: str | None = None, event: str | None = None
) -> Simulation:
    """Judge everything that has landed by the plan on disk with other actions, of one source or event where
    they are named.

    Raises UsageError for a plan that is wrong or missing and for an event that it does not have,
    WarehouseError where the models were not built yet or the warehouse fails.
    """
    project = read_project(options)
    plan = read_plan(project.root / PLAN_FILE)
    names = [rules.name for rules in plan.rules()]
    if event is not None and event not in names and overrides.unplanned_events is None:
        raise UsageError(f"--event {event}: the plan does not have it. {nearest(event, names)}")
    plan = overridden(resolved_plan(plan, project, options), overrides)
    transformed = CompiledTransformations(project.root)
    rows = ask(
        project,
        options,
        "plan_simulation",
        {
            "plan": compile_plan(plan),
            "transformations": compile_transformations(transformed.file),
            "source_id": source,
            "event": event,
        },
    )
    return _simulation(rows)


def overridden(plan: TrackingPlan, overrides: Overrides) -> TrackingPlan:
    """A plan whose actions are others, whatever events and sources say themselves."""
    given = {key: value for key, value in vars(overrides).items() if value is not None}

    def named(action: str, place: str, _: tuple[str, ...]) -> str:
        key = place.replace(": ", ".").rpartition(".")[2]
        return str(given.get(key if key in vars(overrides) else "on_violation", action))

    return plan.resolved(named)


def _simulation(rows: list[dict[str, str | None]]) -> Simulation:
    events: dict[tuple[Any, ...], SimulatedEvent] = {}
    rules: dict[tuple[Any, ...], list[BrokenRule]] = {}
    readers: dict[str, set[str]] = {}
    for row in rows:
        if row["kind"] == "reader":
            readers.setdefault(str(row["event"]), set()).add(str(row["action"]))
            continue
        about = (str(row["message_type"]), row["event"], row["source_id"])
        if row["kind"] == "event":
            messages, blocked = _count(row, "message_count"), _count(row, "blocked_count")
            events[about] = SimulatedEvent(
                *about,
                messages,
                _count(row, "blocked_now_count"),
                blocked,
                _count(row, "omitted_count"),
                round(blocked / messages, 4) if messages else 0.0,
            )
        else:
            sample = tuple(text for name in ("sample_1", "sample_2", "sample_3") if (text := row[name]))
            rules.setdefault(about, []).append(
                BrokenRule(
                    str(row["rule_name"]),
                    row["property_path"],
                    str(row["action"]),
                    _count(row, "message_count"),
                    sample,
                )
            )
    made = [
        replace(
            event,
            rules=tuple(
                sorted(rules.get(about, ()), key=lambda each: (-each.messages, each.rule, each.path or ""))
            ),
            read_by=tuple(sorted(readers.get(event.event or "", ()))),
        )
        for about, event in events.items()
        if event.blocked or event.omitted or event.blocked_now or rules.get(about)
    ]
    made.sort(
        key=lambda each: (
            -each.blocked,
            -each.omitted,
            each.message_type,
            each.event or "",
            each.source or "",
        )
    )
    return Simulation(tuple(made))


def _count(row: Mapping[str, str | None], name: str) -> int:
    return int(float(row[name] or 0))
