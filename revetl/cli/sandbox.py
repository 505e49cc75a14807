"""`revetl sandbox`."""

from __future__ import annotations

from pathlib import Path

import click

from revetl.cli.common import refuse


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8765,
    show_default=True,
    help="Port; 0 picks a free one.",
)
@click.option(
    "--allow-host", multiple=True, metavar="NAME", help="Additional host name to accept; repeatable."
)
@click.option("--project-dir", type=click.Path(path_type=Path), help="dbt project that may use the sandbox.")
@click.option("--misbehave", metavar="JSON", help="Fault rules as JSON.")
@click.option("--config", is_flag=True, help="Print a revetl.yml of all mocked destinations and exit.")
def sandbox_command(
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    project_dir: Path | None,
    misbehave: str | None,
    config: bool,
) -> None:
    """Run a local mock of the destinations' APIs; nothing leaves this machine."""
    if config:
        refuse("misbehave", "allow_host", "project_dir", because="--config starts no server.")
        from revetl.sandbox.setups import revetl_yml

        address = f"{{{{ env_var('REVETL_SANDBOX_URL', 'http://{host}:{port}') }}}}"
        click.echo(revetl_yml(address), nl=False)
        return
    from revetl.sandbox.app import read_rules
    from revetl.sandbox.server import listen, serve

    rules = read_rules(misbehave) if misbehave else []
    listener = listen(host, port)
    url = f"http://{host}:{listener.getsockname()[1]}"
    click.echo(
        f"The sandbox plays destinations at {url}/NAME; what each holds: {url}/_/members/NAME", err=True
    )
    project = _project(project_dir)
    if project is not None:
        click.echo(
            f"It belongs to the project {project.rpartition('-')[0]}; others' syncs are refused.", err=True
        )
    serve(listener, rules, project, (host, *allow_host))


def _project(folder: Path | None) -> str | None:
    """The id of the project in a folder, or around where we are; None outside of any."""
    from revetl.dbt.project_files import Options, read_project
    from revetl.errors import UsageError
    from revetl.sandbox.owner import project_id

    try:
        found = read_project(Options(project_dir=folder))
    except UsageError:
        if folder is not None:
            raise
        return None
    return project_id(found.root, found.name)
