"""`revetl alerts`: check the data, and tell what changed."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import Output, open_project, output_options, project_options
from revetl.observability.text import counted


@click.group("alerts", context_settings={"help_option_names": ["-h", "--help"]})
def alerts_command() -> None:
    """Check data: violations, volume, new events, audience size, unmatched messages, freshness."""


@alerts_command.command("check", short_help="Check the data and send alerts.")
@click.option("--dry-run", is_flag=True, help="Show the results, and send and write nothing.")
@output_options
@project_options
def check_command(dry_run: bool, output: str, quiet: bool, no_color: bool, **options: Any) -> int:
    """Evaluate the checks under alerts: data: in revetl.yml, and notify of each change.

    The warehouse stores the state of each check, so a change is sent once. Exits 1 when a check alerts.
    """
    out = Output(output, quiet, no_color)
    results = open_project(out, **options).check_data(dry_run=dry_run)
    alerting = [each for each in results if each.state != "ok"]
    if out.json:
        out.print_json(results)
    else:
        out.print_table(
            ("check", "subject", "state", "since", "found"),
            [(each.alert, each.subject, each.state, each.since, each.detail) for each in results],
        )
        told = sum(each.told for each in results)
        out.say(
            f"Alerting: {len(alerting):,} of {counted(len(results), 'value')}; "
            + ("nothing was sent." if dry_run else f"{counted(told, 'change')} told.")
        )
    return 1 if alerting else 0
