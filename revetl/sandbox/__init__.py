"""A local server that mocks the destinations' APIs: simulated, in memory, with configurable failures."""

from revetl.sandbox.app import create_app
from revetl.sandbox.server import running_sandbox, serve

__all__ = ["create_app", "running_sandbox", "serve"]
