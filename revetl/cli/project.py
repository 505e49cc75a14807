"""`revetl init`, `revetl build`, `revetl debug` and `revetl list`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl._version import __version__
from revetl.cli.common import (
    Output,
    Selection,
    dbt_options,
    open_project,
    output_options,
    project_options,
    refuse,
    selection_options,
)
from revetl.errors import RevetlError, UsageError

if TYPE_CHECKING:
    from revetl.dbt.project_files import DbtProject
    from revetl.destinations.base.destination import Destination


@click.command("init")
@click.argument("folder", metavar="[NAME]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--target",
    default="duckdb",
    show_default=True,
    help="Warehouse, by its dbt adapter name.",
)
@click.option("--here", is_flag=True, help="Add revetl to the dbt project in this folder, or in NAME.")
@click.option("--demo", is_flag=True, help="Add seven months of a real shop's events to load.")
@click.option("--minimal", is_flag=True, help="Set up reverse ETL only, without revetl's dbt package.")
@click.option(
    "--package",
    metavar="SOURCE",
    help="Package source: vendor (default), local:PATH, tarball:URL or git:URL; needs --here.",
)
@click.option("--revision", help="Tag, branch or commit of --package git:URL.")
@click.option("--subdirectory", help="Folder of the package in --package git:URL.")
@click.option("--undo", is_flag=True, help="Revert what --here changed; needs --here.")
@click.option("--upgrade", is_flag=True, help="Upgrade the copy of the dbt package to this version.")
@click.option("--force", is_flag=True, help="Replace edited files of the copy; needs --upgrade.")
@click.option("--with-examples", is_flag=True, help="Add the example audiences; needs --upgrade.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def init_command(
    folder: Path | None,
    target: str,
    here: bool,
    demo: bool,
    minimal: bool,
    package: str | None,
    revision: str | None,
    subdirectory: str | None,
    undo: bool,
    upgrade: bool,
    force: bool,
    with_examples: bool,
    yes: bool,
) -> None:
    """Create a project in the folder NAME, or add revetl to a dbt project with --here."""
    if upgrade and (here or minimal or undo):
        raise click.UsageError("--upgrade stands alone, with --force, --with-examples and --yes.")
    if (force or with_examples) and not upgrade:
        raise click.UsageError("--force and --with-examples are for --upgrade.")
    if (undo or package or revision or subdirectory) and not here:
        raise click.UsageError("--undo, --package, --revision and --subdirectory are for --here.")
    if demo and (here or minimal or upgrade):
        raise click.UsageError("--demo is for a new project with events. Write: revetl init NAME --demo.")
    if here or upgrade:
        refuse("target", because="it is the warehouse of a new project.")
    if here and (minimal or undo):
        because = f"--{'minimal' if minimal and not undo else 'undo'} adds no package."
        refuse("package", "revision", "subdirectory", because=because)
    if here and undo:
        refuse("minimal", because="--undo reverts whatever --here did.")
    if here and undo:
        _undo(folder or Path())
    elif here and minimal:
        _adopt_minimal(folder or Path(), yes=yes)
    elif here:
        _adopt(folder or Path(), (package, revision, subdirectory), yes=yes)
    elif upgrade:
        _upgrade(folder or Path(), force=force, with_examples=with_examples, yes=yes)
    elif folder is None:
        raise click.UsageError(
            "Name the folder of a new project, or add revetl to the dbt project here with --here."
        )
    else:
        _make(folder, target, minimal=minimal, demo=demo)


def _make(folder: Path, target: str, *, minimal: bool, demo: bool) -> None:
    from revetl.project.scaffolding import add_demo_events, make_minimal_project, make_project

    made = make_minimal_project(folder, target) if minimal else make_project(folder, target)
    steps = [f"cd {folder}"]
    if demo:
        file, last_day = add_demo_events(folder)
        made.append(file)
        steps += ["dbt deps", f"revetl load {file.relative_to(folder)}"]
        steps.append(f"dbt build --vars 'as_of: {last_day}'")
    else:
        steps += ["dbt build"] if minimal else ["dbt deps", "dbt build"]
    for each in made:
        click.echo(f"  {each}")
    steps.append(f"revetl plan {'vip_customers' if minimal else 'high_churn'}")
    click.echo(f"\nNext: {' && '.join(steps)}")


def _project_in(folder: Path) -> DbtProject:
    from revetl.dbt.project_files import Options, read_project

    if not (folder / "dbt_project.yml").is_file():
        raise UsageError(
            f"{folder.resolve()}: there is no dbt_project.yml here. Go to the folder of a dbt project, or "
            "make a new one with `revetl init NAME`."
        )
    return read_project(Options(project_dir=folder))


def _adopt(folder: Path, package: tuple[str | None, str | None, str | None], *, yes: bool) -> None:
    from revetl.dbt.project_files import Options, read_target
    from revetl.project.scaffolding import guest

    project = _project_in(folder)
    warehouse = None
    with suppress(UsageError):  # A profile is needed to build, not to add the package.
        warehouse = read_target(project, Options(project_dir=folder)).type
    plan = guest.plan_adoption(project, guest.package_source(*package), warehouse)
    click.echo(guest.unified(plan.changes))
    if plan.has_copy:
        click.echo(f"vendor/revetl/: {guest.copied_files()} new files, revetl's dbt package {__version__}\n")
    for note in plan.notes:
        click.echo(f"To do: {note}\n")
    _confirm("Write this?", yes=yes)
    guest.adopt(plan)
    click.echo(
        "Done; `revetl init --here --undo` takes it back.\n"
        "Next: dbt deps && revetl build --select package:revetl, then give a model `meta.revetl` "
        "(docs/how-to/adopting.md)."
    )


_EXAMPLE = """Next, give one of your models a destination in its YAML:

    models:
      - name: YOUR_MODEL
        config:
          meta:
            revetl:
              key: customer_id            # the column that names a person
              sync:
                - to: crm                 # a name in revetl.yml
                  fields: {email: email}

and then: revetl build --select YOUR_MODEL && revetl plan audience YOUR_MODEL
(docs/how-to/reverse-etl-only.md)."""


def _adopt_minimal(folder: Path, *, yes: bool) -> None:
    from revetl.project.scaffolding import guest

    plan = guest.plan_minimal(_project_in(folder))
    if not plan.changes:
        click.echo(f"revetl.yml is there already; reverse ETL needs nothing else.\n\n{_EXAMPLE}")
        return
    click.echo(guest.unified(plan.changes))
    _confirm("Write this?", yes=yes)
    guest.adopt(plan)
    click.echo(f"Done; `revetl init --here --undo` takes it back.\n\n{_EXAMPLE}")


def _undo(folder: Path) -> None:
    from revetl.project.scaffolding.guest import undo

    for done in undo(folder.resolve()):
        click.echo(f"  {done}")


def _upgrade(folder: Path, *, force: bool, with_examples: bool, yes: bool) -> None:
    from revetl.project.scaffolding import guest
    from revetl.project.scaffolding.upgrade import plan_upgrade, upgrade

    plan = plan_upgrade(_project_in(folder), force=force, with_examples=with_examples)
    if plan.is_current:
        click.echo(f"vendor/revetl is version {__version__}, which is this revetl's. Nothing was changed.")
        return
    click.echo(f"vendor/revetl: from version {plan.copy.version} to {__version__}\n")
    for word, files in (
        ("added", plan.difference.added),
        ("changed", plan.difference.changed),
        ("removed", plan.difference.removed),
    ):
        for file in files:
            click.echo(f"  {word:8} {file}")
    if plan.changes:
        click.echo(f"\n{guest.unified(plan.changes)}".rstrip("\n"))
    if plan.uses:
        click.echo("\nFormer names in your files, which are yours to change:\n")
        for use in plan.uses:
            click.echo(f"  {use.file.as_posix()}:{use.line}: {use.was}  ->  {use.now}")
    for note in plan.notes:
        click.echo(f"\nNote: {note}")
    click.echo()
    _confirm("Upgrade?", yes=yes)
    upgrade(plan)
    click.echo("Done. Next: dbt deps && revetl build")


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("Nothing was written: there is nobody to ask. Use --yes.")
    if not click.confirm(question):
        raise UsageError("Nothing was written.")


@click.command(
    "build",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
)
@click.option(
    "--dbt",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Path of the dbt to run; the environment variable is REVETL_DBT.",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[DBT OPTIONS]")
def build_command(dbt: Path | None, words: tuple[str, ...]) -> int:
    """Run dbt build with the dbt that revetl finds; all options except --dbt go to dbt."""
    from revetl.dbt.program import find_dbt, hand_over

    return hand_over(find_dbt(dbt), ["build", *words])


@click.command("list")
@selection_options(needed=False)
@output_options
@dbt_options
def list_command(chosen: Selection, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """List audiences and the destinations of each.

    NAME is an audience, or audience.destination.
    """
    out = Output(output, quiet, no_color)
    found = open_project(out, **options).select_audiences(chosen.names, to=chosen.to, **chosen.by_dbt)
    if out.json:
        out.print_json(
            [
                {
                    "audience": audience.name,
                    "key": audience.key,
                    "description": audience.description,
                    "tags": audience.tags,
                    "syncs": [{"sync": sync.name, **sync.config.model_dump()} for sync in syncs],
                }
                for audience, syncs in found
            ]
        )
        return
    rows = [
        (
            audience.name,
            audience.key,
            ", ".join(f"{sync.config.to} ({sync.config.mode})" for sync in syncs),
            " ".join(audience.tags),
        )
        for audience, syncs in found
    ]
    out.print_table(("audience", "key", "destinations", "tags"), rows)


@click.command("debug")
@output_options
@project_options
def debug_command(output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Check the project, the warehouse, the audiences, and the destinations' credentials."""
    from revetl.delivery.connection_check import probed
    from revetl.inspect.raw_events import left_behind

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

    def raw() -> str:
        warning = left_behind(workspace)
        return workspace.raw_schema + (f". Warning: {warning}" if warning else "")

    check("raw schema", raw)
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
    from revetl.dbt.program import find_dbt

    program = find_dbt(given)
    return f"{program.version}, {program.shown}: {program.reason}"
