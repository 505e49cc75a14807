"""`revetl collect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, log_options, open_project, project_options, quiet_options

if TYPE_CHECKING:
    from revetl.ingest.collector.app import Collector, SeenMessage

_SHOWN = 200


@click.command("collect")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    show_default=True,
    help="Port; 0 picks a free one.",
)
@click.option(
    "--directory", type=click.Path(path_type=Path), help="Folder of segment files; overrides revetl.yml."
)
@click.option("--dev", is_flag=True, help="Print every event as it comes, with its violations.")
@click.option("--no-land", is_flag=True, help="Only store events on disk; another collector lands them.")
@quiet_options
@log_options
@project_options
def collect_command(
    host: str,
    port: int,
    directory: Path | None,
    dev: bool,
    no_land: bool,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Receive events over HTTP and land them in the raw tables.

    Segment's and RudderStack's SDKs send to it with a changed host. An event is on disk before it is
    acknowledged.
    """
    from revetl.ingest.collector.run import CollectorOptions

    out = Output("text", quiet, no_color)
    project = open_project(out, **options)

    def started(url: str, collector: Collector) -> None:
        sources = ", ".join(collector.sources.all)
        out.say(f"Collecting on {url} for {sources}. Press Ctrl-C to stop.")

    def show(seen: SeenMessage) -> None:
        click.echo("\n".join(lines_of(seen)))

    chosen = CollectorOptions(directory=directory, lands=not no_land, watch=show if dev else None)
    project.collect(host, port, options=chosen, on_start=started)


def lines_of(seen: SeenMessage) -> list[str]:
    """An event on one line, then what is wrong with it."""
    message = seen.message
    name = message.get("event") or message.get("name") or message.get("groupId") or ""
    person = message.get("userId") or message.get("anonymousId") or "nobody"
    document = message.get("properties") or message.get("traits") or {}
    text = json.dumps(document, ensure_ascii=False, default=str)
    if len(text) > _SHOWN:
        text = f"{text[: _SHOWN - 1]}…"
    at = str(message.get("receivedAt") or "")[11:23]
    head = " ".join(str(part) for part in (at, seen.source, message.get("type"), name, person, text) if part)
    lines = [_printable(head)]
    if seen.reason is not None:
        lines.append(_printable(f"  rejected: {seen.reason}"))
    if seen.finding is not None:
        lines += [_printable(f"  {seen.finding.action}: {reason}") for reason in seen.finding.reasons]
    return lines


def _printable(text: str) -> str:
    """The text without characters that a terminal would obey."""
    return "".join(each if each.isprintable() else "�" for each in text)
