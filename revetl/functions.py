"""The exceptions that a project's functions raise for a record: docs/how-to/functions.md.

from revetl.functions import Drop

def on_identify(record):
    if not record["traits"].get("plan"):
        raise Drop("has no plan")
    return record
"""

from __future__ import annotations


class Drop(Exception):
    """The record is not sent; it counts as delivered."""


class Reject(Exception):
    """The record is not sent, and kept among the rejections with this reason."""


class Retry(Exception):
    """The record is left to the next run."""
