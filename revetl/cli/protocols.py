"""`revetl protocols`: compile, check, readmit, export and import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, output_options, project_options
from revetl.words import counted

if TYPE_CHECKING:
    from revetl.protocols.read import Checked

FORMATS = ("segment", "segment-public-api", "rudderstack", "json-schema")


@click.group("protocols", context_settings={"help_option_names": ["-h", "--help"]})
def protocols_command() -> None:
    """The tracking plan: bring it into the warehouse, check messages, exchange it with other tools."""


@protocols_command.command("compile")
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 2 when the macro file is not what would be written."
)
@output_options
@project_options
def compile_command(check: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Write tracking_plan.yaml as macros/tracking_plan.sql, of which dbt makes tracking_plan_violations."""
    from revetl.protocols import PLAN_FILE, CompiledPlan

    out = Output(output, quiet, no_color)
    compiled = CompiledPlan(_root(options))
    is_current = compiled.is_current
    if not check:
        compiled.write()
    if out.json:
        out.print_json({"file": str(compiled.shown), "same": is_current})
    elif is_current:
        out.say(f"{compiled.shown} is as {PLAN_FILE} is.")
    elif not check:
        events = counted(len(compiled.plan.events), "event")
        out.say(f"{compiled.shown} is written: {events}. It is in force from the next dbt build on.")
    if check and not is_current:
        click.echo(f"Error: {compiled.is_old}", err=True)
        return 2
    return 0


@protocols_command.command("check")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@output_options
@project_options
def check_command(file: Path, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Check the messages in FILE against tracking_plan.yaml: one message, or a line each. `-` is stdin.

    Exits 1 when any of them violates the plan. Needs no warehouse.
    """
    from revetl.protocols import PLAN_FILE, Checker, read_plan
    from revetl.protocols.read import check_messages

    out = Output(output, quiet, no_color)
    checker = Checker(read_plan(_root(options) / PLAN_FILE))
    found: list[dict[str, Any]] = []
    totals: Counter[str] = Counter()
    for checked in check_messages(checker, file):
        totals["messages"] += 1
        totals["wrong"] += bool(checked.violations)
        totals["violations"] += len(checked.violations)
        if out.json:
            found += [{"line": checked.line, **asdict(each)} for each in checked.violations]
        else:
            _print_violations(checked)
    if out.json:
        out.print_json(found)
    else:
        out.say(
            f"{counted(totals['violations'], 'violation')} in {totals['wrong']:,} of "
            f"{counted(totals['messages'], 'message')}."
        )
    return 1 if totals["violations"] else 0


@protocols_command.command("readmit")
@click.option("--dry-run", is_flag=True, help="Only count; write nothing.")
@output_options
@project_options
def readmit_command(dry_run: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Say what tracking_plan.yaml, once mended, lets in of what is blocked, and compile it.

    The next `dbt build` brings the messages in. Messages that the plan takes out are counted too.
    """
    from revetl.dbt import Options
    from revetl.protocols.readmit import readmit

    out = Output(output, quiet, no_color)
    options.pop("lock_timeout")
    out.say("Counting in the warehouse …")
    found = readmit(Options(**options), dry_run=dry_run)
    if out.json:
        out.print_json(found)
        return
    if found.events:
        out.print_table(
            ("event", "blocked now", "let in", "taken out"),
            [
                (each.event or each.message_type, each.blocked, each.let_in, each.taken_out)
                for each in found.events
            ],
        )
    change = f"lets in {counted(found.let_in, 'message')} and takes out {found.taken_out:,}"
    if dry_run:
        out.say(f"The plan on disk {change}. Nothing was written.")
    else:
        done = "is written" if found.written else "was up to date"
        out.say(f"{found.file} {done}. The next `dbt build` {change}.")


@protocols_command.command("export")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default="json-schema",
    show_default=True,
    help="segment is that of tracking plan files and the Config API.",
)
@output_options
@project_options
def export_command(kind: str, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Print tracking_plan.yaml as another tool has it. What cannot be carried over is told on stderr."""
    from revetl.protocols import PLAN_FILE, read_plan
    from revetl.protocols.exchange import export_plan

    out = Output(output, quiet, no_color)
    text, losses = export_plan(read_plan(_root(options) / PLAN_FILE), kind)
    click.echo(text, nl=False)
    _tell_losses(out, losses)


@protocols_command.command("import")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True)
)
@output_options
def import_command(files: Sequence[Path], output: str, quiet: bool, no_color: bool) -> None:
    """Print another tool's plan in FILE as tracking_plan.yaml has it. What is lost is told on stderr.

    FILE is Segment's tracking plan as JSON (of either API), RudderStack's YAML files, or JSON Schema.
    """
    from revetl.protocols.exchange import import_plan

    text, losses = import_plan(files)
    click.echo(text, nl=False)
    _tell_losses(Output(output, quiet, no_color), losses)


def _root(options: dict[str, Any]) -> Path:
    from revetl.dbt import Options, read_project

    options.pop("lock_timeout")
    return read_project(Options(**options)).root


def _print_violations(checked: Checked) -> None:
    for each in checked.violations:
        where = ": ".join(filter(None, (each.message_id, each.event or each.message_type, each.path)))
        click.echo(
            f"line {checked.line}: {where}: {each.rule}: expected {each.expected}, found {each.found} "
            f"({each.action})"
        )


def _tell_losses(out: Output, losses: Sequence[str]) -> None:
    for loss in losses:
        out.say(f"Not carried over: {loss}")
