"""What commands share: dbt's options, output as text or JSON, messages to stderr."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import orjson

if TYPE_CHECKING:
    from rich.console import Console

    from revetl.api import Project

F = TypeVar("F", bound=Callable[..., Any])

_PROJECT_OPTIONS = (
    click.option("--project-dir", type=click.Path(path_type=Path), help="The dbt project's folder."),
    click.option("--profiles-dir", type=click.Path(path_type=Path), help="The folder of profiles.yml."),
    click.option("--profile", help="The profile to use, instead of the project's."),
    click.option("-t", "--target", help="The target of the profile, instead of its default."),
    click.option(
        "--vars", help="dbt variables as YAML, as dbt takes them: state_schema, raw_schema and all others."
    ),
    click.option(
        "--dbt",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="The dbt to run, instead of the first that is found; REVETL_DBT does the same.",
    ),
    click.option(
        "--lock-timeout",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        help="Seconds to wait for a DuckDB file that another process has open.",
    ),
)
_OUTPUT_OPTIONS = (
    click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json", "markdown"]),
        default="text",
        help="What is printed to stdout; markdown is for plans.",
    ),
    click.option("-q", "--quiet", is_flag=True, help="No messages and no progress."),
    click.option("--no-color", is_flag=True, help="No colors; NO_COLOR does the same."),
)


def _decorated(function: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def project_options(function: F) -> F:
    """dbt's own options, as `**project_options` for `open_project`."""
    return _decorated(function, _PROJECT_OPTIONS)


def output_options(function: F) -> F:
    """-o, -q and --no-color."""
    return _decorated(function, _OUTPUT_OPTIONS)


def log_options(function: F) -> F:
    """--log-format and --log-level, and OpenTelemetry where the environment asks for it."""

    @wraps(function)
    def run(*arguments: Any, log_format: str, log_level: str | None, **rest: Any) -> Any:
        from revetl.observability import logs, telemetry

        logs.configure(log_format, log_level)  # type: ignore[arg-type]
        telemetry.configure(lambda message: click.echo(message, err=True))
        return function(*arguments, **rest)

    options: tuple[Callable[[F], F], ...] = (
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            help="Write what happens to stderr as JSON lines.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            help="How much of it; info for JSON, nothing for text, when it is not given.",
        ),
    )
    decorated = cast(F, run)
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


@dataclasses.dataclass(frozen=True)
class Output:
    """Where a command's results and messages go."""

    output: str
    quiet: bool
    no_color: bool

    @property
    def json(self) -> bool:
        return self.output == "json"

    @property
    def markdown(self) -> bool:
        return self.output == "markdown"

    def say(self, message: str) -> None:
        """A message for a person, on stderr."""
        if not self.quiet:
            click.echo(message, err=True)

    def console(self, *, err: bool = False) -> Console:
        """A rich console on stdout or stderr."""
        from rich.console import Console

        no_color = self.no_color or bool(os.environ.get("NO_COLOR"))
        is_terminal = (sys.stderr if err else sys.stdout).isatty()
        # Where no one looks at the width, nothing is cut or folded to fit one.
        width = None if is_terminal else 10_000
        return Console(stderr=err, no_color=no_color, highlight=False, emoji=False, width=width)

    def print_json(self, value: object) -> None:
        """Data, on stdout."""
        click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=_plain).decode())

    def print_table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows as a table without borders; numbers to the right."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for index, name in enumerate(columns):
            numbers = bool(rows) and all(isinstance(row[index], int | None) for row in rows)
            table.add_column(name, justify="right" if numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self.console().print(table)


def _cell(value: object) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int) else escape(str(value))


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


def audience_name(words: tuple[str, ...]) -> str | None:
    """The name in the words `audience NAME`, or `NAME` alone; None without any."""
    if len(words) == 1 and words[0] != "audience":
        return words[0]
    if words and (len(words) != 2 or words[0] != "audience"):
        raise click.UsageError(f"'{' '.join(words)}' is not understood. Write: audience NAME.")
    return words[1] if words else None


def selection_options(everything: str, *, with_sync: bool = False, excludes: bool = True) -> Callable[[F], F]:
    """What a command is about: `audience NAME` (with `with_sync`, or the name of a sync), --to, --select,
    --all, which is `everything`; with `excludes`, --exclude and --state as well."""
    options: list[Callable[[F], F]] = [
        click.argument(
            "words", nargs=-1, metavar="[SYNC | audience NAME]" if with_sync else "[audience NAME]"
        ),
        click.option("--to", metavar="DESTINATION", help="Only to this destination."),
        click.option("-s", "--select", metavar="SELECTION", help="Audiences, in dbt's selection syntax."),
    ]
    if excludes:
        options += [
            click.option(
                "--exclude", metavar="SELECTION", help="Leave these out, in dbt's selection syntax."
            ),
            click.option(
                "--state",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                help="The folder of the artifacts that `state:modified` compares with.",
            ),
        ]
    options.append(click.option("--all", "everything", is_flag=True, help=everything))

    def decorate(function: F) -> F:
        return _decorated(function, options)

    return decorate


def check_selection(
    words: tuple[str, ...],
    everything: bool,
    *,
    select: str | None,
    exclude: str | None = None,
    names: str = "audience NAME, --select or --exclude SELECTION",
) -> None:
    """Raise UsageError unless exactly one of the words, a selection, and all is given."""
    if sum((bool(words), select is not None or exclude is not None, everything)) != 1:
        raise click.UsageError(f"Name one of: {names}, --all.")


def open_project(out: Output, **options: Any) -> Project:
    """The project that the options name."""
    from revetl.api import Project

    path = options.pop("project_dir")
    return Project(path, say=out.say, **options)
