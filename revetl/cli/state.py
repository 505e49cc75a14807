"""`revetl state`: show and adopt."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import (
    Output,
    Selection,
    open_project,
    output_options,
    project_options,
    selection_options,
)
from revetl.observability.text import counted


@click.group("state", context_settings={"help_option_names": ["-h", "--help"]})
def state_command() -> None:
    """Show or adopt the state of syncs: which warehouse, target and destination it is for."""


_syncs = selection_options("Every sync of the project.")


@state_command.command("show", short_help="Show what the state was recorded for.")
@_syncs
@output_options
@project_options
def show_command(chosen: Selection, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Show which warehouse, target and destination the state of syncs was recorded for.

    Changes nothing. Exits 3 when a run would stop. NAME is an audience, or audience.destination.
    """
    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    syncs = project.select(**chosen.arguments)
    found = project.identities(syncs)
    if out.json:
        out.print_json(found)
    else:
        for each in found:
            _show(each)
    return 3 if any(each["stops"] for each in found) else 0


@state_command.command("adopt", short_help="Accept the state as it is.")
@_syncs
@output_options
@project_options
def adopt_command(chosen: Selection, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Accept the state of syncs for this warehouse, target and destination.

    Use it after the warehouse was moved, renamed or restored, or when a destination is the same account under
    another name. Nothing is sent, and the state keeps its records.
    """
    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    syncs = project.select(**chosen.arguments)
    found = project.adopt(syncs)
    if out.json:
        out.print_json(found)
        return
    for each in found:
        for message in each["stops"]:
            out.say(message)
    out.say(f"Adopted the state of {counted(len(found), 'sync')}.")


def _show(each: dict[str, Any]) -> None:
    click.echo(each["sync"])
    recorded, now = each["recorded"], each["now"]
    if recorded is None:
        click.echo("  nothing is recorded; the next run adopts the state")
    for part, title in (("written_by", "written by"), ("delivered_to", "delivered to")):
        shown = now if recorded is None else recorded
        text = ", ".join(
            f"{name} {value}" for name, value in shown[part].items() if not value.startswith("#")
        )
        click.echo(f"  {title}: {text}")
    for message in each["stops"]:
        click.echo(f"  a run would stop: {message}")
