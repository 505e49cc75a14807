"""What a plan that was mended lets in, and what it takes out, counted in the warehouse."""

from __future__ import annotations

from dataclasses import dataclass

from revetl.dbt.project_files import Options, read_project
from revetl.dbt.run_operation import ask
from revetl.governance.tracking_plan.compiled import CompiledPlan, compile_plan
from revetl.governance.tracking_plan.compiled_transformations import (
    CompiledTransformations,
    compile_transformations,
)
from revetl.governance.tracking_plan.macro_file import MacroFile
from revetl.governance.tracking_plan.project import resolved_plan


@dataclass(frozen=True)
class Readmitted:
    """Of an event (or another type of message), how many messages staging is without because they are
    blocked, how many of those the plan on disk lets in, and how many that are in staging it blocks."""

    message_type: str
    event: str | None
    blocked: int
    let_in: int
    taken_out: int


@dataclass(frozen=True)
class Readmission:
    """What the next dbt build changes by the plan on disk, once it is compiled. `written` are the macro files
    that had to be."""

    events: tuple[Readmitted, ...]
    written: tuple[str, ...]

    @property
    def let_in(self) -> int:
        return sum(each.let_in for each in self.events)

    @property
    def taken_out(self) -> int:
        return sum(each.taken_out for each in self.events)


def readmit(options: Options, *, dry_run: bool = False) -> Readmission:
    """Count, by event, what the plan on disk would let in of what is blocked now, and take out of what is
    not; then write the macro file, unless it is a dry run. `dbt build` does the rest.

    Raises UsageError for a plan that is wrong or missing, WarehouseError where the models were not built yet
    or the warehouse fails.
    """
    project = read_project(options)
    compiled = CompiledPlan(project.root)
    transformed = CompiledTransformations(project.root)
    rows = ask(
        project,
        options,
        "plan_readmission",
        {
            "plan": compile_plan(resolved_plan(compiled.plan, project, options)),
            "transformations": compile_transformations(transformed.file),
        },
    )
    counts = ("blocked_count", "let_in_count", "taken_out_count")
    events = [
        Readmitted(str(row["message_type"]), row["event"], *(int(float(row[name] or 0)) for name in counts))
        for row in rows
    ]
    events.sort(key=lambda each: (each.message_type != "track", each.message_type, each.event or ""))
    files: list[MacroFile] = [compiled, transformed] if transformed.is_needed else [compiled]
    written = () if dry_run else tuple(str(each.shown) for each in files if each.write())
    return Readmission(tuple(events), written)
