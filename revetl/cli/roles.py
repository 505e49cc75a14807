"""`revetl roles`."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import Output, dbt_options, open_project, output_options


@click.command("roles")
@click.option(
    "--print", "shown", is_flag=True, required=True, help="Print the statements; nothing is executed."
)
@output_options
@dbt_options
def roles_command(shown: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Print the minimal grants for the loader, dbt, the runner and analysts, as SQL."""
    from revetl.inspect.grants import roles

    out = Output(output, quiet, no_color)
    workspace = open_project(out, **options).workspace
    found = roles(workspace)
    if out.json:
        out.print_json(found)
        return
    if not any(role.statements for role in found):
        out.say(
            f"{workspace.target.type} has no roles: who may read and write its files may do all. "
            "Nothing is to be granted."
        )
        return
    for role in found:
        click.echo(f"-- {role.name}: {role.purpose}")
        for statement in role.statements:
            click.echo(f"{statement};")
        click.echo()
