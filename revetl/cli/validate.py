"""`revetl validate`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from revetl.cli.common import Output, output_options, project_options
from revetl.errors import UsageError


@click.command("validate")
@click.option(
    "--no-secrets", is_flag=True, help="Environment variables that destinations use need not be set."
)
@output_options
@project_options
def validate_command(no_secrets: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Find every error of the configuration at once, without the warehouse."""
    from revetl.config.models import read_revetl_yml
    from revetl.dbt.project_files import Options, read_project
    from revetl.governance.pii import pii_errors
    from revetl.governance.tracking_plan.project import compiled_errors
    from revetl.inspect.validate import validate

    out = Output(output, quiet, no_color)
    options.pop("lock_timeout")
    given = Options(**options)
    errors = validate(given, secrets=not no_secrets, say=out.say)
    # Without a project, that has been said.
    with suppress(UsageError):
        root = read_project(given).root
        errors += compiled_errors(root)
        errors += pii_errors(root, read_revetl_yml(root).destinations, secrets=not no_secrets)
    if not out.json:
        _say_left_behind(out, given)
        _say_unattended(out, given)
    if out.json:
        out.print_json(errors)
    else:
        for error in errors:
            click.echo(f"Error: {error}", err=True)
        if len(errors) != 1:
            out.say(f"{len(errors)} errors." if errors else "The configuration is right.")
    return 2 if errors else 0


def _say_left_behind(out: Output, options: Any) -> None:
    """Warn of events in a schema that the project no longer reads."""
    from revetl.errors import RevetlError
    from revetl.inspect.raw_events import left_behind
    from revetl.project.workspace import Workspace

    with suppress(RevetlError):
        if warning := left_behind(Workspace(options, lock_timeout=0)):
            out.say(f"Warning: {warning}")


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
