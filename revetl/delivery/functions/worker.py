"""The process of a user function: reads one record per line, and writes one result per line, with the number
of the record.

python -m revetl.delivery.functions.worker PATH SECONDS MEGABYTES
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from revetl.functions import Drop, Reject, Retry

HANDLERS = ("on_identify", "on_track", "on_group", "on_delete")
KEPT = ("type", "key", "audience", "operation")
"""The keys of a record that a function must not change."""


class _TooLong(BaseException):
    """Not an Exception, so that functions with `except Exception` don't catch it."""


def main(path: str, seconds: float, megabytes: int) -> None:
    """Run the function at a path until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Keep the function's prints out of the answers.
    os.dup2(2, 1)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    signal.signal(signal.SIGALRM, _too_long)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def answer(**said: Any) -> None:
        answers.write(json.dumps(said) + "\n")
        answers.flush()

    try:
        module = _loaded(Path(path))
    except BaseException as error:
        answer(error=_told(error, path))
        return
    answer(handlers=[name for name in HANDLERS if callable(getattr(module, name, None))])
    own = os.getpid()
    for line in sys.stdin:
        asked = json.loads(line)
        outcome = _called(getattr(module, asked["handler"]), asked["record"], path, seconds, megabytes)
        if os.getpid() != own:
            # The function has forked: the copy of this process must not answer again or read more records.
            os._exit(0)
        answer(number=asked["number"], **outcome)


def _called(
    handler: Callable[[Any], Any], record: dict[str, Any], path: str, seconds: float, megabytes: int
) -> dict[str, Any]:
    kept = {name: record.get(name) for name in KEPT}
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            made = handler(record)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Drop as why:
        return {"drop": str(why)}
    except Reject as why:
        return {"reject": str(why) or "no reason given"}
    except Retry as why:
        return {"retry": str(why) or "no reason given"}
    except _TooLong:
        return {"reject": f"{path}: took longer than {seconds:g} s"}
    except MemoryError:
        return {"reject": f"{path}: exceeded {megabytes} MB of memory"}
    except BaseException as error:
        return {"reject": _told(error, path)}
    if made is None:
        return {"drop": "the function returned None"}
    records = made if isinstance(made, list) else [made]
    for each in records:
        if not isinstance(each, dict):
            return {"reject": f"{path}: returned a {type(each).__name__}, but a record must be a dict"}
        if changed := [name for name in KEPT if each.get(name, kept[name]) != kept[name]]:
            return {"reject": f"{path}: changed '{changed[0]}', which is not allowed"}
    try:
        json.dumps(records, allow_nan=False)
    except (TypeError, ValueError) as error:
        return {"reject": f"{path}: returned a value that JSON does not support ({error})"}
    return {"records": records}


def _loaded(path: Path) -> ModuleType:
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _told(error: BaseException, path: str) -> str:
    """Return an error with the line of the function's file where it was raised."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if isinstance(error, SyntaxError) and error.filename == path:
        lines = [error.lineno]
    at = f", line {lines[-1]}" if lines else ""
    return f"{path}{at}: {type(error).__name__}: {error}"


def _too_long(number: int, frame: FrameType | None) -> None:
    raise _TooLong


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
