"""Run ids: `20260102T030405-0a1b2c3d`, the second (UTC) in which a run began, its fraction and a random part.

Sorted as text, they are in the order in which the runs began, also within a second.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from revetl.sync.state import leases


def new_run_id() -> str:
    """Return the id of a run that begins now."""
    return f"{beginning(leases.now())}{secrets.token_hex(2)}"


def beginning(moment: datetime) -> str:
    """Return the prefix of the ids of runs that begin at a time in UTC: its second, and four hex digits for
    the fraction, in steps of 1/65,536 s."""
    return f"{moment:%Y%m%dT%H%M%S}-{moment.microsecond * 65536 // 1_000_000:04x}"
