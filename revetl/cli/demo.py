"""`revetl demo`: the whole way on real events, with the very commands a user would type."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import orjson
import yaml

from revetl.errors import RevetlError
from revetl.project.scaffolding import DEMO_ENDS

FIRST, SECOND = "2011-06-01", DEMO_ENDS
"""The days the demo is built as of. The events end on the second."""

_EVERYWHERE = """\
-- The people of high_churn with the columns that destinations know people by. What the shop's events do not
-- tell of them is made of their ids.
with members as (

    select * from {{ ref('high_churn') }}

),

named as (

    select
        user_id,
        email,
        concat('+4479000', substr(user_id, 2, 5)) as phone,
        'Customer' as first_name,
        user_id as last_name,
        'London' as city,
        'GB' as country,
        'N1C4AG' as postal_code,
        concat('Company of ', user_id) as company,
        cast(order_count as integer) as score
    from members

)

select * from named
"""

WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
"""Every model is built, none tested: tests are six in seven of a build's nodes and most of its time."""


@click.command("demo")
@click.option("--folder", type=click.Path(path_type=Path), help="Create the project here and keep it.")
@click.option(
    "--target",
    default="duckdb",
    show_default=True,
    help="The dbt target to use.",
)
@click.option("--everywhere", is_flag=True, help="Also sync to every mocked destination.")
@click.option(
    "--dbt",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Path of the dbt to run; the environment variable is REVETL_DBT.",
)
def demo_command(folder: Path | None, target: str, everywhere: bool, dbt: Path | None) -> None:
    """Load seven months of shop events and sync an audience to the sandbox, as of two dates.

    All models are built, without their tests.
    """
    if folder is not None:
        _demo(folder, target, dbt, everywhere=everywhere)
        return
    with tempfile.TemporaryDirectory() as temporary:
        _demo(Path(temporary) / "demo", target, dbt, everywhere=everywhere)


def _demo(folder: Path, target: str, dbt: Path | None, *, everywhere: bool) -> None:
    import httpx

    from revetl.local.paths import examples_dir
    from revetl.project.scaffolding import make_project
    from revetl.sandbox import running_sandbox

    make_project(folder, target)
    events = examples_dir() / "online_retail" / "events.ndjson.gz"
    with running_sandbox(secrets={"crm": "sandbox"}) as url:
        shell = _Shell(folder, url, dbt)
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
        counts = _everywhere(folder, shell, url) if everywhere else {}
    click.secho("What the destination was sent, in order:", bold=True)
    for entry in log:
        click.echo(f"  {entry['operation']:<7} {len(entry['ids']):>5,} records")
    click.secho(
        f"\nWhat the destination holds now: {held['count']:,} members of high_churn, such as", bold=True
    )
    for person, fields in sorted(held["members"].items())[:3]:
        click.echo(f"  {person}: {orjson.dumps(fields).decode()}")
    if counts:
        click.secho("\nWhat each destination holds of the audience everywhere:", bold=True)
    for name, count in counts.items():
        click.echo(f"  {name:<24} {count:>5,} members" if count else f"  {name:<24} its own sync has run")


def _everywhere(folder: Path, shell: _Shell, url: str) -> dict[str, int]:
    """Sync one more audience to every destination that is played, and count its members in each: none
    where a sync of the tool's own was triggered."""
    import httpx

    from revetl.sandbox.setups import setups

    syncs = [{"to": kind, **setup.sync} for kind, setup in setups().items()]
    about = {"name": "everywhere", "config": {"meta": {"revetl": {"key": "user_id", "sync": syncs}}}}
    models = folder / "models" / "audiences"
    (models / "everywhere.sql").write_text(_EVERYWHERE, encoding="utf-8")
    (models / "everywhere.yml").write_text(yaml.safe_dump({"models": [about]}), encoding="utf-8")
    destinations = {kind: setup.destination(url) for kind, setup in setups().items()}
    (folder / "revetl.yml").write_text(yaml.safe_dump({"destinations": destinations}), encoding="utf-8")
    click.secho("The same people, to every destination that the sandbox plays:", bold=True)
    shell.run("dbt", "build", "--quiet", "--select", "everywhere", "--vars", f"{{as_of: {SECOND}}}")
    shell.run("revetl", "sync", "audience", "everywhere")
    held = {kind: httpx.get(f"{url}/_/members/{kind}").json()["audiences"] for kind in destinations}
    # A subscription group is told by its id, and holds all of them.
    return {
        kind: max((each["count"] for each in audiences.values()), default=0)
        for kind, audiences in held.items()
    }


class _Shell:
    """Runs commands in the demo's folder, showing each as it would be typed."""

    def __init__(self, folder: Path, sandbox_url: str, dbt: Path | None) -> None:
        from revetl.dbt.program import find_dbt

        self._folder = folder
        self._dbt = find_dbt(dbt)
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
        ours = (sys.executable, "-W", "ignore::RuntimeWarning", "-m", "revetl")
        program = self._dbt.command if command == "dbt" else ours
        done = subprocess.run(  # noqa: S603
            [*program, *arguments],
            cwd=self._folder,
            env=self._environment,
            check=False,
        )
        if done.returncode:
            raise RevetlError(f"`{shown}` ended with {done.returncode}; see what it says above.")
        click.echo()
