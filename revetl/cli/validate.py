"""`revetl validate`."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import Output, output_options, project_options


@click.command("validate")
@click.option(
    "--no-secrets", is_flag=True, help="Environment variables that destinations use need not be set."
)
@output_options
@project_options
def validate_command(no_secrets: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Find every error of the configuration at once, without the warehouse."""
    from revetl.dbt import Options
    from revetl.validate import validate

    out = Output(output, quiet, no_color)
    options.pop("lock_timeout")
    errors = validate(Options(**options), secrets=not no_secrets, say=out.say)
    if out.json:
        out.print_json(errors)
    else:
        for error in errors:
            click.echo(f"Error: {error}", err=True)
        if len(errors) != 1:
            out.say(f"{len(errors)} errors." if errors else "The configuration is right.")
    return 2 if errors else 0
