"""`revetl test`."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import Output, dbt_options, output_options
from revetl.observability.text import counted


@click.command("test")
@click.argument("names", nargs=-1, metavar="[FUNCTION]...")
@output_options
@dbt_options
def test_command(names: tuple[str, ...], output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Run the tests of the project's functions: given and expect in destination_functions/NAME.yml.

    Exits 1 when a test fails.
    """
    from revetl.dbt.project_files import Options, read_project
    from revetl.delivery.functions.testing import run_tests

    out = Output(output, quiet, no_color)
    results = []
    for result in run_tests(read_project(Options(**options)).root, names):
        results.append(result)
        if not out.json:
            verdict = "PASS" if result.problem is None else "FAIL"
            about = "" if result.problem is None else f"\n      {result.problem}"
            click.echo(f"{verdict}  {result.function}: {result.name}{about}")
    failed = sum(result.problem is not None for result in results)
    if out.json:
        out.print_json([{**vars(result), "passed": result.problem is None} for result in results])
    elif not results:
        out.say("There are no tests: write destination_functions/NAME.yml (docs/how-to/functions.md).")
    else:
        out.say(f"{counted(len(results), 'test')}, {failed:,} failed.")
    return 1 if failed else 0
