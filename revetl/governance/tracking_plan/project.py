"""The compiled macros of a project: its plan and its transformations."""

from __future__ import annotations

from pathlib import Path

from revetl.dbt.project_files import DbtProject, Options, read_target
from revetl.errors import UsageError
from revetl.governance.tracking_plan.compiled import CompiledPlan
from revetl.governance.tracking_plan.compiled_transformations import CompiledTransformations
from revetl.governance.tracking_plan.macro_file import MacroFile
from revetl.governance.tracking_plan.plan import PLAN_FILE, TrackingPlan
from revetl.governance.tracking_plan.policy import TargetNames, for_target


def macro_files(root: Path) -> list[MacroFile]:
    """Return the macro files of a project's plan and transformations. Raises UsageError if a source file is
    invalid, or there is none."""
    transformations = CompiledTransformations(root)
    found: list[MacroFile] = []
    if (root / PLAN_FILE).is_file() or not transformations.is_needed:
        found.append(CompiledPlan(root))
    if transformations.is_needed:
        found.append(transformations)
    return found


def compiled_errors(root: Path) -> list[str]:
    """Return the errors in a project's plan and transformations, one sentence each; empty if it has
    neither."""
    errors = []
    made: list[type[CompiledPlan] | type[CompiledTransformations]] = [CompiledTransformations]
    if (root / PLAN_FILE).is_file():
        made.insert(0, CompiledPlan)
    for each in made:
        try:
            compiled = each(root)
            if isinstance(compiled, CompiledTransformations) and not compiled.is_needed:
                continue
            # Compile in any case, to report errors even if there is no macro file yet.
            _ = compiled.text
            if not compiled.is_current:
                errors.append(compiled.is_old)
        except UsageError as error:
            errors.append(str(error))
    return errors


def resolved_plan(plan: TrackingPlan, project: DbtProject, options: Options) -> TrackingPlan:
    """Resolve a plan's templates for the target of a command. profiles.yml is only read if there are any.
    Raises UsageError for a template that doesn't resolve to a valid action."""
    if not plan.has_templates:
        return plan
    target = read_target(project, options)
    config = target.config
    names = TargetNames(
        name=target.name,
        type=target.type,
        profile_name=project.profile,
        schema=config.get("schema") or config.get("dataset"),
        database=config.get("database") or config.get("dbname") or config.get("project"),
    )
    return plan.resolved(for_target(names))
