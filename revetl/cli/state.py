"""`revetl state`: show and adopt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import (
    Output,
    audience_name,
    check_selection,
    open_project,
    output_options,
    project_options,
    selection_options,
)
from revetl.observability.text import counted

if TYPE_CHECKING:
    from revetl.api import Project
    from revetl.project.workspace import Sync


@click.group("state", context_settings={"help_option_names": ["-h", "--help"]})
def state_command() -> None:
    """Whose state it is: the warehouse and target that wrote it, and where it was delivered to."""


_syncs = selection_options("Every sync of the project.", with_sync=True, excludes=False)


def _opened(
    out: Output,
    words: tuple[str, ...],
    to: str | None,
    select: str | None,
    everything: bool,
    **options: Any,
) -> tuple[Project, list[Sync]]:
    """The project, and the syncs of it that a command is about."""
    project = open_project(out, **options)
    check_selection(words, everything, select=select, names="SYNC, audience NAME, --select SELECTION")
    if len(words) == 1:
        return project, [project.sync_named(words[0])]
    return project, project.select(audience_name(words), to=to, select=select)


@state_command.command("show")
@_syncs
@output_options
@project_options
def show_command(output: str, quiet: bool, no_color: bool, **chosen: Any) -> int:
    """Show what is recorded of syncs and whether it is what is configured now. Changes nothing.

    Exits 3 when a run would stop. SYNC is `audience.destination`.
    """
    out = Output(output, quiet, no_color)
    project, syncs = _opened(out, **chosen)
    found = project.identities(syncs)
    if out.json:
        out.print_json(found)
    else:
        for each in found:
            _show(each)
    return 3 if any(each["stops"] for each in found) else 0


@state_command.command("adopt")
@_syncs
@output_options
@project_options
def adopt_command(output: str, quiet: bool, no_color: bool, **chosen: Any) -> None:
    """Accept the state of syncs as it is: for a warehouse that was moved, renamed or restored, or a
    destination that is the same account under another name. Nothing is sent, and what is held stays."""
    out = Output(output, quiet, no_color)
    project, syncs = _opened(out, **chosen)
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
