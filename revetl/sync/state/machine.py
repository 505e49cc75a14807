"""Identify the process that holds a lease, and whether it has certainly exited.

A process is named `pid/start/machine`. The machine is the boot id and the PID namespace: two containers with
the same hostname see different processes under the same PID, and neither knows whether the other's is alive.
Only a process in the same PID namespace can tell that a lease holder has exited; all others wait until the
lease expires.
"""

from __future__ import annotations

import os
import sys
import uuid
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_MULTICAST = 1 << 40
"""The bit that `uuid.getnode` sets in a random number, when it finds no network card."""


def this_process() -> str:
    """Return the name of this process in a lease."""
    return f"{os.getpid()}/{_started('self') or ''}/{_machine() or ''}"


def is_gone(process: str) -> bool:
    """Whether a process has certainly exited: it belongs to this boot and PID namespace, and its PID is
    unused or belongs to a process that started later."""
    pid, _, rest = process.partition("/")
    started, _, machine = rest.partition("/")
    if not machine or machine != _machine() or not pid.isdecimal():
        return False
    if not _exists(int(pid)):
        return True
    now_started = _started(pid) if _sees_own_processes() else None
    return bool(started) and now_started not in (started, None)


@cache
def _machine() -> str | None:
    """Return an id shared by all who see the same processes: boot id and PID namespace on Linux, elsewhere
    (without such namespaces) the network card. None if neither is readable: then no process counts as
    exited."""
    try:
        return f"{_BOOT.read_text().strip()}:{_NAMESPACE.readlink()}"
    except OSError:
        if sys.platform == "linux":
            return None
    node = uuid.getnode()
    return None if node & _MULTICAST else f"{sys.platform}:{node:x}"


def _sees_own_processes() -> bool:
    """Whether /proc belongs to this PID namespace; without its own /proc, a namespace sees another's."""
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False


def _started(pid: str) -> str | None:
    """Return the start time of a process in Linux's clock ticks; None without /proc or the process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _exists(pid: int) -> bool:
    """Whether a process with this PID exists."""
    if sys.platform == "win32":
        return _exists_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _exists_on_windows(pid: int) -> bool:
    """Whether a process with this PID exists. On Windows, `os.kill(pid, 0)` sends Ctrl-C."""
    if sys.platform != "win32":
        return True
    import ctypes

    invalid_parameter, query_limited_information, still_active = 87, 0x1000, 259
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return ctypes.get_last_error() != invalid_parameter
    code = ctypes.c_ulong()
    read = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return not read or code.value == still_active
