"""`revetl init`, `revetl debug` and `revetl list`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, open_project, output_options, project_options
from revetl.errors import RevetlError, UsageError

if TYPE_CHECKING:
    from revetl.destinations.base import Destination


@click.command("init")
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@click.option(
    "--target", default="duckdb", show_default=True, help="The warehouse, by dbt's name of it: postgres, …"
)
@click.option("--upgrade", is_flag=True, help="Bring the dbt package of a project up to this revetl.")
def init_command(folder: Path, target: str, upgrade: bool) -> None:
    """Make a new project in the folder NAME."""
    from revetl.scaffolding import copy_package, make_project

    if upgrade:
        if not (folder / "dbt_project.yml").exists():
            raise UsageError(f"{folder}: there is no dbt_project.yml here; --upgrade is for a project.")
        click.echo(f"{copy_package(folder)} is this revetl's now. Run `dbt deps && dbt build`.")
        return
    for file in make_project(folder, target):
        click.echo(f"  {file}")
    click.echo(f"\nNext: cd {folder} && dbt deps && dbt build && revetl plan audience high_churn")


@click.command("list")
@output_options
@project_options
def list_command(output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """The audiences, and where each goes."""
    out = Output(output, quiet, no_color)
    audiences = open_project(out, **options).audiences
    if out.json:
        out.print_json(
            [
                {
                    "audience": audience.name,
                    "key": audience.key,
                    "description": audience.description,
                    "tags": audience.tags,
                    "syncs": [{"sync": sync.name, **sync.config.model_dump()} for sync in audience.syncs],
                }
                for audience in audiences
            ]
        )
        return
    rows = [
        (
            audience.name,
            audience.key,
            ", ".join(f"{sync.config.to} ({sync.config.mode})" for sync in audience.syncs),
            " ".join(audience.tags),
        )
        for audience in audiences
    ]
    out.print_table(("audience", "key", "goes to", "tags"), rows)


@click.command("debug")
@output_options
@project_options
def debug_command(output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Check the project, the warehouse, the audiences, and that the destinations take our credentials."""
    from revetl.sync.probing import probed

    out = Output(output, quiet, no_color)
    checks: list[dict[str, Any]] = []
    code = 0

    def check(name: str, work: Callable[[], str]) -> None:
        nonlocal code
        try:
            checks.append({"check": name, "ok": True, "detail": work()})
        except RevetlError as error:
            checks.append({"check": name, "ok": False, "detail": str(error)})
            code = max(code, error.exit_code)

    project = open_project(out, **options)
    workspace = project.workspace
    check("project", lambda: f"{workspace.dbt.name} in {workspace.root}")
    check("dbt", lambda: _dbt(workspace.options.dbt))
    check("target", lambda: f"{workspace.target.name} ({workspace.target.type})")

    def opens() -> str:
        warehouse = workspace.warehouse(read_only=True)
        warehouse.close()
        return f"{warehouse.database} opens"

    check("warehouse", opens)
    check("state schema", workspace.whose_state_schema)
    check("audiences", lambda: f"{len(project.audiences)} declared")
    try:
        audiences = project.audiences
    except RevetlError:
        audiences = []
    destinations: dict[str, Destination] = {}
    for sync in (sync for audience in audiences for sync in audience.syncs):

        def configured(sync: Any = sync) -> str:
            destination = workspace.destination(sync)
            destinations.setdefault(sync.config.to, destination)
            return f"{destination.type}, {sync.config.mode}"

        check(f"sync {sync.name}", configured)
    for name, destination in destinations.items():
        check(f"destination {name}", partial(probed, destination))
    if out.json:
        out.print_json({"ok": code == 0, "checks": checks})
    else:
        for row in checks:
            click.echo(f"{'ok    ' if row['ok'] else 'FAILED'}  {row['check']}: {row['detail']}")
    return code


def _dbt(given: Path | None) -> str:
    from revetl.dbt_program import find_dbt

    program = find_dbt(given)
    return f"{program.version}, {program.shown}: {program.reason}"
