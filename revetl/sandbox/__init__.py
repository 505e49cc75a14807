"""A local mock server of the destinations' APIs, in memory, with faults on demand."""

from revetl.sandbox.app import create_app
from revetl.sandbox.server import running_sandbox, serve

__all__ = ["create_app", "running_sandbox", "serve"]
