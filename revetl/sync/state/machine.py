"""Which process on which machine holds a lease, and whether it is certainly gone.

A process is named `pid/start/machine`. The machine is the boot and the PID namespace: two containers with one
hostname see different processes under one number, and neither can tell whether the other's is alive. Only
who sees the same processes may say that one is gone; everybody else waits until the lease ends.
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
"""Set by `uuid.getnode` in a number that it drew because it found no network card."""


def this_process() -> str:
    """This process, as a lease names it."""
    return f"{os.getpid()}/{_started('self') or ''}/{_machine() or ''}"


def is_gone(process: str) -> bool:
    """Whether a process certainly runs no more: it was one of this boot and PID namespace, and none there has
    its number, or one that started later has it."""
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
    """What sees the same processes: the boot and the PID namespace on Linux; elsewhere, where there are no
    such namespaces, the network card. None where neither can be read: then nobody is known to be gone."""
    try:
        return f"{_BOOT.read_text().strip()}:{_NAMESPACE.readlink()}"
    except OSError:
        if sys.platform == "linux":
            return None
    node = uuid.getnode()
    return None if node & _MULTICAST else f"{sys.platform}:{node:x}"


def _sees_own_processes() -> bool:
    """Whether /proc is that of this PID namespace: a namespace without a /proc of its own sees another's."""
    try:
        return str(Path("/proc/self").readlink()) == str(os.getpid())
    except OSError:
        return False


def _started(pid: str) -> str | None:
    """When a process started, as Linux counts it; None where /proc is not, or the process is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _exists(pid: int) -> bool:
    """Whether a process has this number."""
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
    """`os.kill(pid, 0)` is Ctrl-C there."""
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
