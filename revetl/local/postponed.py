"""Packages that load when they are first used, rather than when a module imports them.

A connector needs httpx and asyncio to send, a run SQLite for its journal and pyarrow for its files, and most
commands, and runs with nothing to send, need none of them. The command line postpones them; `import revetl`
changes nothing for the program that does it.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

_LOCK = threading.RLock()
_KNOWN = frozenset({"__class__", "__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__"})
"""What the import system reads of a module and has set before the module's code runs."""


class _Loading(ModuleType):
    """A module whose code runs: other threads wait until it has ended."""

    def __getattribute__(self, name: str) -> Any:
        with _LOCK:
            return ModuleType.__getattribute__(self, name)


class _Postponed(ModuleType):
    """A module whose code runs at the first use of an attribute."""

    def __getattribute__(self, name: str) -> Any:
        if name in _KNOWN:
            return ModuleType.__getattribute__(self, name)
        with _LOCK:
            if ModuleType.__getattribute__(self, "__class__") is _Postponed:
                _load(self)
        return getattr(self, name)


def _load(module: ModuleType) -> None:
    module.__class__ = _Loading
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    try:
        spec.loader.exec_module(module)
    except BaseException:
        module.__class__ = _Postponed
        raise
    module.__class__ = ModuleType


def postpone(*names: str) -> None:
    """Have packages load at the first use of an attribute. A package that is imported already, or is not
    installed, is left as it is."""
    for name in names:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _Postponed
        sys.modules[name] = module
