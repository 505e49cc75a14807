"""What a command imports: nothing heavy that it does not use."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people

CONNECTION = {
    "httpx._client",
    "pyarrow.lib",
    "numpy",
    "pandas",
    "rich",
    "starlette",
    "uvicorn",
    "tenacity",
    "authlib",
    "jsonschema",
    "phonenumbers",
    "fsspec",
    "apprise",
    "opentelemetry",
}
"""Modules of a package that is loaded; httpx and pyarrow themselves are names of what is loaded later."""
WAREHOUSE = {"duckdb", "sqlglot"}
PROJECT = {"pydantic.main", "yaml"}

COMMANDS = {
    "help": (("--help",), CONNECTION | WAREHOUSE | PROJECT | {"revetl.api"}, set()),
    "list": (("list",), CONNECTION | WAREHOUSE, PROJECT),
    "a sync with nothing to do": (("sync", "vips"), CONNECTION, WAREHOUSE | PROJECT),
}
SCRIPT = """
    import sys
    sys.argv = ["revetl", *sys.argv[1:]]
    from revetl.cli import main
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
    print("\\n".join(sys.modules), file=sys.stderr)
"""


def imported(folder: Path, *arguments: str) -> set[str]:
    """The modules there are at the end of a command, in its own process."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize(("arguments", "without", "needs"), COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_imports_nothing_heavy_that_it_does_not_use(
    project: ProjectFolder, cli: Cli, arguments: tuple[str, ...], without: set[str], needs: set[str]
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    assert cli(project, "sync", "vips").returncode == 0
    found = imported(project.root, *arguments)
    assert (found & without, needs - found) == (set(), set())


POSTPONED = """
    import sys, threading
    from revetl.local.postponed import postpone
    postpone("httpx", "no_such_package", "json")
    import httpx
    import json
    before = "httpx._client" in sys.modules
    together = threading.Barrier(8)
    found = []

    def use():
        together.wait()
        found.append(httpx.Request("GET", "http://a.example").url.host)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    from httpx import Client
    print(before, set(found), len(found), type(httpx).__name__, issubclass(Client, object),
        "no_such_package" in sys.modules, json.loads("1"))
"""


def test_a_postponed_package_loads_at_its_first_use_for_all_threads() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(POSTPONED)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False {'a.example'} 8 module True False 1\n", "")
