"""Count in the warehouse what another policy would do to loaded messages, without changing anything."""

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
    """Actions that replace the plan's for every event and source; None keeps the plan's."""

    on_violation: str | None = None
    unplanned_events: str | None = None
    unplanned_properties: str | None = None


@dataclass(frozen=True)
class BrokenRule:
    """The messages that violate one rule at one path (without indexes: `products[].price`), and the action.
    `sample` has ids of some messages."""

    rule: str
    path: str | None
    action: str
    messages: int
    sample: tuple[str, ...]


@dataclass(frozen=True)
class SimulatedEvent:
    """Counts for an event (or another message type) of a source. `blocked_now` is as of the last build;
    `blocked` and `omitted` are simulated. `share_blocked` is the fraction of `messages`."""

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
    """The affected events, the most affected first."""

    events: tuple[SimulatedEvent, ...]

    @property
    def blocked(self) -> int:
        return sum(each.blocked for each in self.events)

    @property
    def omitted(self) -> int:
        return sum(each.omitted for each in self.events)

    @property
    def newly_blocked(self) -> int:
        """The increase in blocked messages; it may be negative."""
        return sum(each.blocked - each.blocked_now for each in self.events)


def simulate(
    options: Options, overrides: Overrides, *, source: str | None = None, event: str | None = None
) -> Simulation:
    """Check all loaded messages, optionally of one source or event, against the plan on disk with other
    actions.

    Raises UsageError for an invalid or missing plan and for an unknown event, WarehouseError if the models
    aren't built or the warehouse fails.
    """
    project = read_project(options)
    plan = read_plan(project.root / PLAN_FILE)
    names = [rules.name for rules in plan.rules()]
    if event is not None and event not in names and overrides.unplanned_events is None:
        raise UsageError(f"--event {event}: is not in the plan. {nearest(event, names)}")
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
    """Replace a plan's actions, including those of events and sources."""
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
