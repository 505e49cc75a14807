"""Count in the warehouse which messages a changed plan readmits and which it removes."""

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
class ReadmissionCount:
    """Counts for an event (or another type of message): messages blocked from staging now, those of them
    that the plan on disk lets in, and messages in staging that it blocks."""

    message_type: str
    event: str | None
    blocked: int
    let_in: int
    taken_out: int


@dataclass(frozen=True)
class Readmission:
    """The changes of the next dbt build with the plan on disk. `written` lists the macro files written."""

    events: tuple[ReadmissionCount, ...]
    written: tuple[str, ...]

    @property
    def let_in(self) -> int:
        return sum(each.let_in for each in self.events)

    @property
    def taken_out(self) -> int:
        return sum(each.taken_out for each in self.events)


def readmit(options: Options, *, dry_run: bool = False) -> Readmission:
    """Count, per event, blocked messages that the plan on disk would let in and staged messages that it would
    block; then write the macro files, unless `dry_run`. `dbt build` does the rest.

    Raises UsageError for an invalid or missing plan, WarehouseError if the models aren't built or the
    warehouse fails.
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
        ReadmissionCount(
            str(row["message_type"]), row["event"], *(int(float(row[name] or 0)) for name in counts)
        )
        for row in rows
    ]
    events.sort(key=lambda each: (each.message_type != "track", each.message_type, each.event or ""))
    files: list[MacroFile] = [compiled, transformed] if transformed.is_needed else [compiled]
    written = () if dry_run else tuple(str(each.shown) for each in files if each.write())
    return Readmission(tuple(events), written)
