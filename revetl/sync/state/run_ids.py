"""Ids of runs: `20260102T030405-0a1b2c3d`, the second in UTC when a run began, then its fraction and chance.

Their order as text is that of the runs' beginnings, also within a second.
"""

from __future__ import annotations

import secrets
from datetime import datetime

from revetl.sync.state import leases


def new_run_id() -> str:
    """The id of a run that begins now."""
    return f"{beginning(leases.now())}{secrets.token_hex(2)}"


def beginning(moment: datetime) -> str:
    """What ids of runs begin with that begin at a moment in UTC: its second, and four hex digits for its
    fraction, in steps of 1/65,536 s."""
    return f"{moment:%Y%m%dT%H%M%S}-{moment.microsecond * 65536 // 1_000_000:04x}"
