"""A local server that plays the destinations' APIs: simulated, in memory, and able to misbehave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revetl.sandbox.app import create_app
    from revetl.sandbox.server import running_sandbox, serve

__all__ = ["create_app", "running_sandbox", "serve"]


def __getattr__(name: str) -> Any:
    # A sync imports `revetl.sandbox.owner`, and no server.
    if name not in __all__:
        raise AttributeError(f"module 'revetl.sandbox' has no attribute '{name}'")
    from revetl.sandbox import app, server

    return getattr(app if name == "create_app" else server, name)
