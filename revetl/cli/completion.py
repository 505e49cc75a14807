"""`revetl completion`, and the names that shells complete: from files alone, the warehouse stays closed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import orjson


def complete_audience(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Audiences, and syncs once a dot is typed, from target/manifest.json."""
    audiences = _audiences(context)
    if "." in incomplete:
        names = [f"{name}.{to}" for name, syncs in audiences.items() for to in syncs]
    else:
        names = list(audiences)
    return sorted(name for name in names if name.startswith(incomplete))


def complete_destination(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Destinations from revetl.yml."""
    found: list[str] = []
    # There is nobody to read an error while a word is completed.
    with suppress(Exception):
        from revetl.config.base import read_yaml

        document = read_yaml(_project(context).root / "revetl.yml")
        found = [str(name) for name in document.get("destinations") or ()]
    return sorted(name for name in found if name.startswith(incomplete))


def _audiences(context: click.Context) -> dict[str, list[str]]:
    """Audience to the destinations that it goes to."""
    found: dict[str, list[str]] = {}
    with suppress(Exception):
        manifest = orjson.loads((_project(context).target_path / "manifest.json").read_bytes())
        for node in manifest["nodes"].values():
            meta = (node.get("config") or {}).get("meta") or {}
            if node["resource_type"] == "model" and "revetl" in meta:
                syncs: Any = (meta["revetl"] or {}).get("sync") or ()
                found[node["name"]] = [str(each["to"]) for each in syncs if isinstance(each, dict)]
    return found


def _project(context: click.Context) -> Any:
    from revetl.dbt.project_files import Options, read_project

    given = context.params.get("project_dir")
    return read_project(Options(project_dir=None if given is None else Path(given)))


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that completes commands, audiences and destinations in a shell.

    For bash, add this line to ~/.bashrc: eval "$(revetl completion bash)"
    """
    from click.shell_completion import get_completion_class

    from revetl.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "revetl", "_REVETL_COMPLETE").source())
