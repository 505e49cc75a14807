"""CPU of starting: `revetl --help`, `revetl list`, and `revetl sync` with nothing to do.

    python benchmarks/start.py [--runs 10] [--package DIR ...] [--json]

`--package DIR` (repeatable) is another checkout of revetl, measured in the same rounds: each round runs every command
of every checkout once, so that a busy machine is busy for all of them. Bytecode is cached in a temporary folder, as
that of an installed package is. The figure is the median over the rounds of user and system CPU of the process;
`ratio` is to the first `--package`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.helpers.project import ProjectFolder  # noqa: E402

COMMANDS = {
    "--help": ("--help",),
    "list": ("list",),
    "sync": ("sync", "audience", "everybody"),
}


@dataclass(frozen=True)
class Measured:
    """One command of one checkout, and how many modules it imports."""

    command: str
    package: str
    cpu_seconds: float
    modules: int
    ratio: float | None


@contextmanager
def sink() -> Iterator[str]:
    """An HTTP server that answers 200 to everything, in its own process."""
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "helpers" / "sink.py")], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
    finally:
        server.kill()


def make_project(folder: Path, url: str) -> None:
    """A project with one audience of 1,000 members."""
    project = ProjectFolder(folder, {"crm": {"type": "webhook", "url": url}})
    query = "select 'u' || i as user_id, i as score from range(1000) as numbers (i)"
    project.audience("everybody", query, {"key": "user_id", "sync": [{"to": "crm"}]})


def run(package: Path, folder: Path, arguments: tuple[str, ...], *python: str) -> tuple[float, str]:
    """The CPU seconds of a command, and what it wrote to stderr."""
    environment = {**os.environ, "PYTHONPATH": str(package), "NO_COLOR": "1"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder.parent / "bytecode")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = os.times()
    done = subprocess.run(
        [sys.executable, *python, "-m", "revetl", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    if arguments[0] == "sync" and "nothing changed" not in done.stdout and "added" not in done.stdout:
        raise AssertionError(done.stdout)
    return used, done.stderr


def modules(package: Path, folder: Path, arguments: tuple[str, ...]) -> int:
    """How many modules a command imports."""
    _, errors = run(package, folder, arguments, "-X", "importtime")
    return sum(line.startswith("import time:") for line in errors.splitlines()) - 1


def measure(packages: list[Path], rounds: int) -> list[Measured]:
    """Every command of every checkout; the first checkout is this one."""
    used: dict[tuple[str, Path], list[float]] = {}
    with sink() as url, tempfile.TemporaryDirectory() as name:
        folders = {package: Path(name) / str(index) for index, package in enumerate(packages)}
        for package, folder in folders.items():
            make_project(folder, url)
            run(package, folder, COMMANDS["sync"])
        for _ in range(rounds):
            for command, arguments in COMMANDS.items():
                for package, folder in folders.items():
                    used.setdefault((command, package), []).append(run(package, folder, arguments)[0])
        imported = {
            (command, package): modules(package, folders[package], COMMANDS[command])
            for command, package in used
        }
    medians = {each: statistics.median(seconds) for each, seconds in used.items()}
    against = packages[1] if len(packages) > 1 else None
    return [
        Measured(
            command,
            str(package),
            seconds,
            imported[command, package],
            None if against is None else seconds / medians[command, against],
        )
        for (command, package), seconds in medians.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument(
        "--package", type=Path, action="append", default=[], help="another checkout of revetl"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure([ROOT, *(package.resolve() for package in arguments.package)], arguments.runs)
    if arguments.json:
        print(json.dumps([asdict(each) for each in found]))
        return
    print(f"{'command':<8} {'cpu s':>6} {'modules':>7} {'ratio':>6}  package")
    for each in found:
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        print(f"{each.command:<8} {each.cpu_seconds:>6.2f} {each.modules:>7,} {ratio:>6}  {each.package}")


if __name__ == "__main__":
    main()
