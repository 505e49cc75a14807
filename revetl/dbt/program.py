"""Find dbt and run it, always as a process and never by import.

A project may use another dbt than the one installed with revetl: 1.11, 1.12 or 2. The first of these is run,
and must be a supported version:

1. `--dbt PATH`, else `REVETL_DBT`
2. the dbt of the active environment (`VIRTUAL_ENV`, `CONDA_PREFIX`, or revetl's own if it is in PATH)
3. the first dbt in PATH
4. the dbt installed with revetl
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from revetl.errors import UsageError

SUPPORTED = ">=1.11,<3.0"
_SUPPORTED = ((1, 11), (3, 0))
_VERSION_SECONDS = 120.0
_KILLED = 128
"""The exit code of a process killed by a signal is this plus the signal's number."""
_INSTALLED = re.compile(r"^\s*- installed:\s*(\d+\.\d+\S*)", re.MULTILINE)
_INSTALLED_OLD = re.compile(r"^installed version:\s*(\d+\.\d+\S*)", re.MULTILINE)
_NAMED = re.compile(r"^\s*dbt(?:-core|-fusion)?\s+v?(\d+\.\d+\S*)", re.MULTILINE)
_BACKTRACE = re.compile(r"\s*(\d+: (<unknown>|start_thread|clone3?)|at \S+:\d+(:\d+)?)\s*$")
_NO_COLOR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class DbtProgram:
    """A dbt program: its command, its version (`1.11.16`, `2.0.0-alpha.4`), and why it was chosen."""

    command: tuple[str, ...]
    version: str
    reason: str

    @property
    def shown(self) -> str:
        """The command as text."""
        return " ".join(self.command)


def find_dbt(given: Path | None = None) -> DbtProgram:
    """Find the dbt to run; `given` is the value of --dbt. Raises UsageError if there is none, or if the first
    one isn't supported: later candidates aren't used instead."""
    environment = tuple(
        os.environ.get(name) or "" for name in ("REVETL_DBT", "VIRTUAL_ENV", "CONDA_PREFIX", "PATH")
    )
    return _find(given, *environment)


@functools.lru_cache
def _find(given: Path | None, named: str, virtual_env: str, conda: str, path: str) -> DbtProgram:
    for command, reason in _candidates(given, named, virtual_env, conda, path):
        version = _installed_version(Path(command[0])) if len(command) == 1 else None
        program = DbtProgram(command, version or _said_version(command, reason), reason)
        _check(program)
        return program
    raise UsageError(
        "dbt was not found in the active environment, in PATH or next to revetl. Install it "
        f"(dbt {SUPPORTED}), or set --dbt PATH or REVETL_DBT."
    )


def _candidates(
    given: Path | None, named: str, virtual_env: str, conda: str, path: str
) -> Iterator[tuple[tuple[str, ...], str]]:
    for value, name in ((str(given) if given else "", "--dbt"), (named, "REVETL_DBT")):
        if value:
            found = shutil.which(os.path.expanduser(value), path=path)  # noqa: PTH111
            if found is None:
                raise UsageError(f"{name} '{value}': no such program. Set it to the path of dbt.")
            yield (found,), f"set by {name}"
            return
    own = Path(sys.executable).parent
    for folder, name in ((virtual_env, "VIRTUAL_ENV"), (conda, "CONDA_PREFIX")):
        programs = Path(folder, "Scripts" if os.name == "nt" else "bin")
        found = shutil.which("dbt", path=str(programs)) if folder else None
        if found:
            yield (found,), f"in the active environment ({name})"
    beside = shutil.which("dbt", path=str(own))
    if beside and sys.prefix != sys.base_prefix and str(own) in path.split(os.pathsep):
        yield (beside,), "in the active environment, which is revetl's"
    if found := shutil.which("dbt", path=path):
        yield (found,), "the first in PATH"
    if beside:
        yield (beside,), "installed with revetl; no other was found"
    elif importlib.util.find_spec("dbt") and importlib.util.find_spec("dbt.cli"):
        yield (
            (sys.executable, "-m", "dbt.cli.main"),
            "installed with revetl; no other was found",
        )


def _installed_version(program: Path) -> str | None:
    """Read the version from the program's environment, because running it takes seconds. None if the program
    isn't the one installed there by dbt-core."""
    real = program.resolve()
    prefix = real.parent.parent
    for pattern in ("lib/python*/site-packages", "Lib/site-packages"):
        for record in prefix.glob(f"{pattern}/dbt_core-*.dist-info/RECORD"):
            for line in record.read_text(encoding="utf-8").splitlines():
                file, _, size = line.rsplit(",", 2) if line.count(",") > 1 else (line, "", "")
                is_it = Path(file).name == real.name and (record.parents[1] / file).resolve() == real
                if is_it and size == str(real.stat().st_size):
                    return record.parent.name.removeprefix("dbt_core-").removesuffix(".dist-info")
    return None


def _said_version(command: tuple[str, ...], reason: str) -> str:
    if command[0] == sys.executable:
        return importlib.metadata.version("dbt-core")
    shown = " ".join(command)
    try:
        done = subprocess.run(  # noqa: S603
            [*command, "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_VERSION_SECONDS,
            env=_environment(),
            stdin=subprocess.DEVNULL,
        )
        text = _NO_COLOR.sub("", done.stdout + "\n" + done.stderr)
    except (OSError, subprocess.TimeoutExpired) as error:
        text = f"cannot run: {error}"
    for pattern in (_INSTALLED, _INSTALLED_OLD, _NAMED):
        if found := pattern.search(text):
            return found[1]
    first = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
    raise UsageError(
        f"{shown} ({reason}) is not a supported dbt: --version printed '{first[:200]}'. "
        f"Supported: dbt {SUPPORTED}. Set another with --dbt PATH or REVETL_DBT."
    )


def _check(program: DbtProgram) -> None:
    numbers = tuple(int(part) for part in re.findall(r"\d+", program.version)[:2])
    oldest, too_new = _SUPPORTED
    if not oldest <= numbers < too_new:
        how = "old" if numbers < oldest else "new"
        raise UsageError(
            f"{program.shown} ({program.reason}) is dbt {program.version}, which is too {how}. "
            f"Supported: dbt {SUPPORTED}. Set another with --dbt PATH or REVETL_DBT."
        )


def _environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    # The options for this differ between versions of dbt; the variables don't.
    plain = {"NO_COLOR": "1", "DBT_USE_COLORS": "false", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **plain, **(extra or {})}


def run_dbt(
    program: DbtProgram,
    words: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run dbt in `folder` with additional environment variables, and capture its output."""
    return subprocess.run(  # noqa: S603
        [*program.command, *words],
        cwd=folder,
        env=_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def hand_over(program: DbtProgram, words: Sequence[str]) -> int:
    """Run dbt in the current folder with this process's input, output and environment. Returns its exit code.
    SIGTERM is forwarded, and a keyboard interrupt reaches dbt directly; dbt is waited for in both cases."""
    with subprocess.Popen([*program.command, *words]) as process:  # noqa: S603
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            code = process.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
            signal.signal(signal.SIGINT, interrupted)
    return code if code >= 0 else _KILLED - code


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return dbt's output, from stdout (dbt 1) and stderr (errors of dbt 2), without colors and stack
    frames."""
    lines = _NO_COLOR.sub("", f"{done.stdout}\n{done.stderr}").splitlines()
    return "\n".join(line for line in lines if line.strip() and not _BACKTRACE.match(line))
