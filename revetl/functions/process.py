"""A project's function, as a process beside the runner: it has limits of time and of memory, and may die."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from revetl.config import FunctionConfig
from revetl.errors import UsageError, nearest

FOLDER = "functions"
HANDLERS = {"identify": "on_identify", "track": "on_track", "group": "on_group", "delete": "on_delete"}
"""By the type of a record."""

_START_SECONDS = 30.0
_GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """What a function made of a record: `records` to be sent in its place; or why it is dropped, rejected, or
    left to the next run."""

    records: tuple[dict[str, Any], ...] = ()
    dropped: str | None = None
    rejected: str | None = None
    later: str | None = None


class _Died(Exception):
    """The process ended, or did not answer in time."""


@dataclass
class Function:
    """A function of a project, by the configuration of a sync. Its process starts with the first record, and
    ends with this object; one that dies of a record is started anew for the next."""

    root: Path
    config: FunctionConfig
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _rest: bytes = field(default=b"", init=False)

    @property
    def path(self) -> Path:
        """Its file."""
        return self.root / FOLDER / f"{self.config.name}.py"

    @property
    def called(self) -> str:
        """What messages call its file."""
        return f"{FOLDER}/{self.config.name}.py"

    def check_file(self) -> None:
        """Raises UsageError where there is none, or it is not Python. Nothing of it is run."""
        if not self.path.is_file():
            there = [path.stem for path in self.path.parent.glob("*.py")]
            raise UsageError(f"{self.called} is not there. {nearest(self.config.name, there)}")
        try:
            compile(self.path.read_bytes(), self.called, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line, said = "", str(error)
            if isinstance(error, SyntaxError):
                line, said = f", line {error.lineno}", error.msg
            raise UsageError(f"{self.called}{line}: {said}. Mend it there.") from None

    def check(self, kind: str) -> None:
        """Raises UsageError where it cannot be loaded, or has nothing for records of a kind."""
        self.check_file()
        if os.name == "nt":
            raise UsageError(f"{self.called}: Windows has no limits for a process. Run revetl in WSL.")
        handlers = self._start()
        if HANDLERS[kind] not in handlers:
            raise UsageError(
                f"{self.called} has no {HANDLERS[kind]}, which is asked of this sync's records. It has: "
                f"{', '.join(handlers) or 'none'}."
            )

    def __call__(self, record: Mapping[str, Any]) -> Outcome:
        """What it makes of a record. Raises UsageError where it cannot be loaded."""
        if self._process is None:
            self._start()
        asked = {"handler": HANDLERS[record["type"]], "record": record}
        try:
            answer = self._asked(orjson.dumps(asked) + b"\n", self.config.timeout + _GRACE_SECONDS)
        except _Died as death:
            self._stop()
            return Outcome(rejected=f"{self.called}: {death}")
        if "records" in answer:
            return Outcome(tuple(answer["records"]))
        words = {"drop": "dropped", "reject": "rejected", "retry": "later"}
        ((said, why),) = answer.items()
        return Outcome(**{words[said]: why.replace(str(self.path), self.called)})

    def _start(self) -> list[str]:
        command = [sys.executable, "-m", "revetl.functions.worker", str(self.path)]
        limits = [str(self.config.timeout), str(self.config.memory)]
        self._process = process = subprocess.Popen(  # noqa: S603  the interpreter that runs this
            [*command, *limits], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._rest = b""
        weakref.finalize(self, process.kill)
        try:
            said = self._read(_START_SECONDS)
        except _Died as death:
            self._stop()
            raise UsageError(f"{self.called}: {death} as it was loaded.") from None
        if "error" in said:
            self._stop()
            raise UsageError(f"{said['error'].replace(str(self.path), self.called)}. Mend it there.")
        handlers: list[str] = said["handlers"]
        return handlers

    def _asked(self, line: bytes, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError:
            raise _Died(self._end()) from None
        return self._read(seconds)

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise _Died(f"took longer than {self.config.timeout:g} s")
                if not (more := os.read(self._process.stdout.fileno(), 1 << 16)):
                    raise _Died(self._end())
                self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    def _end(self) -> str:
        assert self._process is not None
        return f"ended with {self._process.wait()} (of its {self.config.memory} MB of memory?)"

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
