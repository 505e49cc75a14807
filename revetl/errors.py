"""The exceptions, with the exit code of each.

Every message is one sentence with a place and a way out; the CLI prints it to stderr as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RevetlError(Exception):
    """A failure with a sentence for the user. `exit_code` is the process's."""

    exit_code = 2


class UsageError(RevetlError):
    """The command line or the configuration asks for what is not there."""

    exit_code = 2


class GuardStopped(RevetlError):
    """A guard judged the change implausible; nothing was sent."""

    exit_code = 3

    def __init__(self, guard: str, message: str) -> None:
        super().__init__(message)
        self.guard = guard


class DestinationRefused(RevetlError):
    """The destination could not be reached, or refused the credentials or the configuration."""

    exit_code = 4


class WarehouseError(RevetlError):
    """The warehouse could not be opened, or a statement failed."""

    exit_code = 5


class AccessDenied(WarehouseError):
    """The warehouse was opened, and the target's user may not do what was asked."""


class DiskError(RevetlError):
    """A file of this machine could not be written or read: the disk is full, or fails."""

    exit_code = 5


class Unexpected(RevetlError):
    """A fault of revetl itself. The message ends with a traceback, without secrets."""

    exit_code = 70


class Locked(RevetlError):
    """Another run of the same sync is under way."""

    exit_code = 6


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an 'unknown name' sentence: the nearest valid name, or the list of them."""
    names = sorted(valid)
    if close := difflib.get_close_matches(name, names, n=1, cutoff=0.5):
        return f"Did you mean '{close[0]}'?"
    if not names:
        return "There are none."
    return f"There {'is' if len(names) == 1 else 'are'}: {', '.join(names)}."
