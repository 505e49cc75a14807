"""The command line: parse, call `revetl.Project`, print. One module per group of commands.

Exit codes: 0 done; 1 some records were rejected, or a check found something; 2 usage or configuration;
3 a guard stopped it; 4 a destination refused us; 5 the warehouse failed; 6 another run has the sync; 70 a
fault of revetl itself; 130 and 143 interrupted.
"""

from __future__ import annotations

import sys
import traceback
from importlib import import_module

import click

from revetl._version import __version__
from revetl.errors import RevetlError, Unexpected, nearest

_COMMANDS = {
    "init": "project",
    "build": "project",
    "debug": "project",
    "auth": "auth",
    "list": "project",
    "load": "load",
    "plan": "sync",
    "sync": "sync",
    "retry": "sync",
    "retire": "retire",
    "reconcile": "reconcile",
    "state": "state",
    "status": "history",
    "history": "history",
    "rejections": "history",
    "alerts": "alerts",
    "validate": "validate",
    "exposures": "exposures",
    "why": "why",
    "test": "test",
    "audience": "audience",
    "import": "importing",
    "destinations": "destinations",
    "identity": "identity",
    "protocols": "protocols",
    "pii": "pii",
    "roles": "roles",
    "sandbox": "sandbox",
    "demo": "demo",
}
"""Command to module: a command's module is imported when it is called for."""


class _Commands(click.Group):
    """Commands that are imported when they are used, with the nearest name for one that is not there."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"revetl.cli.{_COMMANDS[cmd_name]}")
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"There is no command '{args[0]}'. {nearest(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="revetl")
def cli() -> None:
    """Events become profiles in SQL, profiles become audiences in SQL, audiences become API calls."""


def main() -> None:
    """The `revetl` command."""
    try:
        code = cli.main(prog_name="revetl", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except RevetlError as error:
        click.echo(_redacted(f"Error: {error}"), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of a pipe has had enough; that is no failure of ours.
        sys.stderr.close()
        sys.exit(141)
    except Exception:
        said = "Error: revetl failed for a reason of its own. Please report it with what follows."
        click.echo(_redacted(f"{said}\n{traceback.format_exc()}"), err=True)
        sys.exit(Unexpected.exit_code)


def _redacted(text: str) -> str:
    """The text without the secrets that were read."""
    from revetl.observability import logs

    return logs.redact(text)
