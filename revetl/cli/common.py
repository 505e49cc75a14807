"""What commands share: dbt's options, output as text or JSON, messages to stderr."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
import orjson
from click.core import ParameterSource

if TYPE_CHECKING:
    from rich.console import Console

    from revetl.api import Project

F = TypeVar("F", bound=Callable[..., Any])

_PROJECT_OPTIONS = (
    click.option("--project-dir", type=click.Path(path_type=Path), help="Folder of the dbt project."),
    click.option("--profiles-dir", type=click.Path(path_type=Path), help="Folder of profiles.yml."),
    click.option("--profile", help="Override the project's profile."),
    click.option("-t", "--target", help="Override the profile's default target."),
    click.option("--vars", help="dbt variables as a YAML mapping, such as 'state_schema: NAME'."),
    click.option(
        "--dbt",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="Path of the dbt to run; the environment variable is REVETL_DBT.",
    ),
    click.option(
        "--lock-timeout",
        type=click.FloatRange(min=0),
        default=60.0,
        show_default=True,
        help="Seconds to wait for a locked DuckDB file.",
    ),
)
_QUIET_OPTIONS = (
    click.option("-q", "--quiet", is_flag=True, help="Hide messages and progress."),
    click.option("--no-color", is_flag=True, help="Disable color; the environment variable is NO_COLOR."),
)


def _output_option(*formats: str) -> Callable[[F], F]:
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default="text",
        show_default=True,
        help="Format of the result on stdout.",
    )


def _decorated(function: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def project_options(function: F) -> F:
    """dbt's own options and --lock-timeout, for `open_project`."""
    return _decorated(function, _PROJECT_OPTIONS)


def dbt_options(function: F) -> F:
    """dbt's own options, of a command that does not wait for the warehouse."""
    return _decorated(function, _PROJECT_OPTIONS[:-1])


def output_options(function: F) -> F:
    """-o, -q and --no-color."""
    return _decorated(function, (_output_option("text", "json"), *_QUIET_OPTIONS))


def quiet_options(function: F) -> F:
    """-q and --no-color, of a command whose result has a format of its own."""
    return _decorated(function, _QUIET_OPTIONS)


def plan_output_options(function: F) -> F:
    """The same of a command that prints plans: as Markdown, too."""
    return _decorated(function, (_output_option("text", "json", "markdown"), *_QUIET_OPTIONS))


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
            help="Format of the log on stderr.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(["debug", "info", "warning", "error"]),
            help="Lowest log level; the default is info for JSON and none for text.",
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
        """Rows as a table without borders, numbers to the right; where the terminal is narrower than that,
        each row as lines of `column value`, so that no value is broken."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [
            max(map(_width, (name, *(row[index] for row in cells)))) for index, name in enumerate(columns)
        ]
        total = sum(widths) + len(_GAP) * (len(widths) - 1)
        if sys.stdout.isatty() and total > shutil.get_terminal_size().columns:
            self._print_records(columns, cells)
            return
        numbers = [
            bool(rows) and all(isinstance(row[index], int | None) for row in rows)
            for index in range(len(columns))
        ]

        def line(texts: Sequence[str]) -> str:
            padded = [
                " " * (width - _width(text)) + text if number else text + " " * (width - _width(text))
                for text, width, number in zip(texts, widths, numbers, strict=True)
            ]
            return _GAP.join(padded)

        self._print_bold(line(columns))
        click.echo("─" * total)
        for row in cells:
            click.echo(line(row))

    def _print_records(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        width = max(map(_width, columns))
        for index, row in enumerate(rows):
            if index:
                click.echo()
            for name, value in zip(columns, row, strict=True):
                if value:
                    click.echo(f"{name}{' ' * (width - _width(name))}{_GAP}{value}")

    def _print_bold(self, text: str) -> None:
        is_plain = self.no_color or bool(os.environ.get("NO_COLOR"))
        click.echo(text if is_plain else click.style(text, bold=True))


_GAP = "   "


def _width(text: str) -> int:
    """The columns of a terminal that a text takes: East Asian wide characters take two, marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


@dataclasses.dataclass(frozen=True)
class Selection:
    """The audiences and destinations that a command is about: `names` of audiences or of syncs
    (`audience.destination`), or a selection in dbt's syntax, or `everything`."""

    names: tuple[str, ...] = ()
    to: str | None = None
    select: str | None = None
    exclude: str | None = None
    selector: str | None = None
    state: Path | None = None
    everything: bool = False

    @property
    def name(self) -> str | None:
        """The one name, where one was given."""
        return self.names[0] if self.names else None

    @property
    def is_selected(self) -> bool:
        """Whether it is a selection in dbt's syntax."""
        return (self.select, self.exclude, self.selector) != (None, None, None)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `Project.select`."""
        return {"name": self.name, "to": self.to, **self.by_dbt}

    @property
    def by_dbt(self) -> dict[str, Any]:
        """Those of them that are dbt's."""
        return {
            "select": self.select,
            "exclude": self.exclude,
            "selector": self.selector,
            "state": self.state,
        }


def selection_options(
    everything: str | None = None, *, needed: bool = True, many: bool = False
) -> Callable[[F], F]:
    """Which audiences and destinations a command is about, the same everywhere: `[audience] NAME`, --to,
    --select, --exclude, --selector and --state; with `everything`, its help, --all. The command is called
    with a `chosen` Selection. `needed`: one of them has to be given. `many`: names may be several."""
    from revetl.cli.completion import complete_audience, complete_destination

    metavar = "[audience] NAME..." if many else "[audience] NAME"
    options: list[Callable[[F], F]] = [
        click.argument(
            "words",
            nargs=-1,
            metavar=f"[{metavar}]",
            shell_complete=complete_audience,
        ),
        click.option(
            "--to",
            metavar="DESTINATION",
            help="Only syncs to this destination.",
            shell_complete=complete_destination,
        ),
        click.option(
            "-s",
            "--select",
            metavar="SELECTION",
            help="Select audiences in dbt's syntax.",
            shell_complete=complete_audience,
        ),
        click.option(
            "--exclude",
            metavar="SELECTION",
            help="Exclude audiences in dbt's syntax.",
            shell_complete=complete_audience,
        ),
        click.option("--selector", metavar="NAME", help="Use a selector of selectors.yml."),
        click.option(
            "--state",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder of the dbt artifacts that state: compares with.",
        ),
    ]
    if everything is not None:
        options.append(click.option("--all", "everything", is_flag=True, help=everything))

    def decorate(function: F) -> F:
        @wraps(function)
        def run(
            *arguments: Any,
            words: tuple[str, ...],
            to: str | None,
            select: str | None,
            exclude: str | None,
            selector: str | None,
            state: Path | None,
            everything: bool = False,
            **rest: Any,
        ) -> Any:
            chosen = Selection(_names(words, many=many), to, select, exclude, selector, state, everything)
            _check(chosen, needed=needed, has_all=has_all)
            return function(*arguments, chosen=chosen, **rest)

        return _decorated(cast(F, run), options)

    has_all = everything is not None
    return decorate


def _names(words: tuple[str, ...], *, many: bool) -> tuple[str, ...]:
    """The names in `[audience] NAME`."""
    names = words[1:] if words[:1] == ("audience",) else words
    if words and not names:
        raise click.UsageError("Name an audience. Write: audience NAME.")
    if len(names) > 1 and not many:
        raise click.UsageError(
            f"'{' '.join(names)}' is more than one name. Write one NAME, with --to for a destination, or use "
            "--select."
        )
    return names


def check_given(chosen: Selection, otherwise: str | None) -> None:
    """Raises UsageError where nothing is chosen; `otherwise` is what else would do."""
    if not (chosen.names or chosen.is_selected or chosen.everything):
        ways = "NAME, --select, --exclude or --selector" + (f", {otherwise}" if otherwise else "")
        raise click.UsageError(f"Nothing is selected. Use one of: {ways}.")


def _check(chosen: Selection, *, needed: bool, has_all: bool) -> None:
    """Raises UsageError for options that contradict each other, or that would do nothing."""
    given = sum((bool(chosen.names), chosen.is_selected, chosen.everything))
    if given > 1:
        raise click.UsageError(f"Use only one of NAME, a selection{' and --all' if has_all else ''}.")
    if needed:
        check_given(chosen, "--all" if has_all else None)
    if chosen.selector is not None and (chosen.select, chosen.exclude) != (None, None):
        raise click.UsageError("--selector cannot be combined with --select or --exclude. Use one of them.")
    compared = f"{chosen.select or ''} {chosen.exclude or ''}"
    uses_state = any(method in compared for method in ("state:", "result:", "source_status:"))
    if chosen.state is not None and chosen.selector is None and not uses_state:
        raise click.UsageError(
            "--state is only used by state:, result: and source_status: in --select or --exclude. Leave it "
            "out, or select by one of them."
        )


def given_options(*names: str) -> list[str]:
    """Those of the options that the command line gives, as they are written there."""
    context = click.get_current_context()
    written = {parameter.name: parameter.opts[-1] for parameter in context.command.params}
    sources = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return [written[name] for name in names if context.get_parameter_source(name) in sources]


def refuse(*names: str, because: str) -> None:
    """Raises UsageError where one of the options is given; `because` ends the sentence."""
    if found := given_options(*names):
        raise click.UsageError(f"{', '.join(found)} would do nothing: {because}")


def open_project(out: Output, **options: Any) -> Project:
    """The project that the options name."""
    from revetl.api import Project

    path = options.pop("project_dir")
    return Project(path, say=out.say, **options)
