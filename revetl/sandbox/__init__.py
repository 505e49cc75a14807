"""A local server that mocks the destinations' APIs: simulated, in memory, with configurable failures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revetl.sandbox.app import create_app
    from revetl.sandbox.server import running_sandbox, serve

__all__ = ["create_app", "running_sandbox", "serve"]

_MODULES = {"create_app": "app", "running_sandbox": "server", "serve": "server"}


def __getattr__(name: str) -> Any:
    """Load the server only where it is started: every sync imports this package to know its owner."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
