"""`revetl` in a process of its own, to be killed: `python -m revetl`, or a fork of one that has it loaded.

A forked process is at it at once, so that it can be killed at any instant of its run, and many of them can.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenacity import wait_exponential_jitter

BACK_OFF = wait_exponential_jitter(multiplier=0.01, max=0.1, jitter=0.01)
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True)
class Ended:
    """How a process ended: its return code, as `subprocess` has it, and what it said."""

    returncode: int
    said: str


def killed(
    root: Path, arguments: list[str], number: signal.Signals, when: Callable[[], bool], *, loaded: bool
) -> Ended:
    """Run `revetl` with `arguments` in `root`, send it the signal as soon as `when` says so, and wait for its
    end. `loaded`: fork it; it backs off for less long then."""
    log = root / "process.log"
    if not loaded:
        with log.open("wb") as out:
            command = [sys.executable, "-m", "revetl", *arguments]
            process = subprocess.Popen(command, cwd=root, stdout=out, stderr=out)
            _wait_until(lambda: when() or process.poll() is not None)
            process.send_signal(number)
            return Ended(process.wait(_LONGEST_SECONDS), log.read_text())
    log.unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["revetl.cli", "revetl.api", "httpx_aiohttp", __name__])
    child = context.Process(target=_revetl, args=(str(root), str(log), arguments, dict(os.environ)))
    child.start()
    _wait_until(lambda: when() or not child.is_alive())
    if child.is_alive() and child.pid is not None:
        os.kill(child.pid, number)
    child.join(_LONGEST_SECONDS)
    assert child.exitcode is not None, "it did not end"
    # Killed at once, it has not got as far as to say anything.
    assert log.exists() or child.exitcode < 0, "it did not begin"
    return Ended(child.exitcode, log.read_text() if log.exists() else "")


def _wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST_SECONDS
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.002)


def _revetl(root: str, log: str, arguments: list[str], environment: dict[str, str]) -> None:
    from revetl.cli import main
    from revetl.delivery import http

    os.chdir(root)
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    http._BACK_OFF = BACK_OFF
    sys.argv = ["revetl", *arguments]
    main()
