"""`revetl protocols`: compile, check, simulate, readmit, export and import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, dbt_options, output_options, quiet_options
from revetl.observability.text import counted

if TYPE_CHECKING:
    from revetl.governance.tracking_plan.read import CheckedMessage

ACTIONS = ("block", "flag", "allow")
UNPLANNED_ACTIONS = ("block", "omit", "flag", "allow")
FORMATS = ("segment", "segment-public-api", "rudderstack", "json-schema")


@click.group("protocols", context_settings={"help_option_names": ["-h", "--help"]})
def protocols_command() -> None:
    """Compile, check, simulate, export and import the tracking plan."""


@protocols_command.command("compile", short_help="Compile the plan to dbt macros.")
@click.option("--check", is_flag=True, help="Write nothing, and exit 2 when the macro files are out of date.")
@output_options
@dbt_options
def compile_command(check: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Compile tracking_plan.yaml and transformations.yaml to dbt macros."""
    from revetl.governance.tracking_plan.project import macro_files

    out = Output(output, quiet, no_color)
    files = macro_files(_root(options))
    old = [each for each in files if not each.is_current]
    said = [{"file": str(each.shown), "same": each not in old} for each in files]
    if not check:
        for each in old:
            each.write()
    if out.json:
        out.print_json(said)
    for each in files if not out.json else ():
        if each not in old:
            out.say(f"{each.shown} is as {each.source_name} is.")
        elif not check:
            out.say(f"{each.shown} is written. It is in force from the next dbt build on.")
    if check and old:
        for each in old:
            click.echo(f"Error: {each.is_old}", err=True)
        return 2
    return 0


@protocols_command.command("check", short_help="Check messages against the plan.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--source", metavar="NAME", help="Source of the messages.")
@output_options
@dbt_options
def check_command(
    file: Path, source: str | None, output: str, quiet: bool, no_color: bool, **options: Any
) -> int:
    """Check the messages in FILE (one, or one per line) against tracking_plan.yaml. `-` is stdin.

    transformations.yaml is applied first. Exits 1 when a message violates the plan. Needs no warehouse;
    --target selects the plan's actions where they depend on it.
    """
    from revetl.dbt.project_files import Options, read_project
    from revetl.governance.tracking_plan import PLAN_FILE, Checker, read_plan
    from revetl.governance.tracking_plan.project import resolved_plan
    from revetl.governance.tracking_plan.read import check_messages
    from revetl.governance.transformations import TRANSFORMATIONS_FILE, read_transformations

    out = Output(output, quiet, no_color)
    project = read_project(Options(**options))
    root = project.root
    checker = Checker(resolved_plan(read_plan(root / PLAN_FILE), project, Options(**options)))
    transformations = read_transformations(root).transformations
    found: list[dict[str, Any]] = []
    totals: Counter[str] = Counter()
    derived: set[str] = set()
    for checked in check_messages(checker, file, transformations, source):
        derived.update(checked.derived)
        totals["transformed"] += checked.transformed
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
    if totals["transformed"]:
        out.say(f"{TRANSFORMATIONS_FILE} was applied to {counted(totals['transformed'], 'message')} before.")
    if derived:
        out.say(f"Not looked at, as only the warehouse derives it: {', '.join(sorted(derived))}.")
    return 1 if totals["violations"] else 0


@protocols_command.command("simulate", short_help="Simulate other plan actions.")
@click.option("--on-violation", type=click.Choice(ACTIONS), help="Override on_violation of the plan.")
@click.option("--unplanned-events", type=click.Choice(ACTIONS), help="Override unplanned_events of the plan.")
@click.option(
    "--unplanned-properties",
    type=click.Choice(UNPLANNED_ACTIONS),
    help="Override the plan's unplanned_properties.",
)
@click.option("--source", metavar="NAME", help="Count only messages of this source.")
@click.option("--event", metavar="NAME", help="Count only this event, or identify, group, page or screen.")
@output_options
@dbt_options
def simulate_command(
    on_violation: str | None,
    unplanned_events: str | None,
    unplanned_properties: str | None,
    source: str | None,
    event: str | None,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Count the loaded messages that the plan would block or omit with other actions.

    Without options, the plan on disk is evaluated as it is. Changes nothing; the models must be built first.
    """
    from revetl.dbt.project_files import Options
    from revetl.governance.tracking_plan.simulate import Overrides, simulate

    out = Output(output, quiet, no_color)
    out.say("Counting in the warehouse …")
    overrides = Overrides(on_violation, unplanned_events, unplanned_properties)
    found = simulate(Options(**options), overrides, source=source, event=event)
    if out.json:
        out.print_json(found)
        return
    if found.events:
        out.print_table(
            ("event", "source", "messages", "blocked now", "blocked", "share", "omitted"),
            [
                (
                    each.event or each.message_type,
                    each.source,
                    each.messages,
                    each.blocked_now,
                    each.blocked,
                    f"{each.share_blocked:.1%}",
                    each.omitted,
                )
                for each in found.events
            ],
        )
        out.print_table(
            ("event", "source", "rule", "property", "action", "messages", "such as"),
            [
                (
                    each.event or each.message_type,
                    each.source,
                    rule.rule,
                    rule.path,
                    rule.action,
                    rule.messages,
                    ", ".join(rule.sample),
                )
                for each in found.events
                for rule in each.rules
            ],
        )
    for name, readers in {each.event: each.read_by for each in found.events if each.read_by}.items():
        click.echo(f"{name} is read by {', '.join(readers)}")
    out.say(
        f"{counted(found.blocked, 'message')} would be blocked ({found.newly_blocked:+,} to now), and "
        f"properties of {found.omitted:,} omitted. Nothing was changed."
    )


@protocols_command.command("readmit", short_help="Readmit messages after a plan fix.")
@click.option("--dry-run", is_flag=True, help="Count only, and write nothing.")
@output_options
@dbt_options
def readmit_command(dry_run: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Compile a corrected tracking_plan.yaml, and count the blocked messages that it lets in.

    The next dbt build applies it. Messages that the plan newly blocks are counted too.
    """
    from revetl.dbt.project_files import Options
    from revetl.governance.tracking_plan.readmit import readmit

    out = Output(output, quiet, no_color)
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
        done = f"Written: {', '.join(found.written)}." if found.written else "All was compiled already."
        out.say(f"{done} The next `dbt build` {change}.")


@protocols_command.command("export", short_help="Export the plan.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default="json-schema",
    show_default=True,
    help="Format; segment is that of plan files and the Config API.",
)
@quiet_options
@dbt_options
def export_command(kind: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Print tracking_plan.yaml in another tool's format. What is lost is listed on stderr."""
    from revetl.governance.tracking_plan import PLAN_FILE, read_plan
    from revetl.governance.tracking_plan.exchange import export_plan

    out = Output("text", quiet, no_color)
    text, losses = export_plan(read_plan(_root(options) / PLAN_FILE), kind)
    click.echo(text, nl=False)
    _tell_losses(out, losses)


@protocols_command.command("import", short_help="Import a plan from another tool.")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True)
)
@quiet_options
def import_command(files: Sequence[Path], quiet: bool, no_color: bool) -> None:
    """Print another tool's plan in FILE as tracking_plan.yaml. What is lost is listed on stderr.

    FILE is Segment's tracking plan as JSON (of either API), RudderStack's YAML files, or JSON Schema.
    """
    from revetl.governance.tracking_plan.exchange import import_plan

    text, losses = import_plan(files)
    click.echo(text, nl=False)
    _tell_losses(Output("text", quiet, no_color), losses)


def _root(options: dict[str, Any]) -> Path:
    from revetl.dbt.project_files import Options, read_project

    return read_project(Options(**options)).root


def _print_violations(checked: CheckedMessage) -> None:
    for each in checked.violations:
        where = ": ".join(filter(None, (each.message_id, each.event or each.message_type, each.path)))
        click.echo(
            f"line {checked.line}: {where}: {each.rule}: expected {each.expected}, found {each.found} "
            f"({each.action})"
        )


def _tell_losses(out: Output, losses: Sequence[str]) -> None:
    for loss in losses:
        out.say(f"Not carried over: {loss}")
