"""`revetl validate`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, Selection, dbt_options, output_options, selection_options
from revetl.errors import UsageError, nearest

if TYPE_CHECKING:
    from revetl.project.workspace import Workspace


@click.command("validate")
@selection_options(needed=False)
@click.option("--no-secrets", is_flag=True, help="Do not require the destinations' environment variables.")
@output_options
@dbt_options
def validate_command(
    chosen: Selection, no_secrets: bool, output: str, quiet: bool, no_color: bool, **options: Any
) -> int:
    """Find every error in the configuration at once.

    NAME is an audience, or audience.destination. revetl.yml is always checked as a whole. Columns are checked
    against the compiled SQL, else against the built relation where the warehouse can be read at once; what
    could not be checked is named.
    """
    from revetl.config.models import read_revetl_yml
    from revetl.dbt.project_files import Options, read_project
    from revetl.governance.pii import pii_errors
    from revetl.governance.tracking_plan.project import compiled_errors
    from revetl.inspect.validate import validate

    out = Output(output, quiet, no_color)
    given = Options(**options)
    errors = validate(
        given, secrets=not no_secrets, say=out.say, choose=_chooser(chosen) if chosen != Selection() else None
    )
    # Without a project, that has been said.
    with suppress(UsageError):
        root = read_project(given).root
        errors += compiled_errors(root)
        errors += pii_errors(root, read_revetl_yml(root).destinations, secrets=not no_secrets)
    if not out.json:
        _say_left_behind(out, given)
        _say_unattended(out, given)
        _say_unseen(out, given)
    if out.json:
        out.print_json(errors)
    else:
        for error in errors:
            click.echo(f"Error: {error}", err=True)
        if len(errors) != 1:
            out.say(f"{len(errors)} errors." if errors else "The configuration is valid.")
    return 2 if errors else 0


def _chooser(chosen: Selection) -> Callable[[Workspace], set[str]]:
    """The names of the chosen audiences, whether or not their configuration is right."""

    def choose(workspace: Workspace) -> set[str]:
        from revetl.api import chosen_models

        found = chosen_models(workspace, chosen.names, to=chosen.to, **chosen.by_dbt)
        for name, to in found if chosen.names else ():
            if to is not None and not workspace.has_sync(f"{name}.{to}"):
                known = workspace.destinations_of(name)
                raise UsageError(f"{name} has no sync to '{to}'. {nearest(to, known)}")
        return {name for name, to in found if to is None or workspace.has_sync(f"{name}.{to}")}

    return choose


def _say_left_behind(out: Output, options: Any) -> None:
    """Warn of events in a schema that the project no longer reads."""
    from revetl.errors import RevetlError
    from revetl.inspect.raw_events import left_behind
    from revetl.project.workspace import Workspace

    with suppress(RevetlError):
        if warning := left_behind(Workspace(options, lock_timeout=0)):
            out.say(f"Warning: {warning}")


def _say_unseen(out: Output, options: Any) -> None:
    """Warn of events, properties and traits that no message has."""
    from revetl.errors import RevetlError
    from revetl.inspect.unseen_names import say_unseen
    from revetl.project.workspace import Workspace

    with suppress(RevetlError):
        say_unseen(Workspace(options, lock_timeout=0), out.say)


def _say_unattended(out: Output, options: Any) -> None:
    """Say which syncs hold people and are touched by no run, where the warehouse can be asked at once."""
    from revetl.errors import RevetlError
    from revetl.project.workspace import Workspace
    from revetl.sync.retire import unattended
    from revetl.sync.state.tables import state_tables

    with suppress(RevetlError):
        workspace = Workspace(options, lock_timeout=0)
        warehouse = workspace.warehouse(read_only=True)
        try:
            for each in unattended(workspace, warehouse, state_tables(workspace, warehouse.database)):
                out.say(f"Warning: {each}")
        finally:
            warehouse.close()
