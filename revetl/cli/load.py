"""`revetl load`."""

from __future__ import annotations

import sys
from typing import Any

import click

from revetl.cli.common import Output, open_project, output_options, project_options

_SHOWN_REASONS = 5


@click.command("load")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--source", metavar="NAME", help="Source of the messages (source_id), such as a site.")
@output_options
@project_options
def load_command(
    files: tuple[str, ...], source: str | None, output: str, quiet: bool, no_color: bool, **options: Any
) -> int:
    """Load Segment-spec messages (NDJSON, CSV, Parquet) into the raw tables.

    Loading a file again changes nothing.
    """
    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    if quiet or out.json or not sys.stderr.isatty():
        loaded = project.load(files, source=source)
    else:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=out.console(err=True), transient=True) as bar:
            task = bar.add_task("reading", total=None)
            loaded = project.load(
                files,
                source=source,
                on_progress=lambda at: bar.update(
                    task, description=at.file, completed=at.step, total=at.steps
                ),
            )
    if out.json:
        out.print_json(loaded)
    else:
        _show(out, loaded)
    return 1 if loaded.rejected else 0


def _show(out: Output, loaded: Any) -> None:
    for file in loaded.files:
        landed = ", ".join(f"{count:,} {table}" for table, count in file.landed.items())
        parts = [landed or "nothing new"]
        if file.already_landed:
            parts.append(f"{file.already_landed:,} were there already")
        click.echo(f"{file.file}: {'; '.join(parts)}")
        if file.ignored_columns:
            out.say(f"{file.file}: columns not landed: {', '.join(file.ignored_columns)}")
        if file.rejected_count:
            click.echo(
                f"{file.file}: {file.rejected_count:,} rejected, kept in {loaded.rejected_in}:", err=True
            )
            reasons = list(file.rejected.items())
            for reason, count in reasons[:_SHOWN_REASONS]:
                click.echo(f"  {count:,}: {reason}", err=True)
            if len(reasons) > _SHOWN_REASONS:
                click.echo(f"  and {len(reasons) - _SHOWN_REASONS:,} other reasons", err=True)
