"""Exceptions that a project's functions raise for a record: docs/how-to/functions.md.

from revetl.functions import Drop

def on_identify(record):
    if not record["traits"].get("plan"):
        raise Drop("has no plan")
    return record
"""

from __future__ import annotations


class Drop(Exception):
    """Don't send the record, and count it as delivered."""


class Reject(Exception):
    """Don't send the record, and store it as a rejection with this reason."""


class Retry(Exception):
    """Leave the record to the next run."""
