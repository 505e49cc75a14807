"""`revetl auth`."""

from __future__ import annotations

import sys
from typing import Any

import click

from revetl.cli.common import Output, dbt_options, open_project, output_options, refuse
from revetl.errors import UsageError


@click.command("auth")
@click.argument("destination", required=False, metavar="[DESTINATION]")
@click.option("--list", "--status", "listed", is_flag=True, help="Show stored sign-ins, without tokens.")
@click.option("--remove", is_flag=True, help="Revoke and delete the sign-in.")
@click.option("--no-revoke", is_flag=True, help="Delete without revoking at the provider; needs --remove.")
@click.option("--no-browser", is_flag=True, help="Print the URL and open no browser.")
@click.option(
    "--paste",
    is_flag=True,
    help="Paste the redirect URL from a browser on another machine.",
)
@click.option("--port", type=click.IntRange(1, 65_535), help="Override the redirect port, sign_in.port.")
@click.option(
    "--store",
    type=click.Choice(["keyring", "file"]),
    help="Token store; the default is the keyring, if there is one.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=300.0,
    show_default=True,
    help="Seconds to wait for the redirect.",
)
@output_options
@dbt_options
def auth_command(
    destination: str | None,
    listed: bool,
    remove: bool,
    no_revoke: bool,
    no_browser: bool,
    paste: bool,
    port: int | None,
    store: Any,
    timeout: float,
    output: str,
    quiet: bool,
    no_color: bool,
    **options: Any,
) -> None:
    """Sign in to a destination that has sign_in: in revetl.yml, with OAuth in the browser.

    Tokens are stored for this user, and syncs renew them.
    """
    out = Output(output, quiet, no_color)
    if sum((listed, remove)) > 1:
        raise click.UsageError("Name one of --list and --remove.")
    if no_revoke and not remove:
        raise click.UsageError("--no-revoke goes with --remove.")
    if listed or remove:
        names = ("no_browser", "paste", "port", "store", "timeout")
        refuse(*names, because=f"{'--list' if listed else '--remove'} does not sign in.")
    if paste and no_browser:
        raise click.UsageError("--no-browser would do nothing: --paste opens no browser.")
    if destination is None and not listed:
        raise click.UsageError("Name a DESTINATION of revetl.yml, or use --list.")
    project = open_project(out, **options)
    if listed:
        _show(out, project.sign_ins(destination))
        return
    assert destination is not None

    def say(message: str) -> None:
        # What a user has to act on is said however quiet it is to be.
        click.echo(message, err=True)

    if remove:
        was_there = project.sign_out(destination, revoke=not no_revoke, say=say)
        if out.json:
            out.print_json({"destination": destination, "signed_out": was_there})
        out.say(f"Signed out of {destination}." if was_there else f"Nobody has signed in to {destination}.")
        return
    from revetl.auth import SignInOptions

    asked = SignInOptions(
        browser=not (no_browser or paste),
        paste=_line if paste else None,
        port=port,
        store=store,
        timeout=timeout,
    )
    made = project.sign_in(destination, asked, say=say)
    place = "the keyring" if made.kept_in == "keyring" else str(project.workspace.sign_ins.path(destination))
    account = f" ({', '.join(made.settings.values())})" if made.settings else ""
    out.say(f"Signed in to {destination}{account}. The tokens are in {place}.")
    if out.json:
        _show(out, project.sign_ins(destination))


def _line() -> str:
    """What a user pastes. Raises UsageError when there is nothing to read."""
    click.echo("> ", nl=False, err=True)
    line = sys.stdin.readline()
    if not line.strip():
        raise UsageError("Nothing was pasted. Sign in again.")
    return line


def _show(out: Output, statuses: list[Any]) -> None:
    if out.json:
        out.print_json(statuses)
        return
    if not statuses:
        out.say("No destination of revetl.yml has sign_in:.")
        return
    rows = [
        (
            each.destination,
            each.type,
            each.state,
            each.signed_in_at,
            each.kept_in,
            each.expires_at,
            None if each.renews is None else "yes" if each.renews else "no",
            each.account,
        )
        for each in statuses
    ]
    columns = ("destination", "type", "state", "since", "kept in", "token expires", "renews", "account")
    out.print_table(columns, rows)
    for each in statuses:
        if each.problem is not None:
            click.echo(f"{each.destination}: {each.problem}", err=True)
