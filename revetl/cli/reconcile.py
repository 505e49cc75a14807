"""`revetl reconcile`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from revetl.cli import render
from revetl.cli.common import (
    Output,
    Selection,
    log_options,
    open_project,
    output_options,
    project_options,
    selection_options,
)
from revetl.cli.sync import SEVERITY

if TYPE_CHECKING:
    from revetl.sync.drift import Drift, Example
    from revetl.sync.reconcile import Reconciliation, Repair

_THERE = {"missing": "missing there", "different": "different there", "extra": "extra there"}


@click.command("reconcile")
@selection_options("Every sync of the project.")
@click.option("--repair", is_flag=True, help="Mark differences in the state and run the sync.")
@click.option(
    "--remove-extra", is_flag=True, help="Also remove members that only the destination has; needs --repair."
)
@click.option("--force", multiple=True, metavar="GUARD", help="Override this guard; needs --repair.")
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Number of examples per difference.",
)
@log_options
@output_options
@project_options
def reconcile_command(
    chosen: Selection,
    repair: bool,
    remove_extra: bool,
    force: tuple[str, ...],
    examples: int,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> int:
    """Compare audience, state and destination, and show what differs.

    NAME is an audience, or audience.destination. Changes nothing without --repair. Exits 1 when anything
    differs and was not repaired. With -o json, one named sync is an object, and anything else a list.
    """
    if force and not repair:
        raise click.UsageError("--force overrides a guard of a repair. Add --repair.")
    if remove_extra and not repair:
        raise click.UsageError("--remove-extra requires --repair.")
    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    syncs = project.runnable(project.select(**chosen.arguments), named=chosen.name is not None)
    results = []
    for sync in syncs:
        found = project.reconcile(
            sync.name, repair=repair, remove_extra=remove_extra, force=force, examples=examples
        )
        results.append({**asdict(found), "drifted": found.drifted, "exit_code": found.exit_code})
        if not out.json:
            click.echo("\n".join(_lines(found)))
            if found.repair is None and found.drifted:
                out.say(f"Repair it: revetl reconcile {found.sync} --repair")
        if found.repair is not None and found.repair.run.error:
            click.echo(f"Error: {found.repair.run.error}", err=True)
    if out.json:
        # The form follows from the command line, and never from how many syncs an audience has.
        is_one = chosen.name is not None and (chosen.to is not None or "." in chosen.name)
        out.print_json(results[0] if is_one and len(results) == 1 else results)
    return max((result["exit_code"] for result in results), key=SEVERITY.index, default=0)


def _lines(found: Reconciliation) -> Iterator[str]:
    plan, to = found.plan, found.plan.destination
    read = "" if found.there is None else f", {found.there.read:,} in {to}"
    yield (
        f"{found.sync} ({plan.mode}): {plan.audience_rows:,} in the audience, {plan.held_rows:,} in the state"
        f"{read}"
    )
    if not found.drifted:
        yield "  nothing has drifted"
    if plan.changes:
        yield f"  audience and state: add {plan.add:,}, update {plan.update:,}, remove {plan.remove:,}"
        for operation, keys in found.keys.items():
            yield f"    {operation}: {', '.join(keys)}"
        if uncertain := sum(by_cause.get("unknown", 0) for by_cause in plan.causes.values()):
            yield f"    {uncertain:,} of these were sent before without an answer"
    if plan.rejected:
        yield f"  {plan.rejected:,} wait, rejected before and unchanged since (revetl retry sends them)"
    if found.there is not None and found.there.any:
        yield from _drift(found.there, to)
    for note in found.notes:
        yield f"  {note}"
    for stop in plan.stops if found.repair is None else ():
        yield f"  guard {stop.guard} would stop a repair: {stop.message}"
    if found.repair is not None:
        yield from _repair(found.repair)


def _drift(there: Drift, to: str) -> Iterator[str]:
    counts = {"missing": there.missing, "different": there.different, "extra": there.extra}
    named = ", ".join(f"{count:,} {_THERE[kind]}" for kind, count in counts.items() if count)
    yield f"  state and {to}: {named}"
    for kind, examples in there.examples.items():
        for example in examples:
            yield f"    {kind}: {_example(example)}"
    if there.fields:
        yield f"    fields: {', '.join(f'{name} {count:,}' for name, count in there.fields.items())}"


def _example(example: Example) -> str:
    known = ", ".join(f"{name} {value}" for name, value in example.identifiers.items())
    fields = "; ".join(
        f"{name} is {_value(there)}, sent was {_value(sent)}"
        for name, (sent, there) in example.fields.items()
    )
    return f"{example.key} ({known}){f': {fields}' if fields else ''}"


def _value(text: str | None) -> str:
    return "null" if text is None else text


def _repair(repair: Repair) -> Iterator[str]:
    done = {"missing": "to be added again", "different": "to be sent again", "extra": "to be removed"}
    marked = [f"{count:,} {kind}, {done[kind]}" for kind, count in repair.marked.items() if count]
    if marked:
        yield f"  repair {repair.repair_id} marked {'; '.join(marked)}"
    yield f"  {render.run_line(repair.run)}"
    if repair.left.get("different"):
        yield f"  left: {repair.left['different']:,} different, whom the destination refuses (revetl retry)"
    if repair.left.get("extra"):
        yield f"  left: {repair.left['extra']:,} extra, whom --remove-extra removes"
