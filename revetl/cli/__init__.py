"""The command line: parse, call `revetl.Project`, print. One module per group of commands.

Exit codes: 0 done; 1 some records were rejected, or a check found something; 2 usage or configuration;
3 a guard stopped it; 4 a destination refused; 5 the warehouse failed; 6 another run has the sync; 70 a bug in
revetl; 130 and 143 interrupted. With `-o json`, an error is a JSON object on stdout as well.
"""

from __future__ import annotations

import gc
import re
import sys
from importlib import import_module
from typing import Any

import click

from revetl._version import __version__
from revetl.errors import RevetlError, Unexpected, nearest
from revetl.local.postponed import postpone

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Build": {
        "load": ("load", "Load event files into the raw tables."),
        "collect": ("collect", "Receive events from Segment SDKs over HTTP."),
        "build": ("project", "Run dbt build."),
        "audience": ("audience", "Import, preview and compare audiences."),
        "identity": ("identity", "Inspect and correct identity resolution."),
        "test": ("test", "Test the project's functions."),
    },
    "Sync": {
        "plan": ("sync", "Show what a sync would do."),
        "sync": ("sync", "Sync audiences to destinations."),
        "retry": ("sync", "Sync, and resend rejected records."),
        "replay": ("replay", "Send the history of events to a destination."),
        "replays": ("replay", "List, pause, resume or cancel replays."),
        "reconcile": ("reconcile", "Compare state and destination, and repair."),
        "retire": ("retire", "Remove everyone a sync delivered."),
        "state": ("state", "Show or adopt the state of syncs."),
    },
    "Inspect": {
        "list": ("project", "List audiences and their destinations."),
        "status": ("history", "Show the last run of every sync."),
        "history": ("history", "Show past runs."),
        "rejections": ("history", "Show rejected records and reasons."),
        "why": ("why", "Explain why a person is in an audience."),
        "sql": ("sql", "Query the warehouse, read-only."),
        "exposures": ("exposures", "Write syncs as dbt exposures."),
    },
    "Govern": {
        "protocols": ("protocols", "Work with the tracking plan."),
        "pii": ("pii", "Find personal data in events."),
        "privacy": ("privacy", "Erase and suppress people."),
        "alerts": ("alerts", "Check data and send alerts."),
        "roles": ("roles", "Print the grants that each role needs."),
    },
    "Set up": {
        "init": ("project", "Create a project or add revetl to one."),
        "import": ("importing", "Import from Hightouch or Census."),
        "destinations": ("destinations", "List destination types and their options."),
        "auth": ("auth", "Sign in to a destination with OAuth."),
        "validate": ("validate", "Check the configuration."),
        "debug": ("project", "Check project, warehouse and credentials."),
        "sandbox": ("sandbox", "Run a local mock of the destinations."),
        "demo": ("demo", "Run the demo from events to a sync."),
        "completion": ("completion", "Print a shell completion script."),
    },
}
"""Heading to command to its module and short help: `--help` imports no command."""
_GC_THRESHOLD = 50_000
"""New objects before the garbage collector looks at them; Python's own is 700."""
_COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
_PLACE = re.compile(
    r"^((?:[\w.~-]*/)*[\w.-]+\.(?:ya?ml|sql|py|csv|json|ndjson|parquet)"
    r"(?:, line \d+)?(?:: [\w.-]+(?=:))*)[: ]"
)
"""What begins the message of an error that is in a file: the file, the line, the keys."""


class _Commands(click.Group):
    """Commands that are imported when they run, with the nearest name for an unknown one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"revetl.cli.{_COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command '{args[0]}'. {nearest(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # One column for all groups.
        width = max(map(len, _COMMANDS))
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                rows = [(name.ljust(width), short_help) for name, (_, short_help) in commands.items()]
                formatter.write_dl(rows)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="revetl")
def cli() -> None:
    """Build audiences in your warehouse with dbt, and sync them to your tools."""


def main() -> None:
    """The `revetl` command."""
    # Importing makes hundreds of thousands of objects that stay: looking for garbage among them is in vain.
    gc.set_threshold(_GC_THRESHOLD, 20, 20)
    postpone("httpx", "pyarrow", "asyncio", "sqlite3")
    try:
        code = cli.main(prog_name="revetl", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        _end(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        _end("Interrupted.", 130)
    except RevetlError as error:
        message = _redacted(str(error))
        click.echo(f"Error: {message}", err=True)
        _end(message, error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe has had enough, which is not a failure.
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        import traceback

        sentence = f"revetl failed unexpectedly ({type(error).__name__}). Please report this."
        click.echo(_redacted(f"Error: {sentence}\n{traceback.format_exc()}"), err=True)
        _end(sentence, Unexpected.exit_code)


def error_document(message: str, exit_code: int) -> dict[str, Any]:
    """An error as `-o json` prints it: `place` is the file, line and keys that the message begins with."""
    found = _PLACE.match(message)
    place = {} if found is None else {"place": found[1]}
    return {"error": {"message": message, "exit_code": exit_code, **place}}


def _end(message: str, exit_code: int) -> None:
    """End the process, with the error as JSON on stdout where `-o json` asks for it."""
    if _wants_json(sys.argv[1:]):
        import orjson

        document = error_document(message, exit_code)
        click.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    sys.exit(exit_code)


def _wants_json(arguments: list[str]) -> bool:
    """Whether the last `-o` or `--output` says json; an argument that cannot be parsed does not hide it."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    wanted = ""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in ("-o", "--output"):
            wanted = following
        elif word.startswith("--output="):
            wanted = word.removeprefix("--output=")
        elif word.startswith("-o") and not word.startswith("--"):
            wanted = word.removeprefix("-o")
    return wanted == "json"


def _redacted(text: str) -> str:
    """The text without the secrets that were read."""
    from revetl.observability import logs

    return logs.redact(text)
