"""`revetl sql`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, open_project, output_options, project_options
from revetl.errors import RevetlError, UsageError
from revetl.observability import logs

if TYPE_CHECKING:
    from revetl.inspect.query import Query


@click.command("sql")
@click.argument("statement", required=False)
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Number of rows to show."
)
@output_options
@project_options
def sql_command(
    statement: str | None, limit: int, output: str, quiet: bool, no_color: bool, **options: Any
) -> None:
    """Run a query on the project's warehouse, or open a prompt. Only reads.

    STATEMENT is in the warehouse's own dialect; {{ ref('model') }} names a model. Without STATEMENT, queries
    are read from stdin, each ended by a semicolon.
    """
    from revetl.inspect.query import querying

    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    with querying(project.workspace) as query:
        if statement is not None:
            _show(out, query, statement, limit)
        elif sys.stdin.isatty():
            _prompt(out, query, limit)
        else:
            statements = list(_statements(sys.stdin))
            if not statements:
                raise UsageError("No statement given. Write: revetl sql 'select ...'.")
            for each in statements:
                _show(out, query, each, limit)


def _prompt(out: Output, query: Query, limit: int) -> None:
    """Read queries from a person; an error doesn't end it."""
    with suppress(ImportError):
        import readline  # noqa: F401  it gives input() editing and a history
    out.say("End a query with a semicolon. Ctrl-D quits.")
    for each in _statements(_typed()):
        try:
            _show(out, query, each, limit)
        except RevetlError as error:
            click.echo(logs.redact(f"Error: {error}"), err=True)


def _typed() -> Iterator[str]:
    prompt = "revetl> "
    while True:
        try:
            line = input(prompt)
        except EOFError:
            click.echo()
            return
        prompt = "revetl> " if not line.strip() or line.rstrip().endswith(";") else "   ...> "
        yield line + "\n"


def _statements(lines: Iterable[str]) -> Iterator[str]:
    """Lines as statements: each ends with a line that ends with a semicolon, or with the input."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip().endswith(";"):
            yield text
            text = ""
    if text.strip():
        yield text


def _show(out: Output, query: Query, statement: str, limit: int) -> None:
    found = query.run(statement.strip().removesuffix(";"), limit=limit)
    if out.json:
        out.print_json([dict(zip(found.columns, row, strict=True)) for row in found.rows])
    else:
        out.print_table(found.columns, found.rows)
    if found.is_cut:
        out.say(f"Only {limit:,} rows are shown; --limit shows more.")
