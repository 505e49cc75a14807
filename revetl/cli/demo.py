"""`revetl demo`: the whole way on real events, with the very commands a user would type."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import orjson

from revetl.errors import RevetlError

FIRST, SECOND = "2011-06-01", "2011-07-01"
"""The days the demo is built as of. The events end on the second."""

WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
"""Every model is built, none tested: tests are six in seven of a build's nodes and most of its time."""


@click.command("demo")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to make the project, and leave it.")
@click.option(
    "--target",
    default="duckdb",
    show_default=True,
    help="The warehouse; docs/warehouses.md says where it is.",
)
def demo_command(folder: Path | None, target: str) -> None:
    """Load seven months of a shop's events, and sync an audience to the sandbox as of two days.

    All models are built; their tests are left out, which `dbt build` runs in a project of yours.
    """
    if folder is not None:
        _demo(folder, target)
        return
    with tempfile.TemporaryDirectory() as temporary:
        _demo(Path(temporary) / "demo", target)


def _demo(folder: Path, target: str) -> None:
    import httpx

    from revetl.paths import examples_dir
    from revetl.sandbox import running_sandbox
    from revetl.scaffolding import make_project

    make_project(folder, target)
    events = examples_dir() / "online_retail" / "events.ndjson.gz"
    with running_sandbox(secrets={"crm": "sandbox"}) as url:
        shell = _Shell(folder, url)
        click.secho(f"A project in {folder}, and a sandbox that plays its destinations at {url}\n", bold=True)
        shell.run("dbt", "deps", "--quiet")
        shell.run("revetl", "load", str(events))
        for as_of in (FIRST, SECOND):
            click.secho(f"As of {as_of}:", bold=True)
            shell.run("dbt", "build", "--quiet", *WITHOUT_TESTS, "--vars", f"{{as_of: {as_of}}}")
            shell.run("revetl", "sync", "audience", "high_churn", "--to", "crm")
        click.secho("Nothing has changed since:", bold=True)
        shell.run("revetl", "sync", "audience", "high_churn", "--to", "crm")
        shell.run("revetl", "status")
        held = httpx.get(f"{url}/_/members/crm").json()["audiences"]["high_churn"]
        log = httpx.get(f"{url}/_/requests/crm").json()
    click.secho("What the destination was sent, in order:", bold=True)
    for entry in log:
        click.echo(f"  {entry['operation']:<7} {len(entry['ids']):>5,} records")
    click.secho(
        f"\nWhat the destination holds now: {held['count']:,} members of high_churn, such as", bold=True
    )
    for person, fields in sorted(held["members"].items())[:3]:
        click.echo(f"  {person}: {orjson.dumps(fields).decode()}")


class _Shell:
    """Runs commands in the demo's folder, showing each as it would be typed."""

    def __init__(self, folder: Path, sandbox_url: str) -> None:
        self._folder = folder
        self._environment = {
            **os.environ,
            "REVETL_SANDBOX_URL": sandbox_url,
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
        }
        for name in ("REVETL_DUCKDB_PATH", "DBT_TARGET_PATH", "DBT_PROFILES_DIR"):
            self._environment.pop(name, None)

    def run(self, command: str, *arguments: str) -> None:
        shown = " ".join(f"'{word}'" if " " in word else word for word in (command, *arguments))
        click.secho(f"$ {shown}", fg="cyan")
        module = {"dbt": "dbt.cli.main", "revetl": "revetl"}[command]
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-W", "ignore::RuntimeWarning", "-m", module, *arguments],
            cwd=self._folder,
            env=self._environment,
            check=False,
        )
        if done.returncode:
            raise RevetlError(f"`{shown}` ended with {done.returncode}; see what it says above.")
        click.echo()
