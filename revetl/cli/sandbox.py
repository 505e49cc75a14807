"""`revetl sandbox`."""

from __future__ import annotations

import click


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=int, default=8765, show_default=True, help="The port; 0 takes a free one.")
@click.option("--misbehave", metavar="JSON", help="Rules to misbehave by; see docs/sandbox.md.")
@click.option("--config", is_flag=True, help="Print a revetl.yml of all destinations it plays, and end.")
def sandbox_command(host: str, port: int, misbehave: str | None, config: bool) -> None:
    """Play the destinations' APIs on this machine; nothing leaves it."""
    if config:
        from revetl.sandbox.setups import revetl_yml

        click.echo(revetl_yml(f"http://{host}:{port}"), nl=False)
        return
    from revetl.sandbox.app import read_rules
    from revetl.sandbox.server import listen, serve

    rules = read_rules(misbehave) if misbehave else []
    listener = listen(host, port)
    url = f"http://{host}:{listener.getsockname()[1]}"
    click.echo(
        f"The sandbox plays destinations at {url}/NAME; what each holds: {url}/_/members/NAME", err=True
    )
    serve(listener, rules)
