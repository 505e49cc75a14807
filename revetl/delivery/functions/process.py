"""Run a user function in a separate process, with limits on time and memory."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from revetl.config.models import FunctionConfig
from revetl.errors import UsageError, nearest

FOLDER = "destination_functions"
"""In the project's folder. dbt 1.11 reads `functions/` as its own user-defined functions."""
FORMER_FOLDER = "functions"
"""Where 0.2 had them."""
HANDLERS = {"identify": "on_identify", "track": "on_track", "group": "on_group", "delete": "on_delete"}
"""The names of the handlers, by type of record."""

_START_SECONDS = 30.0
_GRACE_SECONDS = 1.0
_TURNS = 2
"""How often a record is sent to the function when answers are out of step."""


@dataclass(frozen=True)
class FunctionResult:
    """The result of a function: the `records` to send instead; or why the record is dropped, rejected, or
    left to the next run."""

    records: tuple[dict[str, Any], ...] = ()
    dropped: str | None = None
    rejected: str | None = None
    later: str | None = None


def check_folder(root: Path, name: str) -> None:
    """Raises UsageError if a function, or its tests, are still in the former folder."""
    for end in ("py", "yml"):
        former, place = f"{FORMER_FOLDER}/{name}.{end}", f"{FOLDER}/{name}.{end}"
        if (root / former).is_file() and not (root / place).exists():
            raise UsageError(
                f"{former} has to be {place}: dbt reads {FORMER_FOLDER}/ as its own functions, and its "
                f"builds fail. Run `mkdir -p {FOLDER} && mv {FORMER_FOLDER}/{name}.* {FOLDER}/`."
            )


class _Died(Exception):
    """The process ended, or did not answer in time."""


class _OutOfStep(Exception):
    """The answer read belongs to another record."""


@dataclass
class Function:
    """A user function, as configured in a sync.

    Its process starts with the first record and ends with this object; if a record crashes it, it is started
    again for the next. Records and answers are numbered: a process that answers out of step is replaced, and
    the record is sent to it again.
    """

    root: Path
    config: FunctionConfig
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _rest: bytes = field(default=b"", init=False)
    _number: int = field(default=0, init=False)

    @property
    def path(self) -> Path:
        """Its file."""
        return self.root / FOLDER / f"{self.config.name}.py"

    @property
    def called(self) -> str:
        """The name of its file in messages."""
        return f"{FOLDER}/{self.config.name}.py"

    def check_file(self) -> None:
        """Raise UsageError when the file does not exist, or isn't valid Python. The code is not run."""
        if not self.path.is_file():
            check_folder(self.root, self.config.name)
            there = [path.stem for path in self.path.parent.glob("*.py")]
            raise UsageError(f"{self.called} does not exist. {nearest(self.config.name, there)}")
        try:
            compile(self.path.read_bytes(), self.called, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            line, said = "", str(error)
            if isinstance(error, SyntaxError):
                line, said = f", line {error.lineno}", error.msg
            raise UsageError(f"{self.called}{line}: {said}. Fix it there.") from None

    def check(self, kind: str) -> None:
        """Raise UsageError when it cannot be loaded, or has no handler for a kind of records."""
        self.check_file()
        if os.name == "nt":
            raise UsageError(f"{self.called}: Windows cannot limit a process. Run revetl in WSL.")
        handlers = self._start()
        if HANDLERS[kind] not in handlers:
            raise UsageError(
                f"{self.called} does not define {HANDLERS[kind]}, which this sync's records need. "
                f"It defines: {', '.join(handlers) or 'none'}."
            )

    def __call__(self, record: Mapping[str, Any]) -> FunctionResult:
        """Run the function on a record. Raises UsageError when it cannot be loaded."""
        for _ in range(_TURNS):
            if self._process is None:
                self._start()
            try:
                return self._outcome(self._asked(record))
            except _Died as death:
                self._stop()
                return FunctionResult(rejected=f"{self.called}: {death}")
            except _OutOfStep:
                # A forked process, or the function itself, also wrote an answer, for an unknown record.
                self._stop()
        return FunctionResult(rejected=f"{self.called}: more than one answer for a record. Does it fork?")

    def _outcome(self, answer: Mapping[str, Any]) -> FunctionResult:
        if "records" in answer:
            return FunctionResult(tuple(answer["records"]))
        why = {name: str(text).replace(str(self.path), self.called) for name, text in answer.items()}
        if not why.keys() & {"drop", "reject", "retry"}:
            raise _OutOfStep
        return FunctionResult(dropped=why.get("drop"), rejected=why.get("reject"), later=why.get("retry"))

    def _start(self) -> list[str]:
        command = [sys.executable, "-m", "revetl.delivery.functions.worker", str(self.path)]
        limits = [str(self.config.timeout), str(self.config.memory)]
        self._process = process = subprocess.Popen(  # noqa: S603  the interpreter that runs this
            [*command, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A new process group, so that forked processes end with it.
            start_new_session=True,
        )
        self._rest = b""
        weakref.finalize(self, _end_group, process)
        try:
            said = self._read(_START_SECONDS)
        except (_Died, _OutOfStep) as death:
            self._stop()
            raise UsageError(
                f"{self.called}: {str(death) or 'wrote to the answer stream'} while it was loaded."
            ) from None
        if "error" in said:
            self._stop()
            raise UsageError(f"{said['error'].replace(str(self.path), self.called)}. Fix it there.")
        handlers: list[str] = said["handlers"]
        return handlers

    def _asked(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a record. Raises _OutOfStep for the answer to another record."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._number += 1
        asked = {"number": self._number, "handler": HANDLERS[record["type"]], "record": record}
        try:
            self._process.stdin.write(orjson.dumps(asked) + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise _Died(self._end()) from None
        answer = self._read(self.config.timeout + _GRACE_SECONDS)
        if answer.get("number") != self._number:
            raise _OutOfStep
        if self._rest:
            # This answer is right, but there is a second one already.
            self._stop()
        return answer

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
        try:
            answer: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise _OutOfStep from None
        if not isinstance(answer, dict):
            raise _OutOfStep
        return answer

    def _end(self) -> str:
        assert self._process is not None
        return f"exited with {self._process.wait()} (is its memory limit of {self.config.memory} MB too low?)"

    def _stop(self) -> None:
        if self._process is not None:
            _end_group(self._process)
            self._process.wait()
            self._process = None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its forks."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
