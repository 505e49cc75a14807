"""A local server that plays the destinations' APIs: simulated, in memory, and able to misbehave."""

from revetl.sandbox.app import create_app
from revetl.sandbox.server import running_sandbox, serve

__all__ = ["create_app", "running_sandbox", "serve"]
