"""`revetl pii`: find what of people is in messages."""

from __future__ import annotations

from typing import Any

import click

from revetl.cli.common import Output, dbt_options, output_options
from revetl.observability.text import counted


@click.group("pii", context_settings={"help_option_names": ["-h", "--help"]})
def pii_command() -> None:
    """Find emails, phone numbers and payment cards in events."""


@pii_command.command("scan", short_help="Find personal data in events.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Scan the newest N messages of each type.",
)
@output_options
@dbt_options
def scan_command(limit: int, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Find emails, phone numbers and payment cards in loaded events, and suggest rules that hide them.

    Values are printed masked.
    """
    from revetl.dbt.project_files import Options
    from revetl.governance.pii_scan import scan

    out = Output(output, quiet, no_color)
    out.say("Looking through the messages in the warehouse …")
    found = scan(Options(**options), limit)
    if out.json:
        out.print_json({"found": found.found, "rules": found.rules})
        return
    if not found.found:
        out.say("Nothing was found.")
        return
    rows = [
        (each.kind, each.message_type, each.place, each.path, f"{each.share:.1%}", each.example)
        for each in found.found
    ]
    out.print_table(("kind", "messages", "in", "path", "share", "example"), rows)
    count = counted(len(found.rules), "rule")
    click.echo(
        f"\n# transformations.yaml: {count} that would hide it from the next load on\n{found.yaml}", nl=False
    )
