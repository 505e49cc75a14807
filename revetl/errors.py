"""Errors and their exit codes.

Every message says what is wrong, where, and what to do. The CLI prints it to stderr unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable


class RevetlError(Exception):
    """The base class of errors with a message for the user. `exit_code` is the exit code of the process."""

    exit_code = 2


class UsageError(RevetlError):
    """The command line or the configuration is invalid."""

    exit_code = 2


class GuardStopped(RevetlError):
    """A guard stopped an implausible change; nothing was sent."""

    exit_code = 3

    def __init__(self, guard: str, message: str) -> None:
        super().__init__(message)
        self.guard = guard


class DestinationRefused(RevetlError):
    """The destination is unreachable, or rejected the credentials or the configuration."""

    exit_code = 4


class WarehouseError(RevetlError):
    """The warehouse can't be opened, or a statement failed."""

    exit_code = 5


class AccessDenied(WarehouseError):
    """The warehouse's user lacks a permission."""


class DiskError(RevetlError):
    """A local file can't be written or read: the disk is full or failing."""

    exit_code = 5


class Unexpected(RevetlError):
    """A bug in revetl. The message ends with a redacted traceback."""

    exit_code = 70


class Locked(RevetlError):
    """Another run of the same sync is in progress."""

    exit_code = 6


_LISTED = 20
"""The most names in a sentence."""


def nearest(name: str, valid: Iterable[str], *, all_of_them: bool = False) -> str:
    """The end of an 'unknown name' sentence: the nearest valid name, or the list of them; with `all_of_them`,
    both."""
    import difflib

    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"Did you mean '{close[0]}'?" if close else ""
    if meant and not all_of_them:
        return meant
    if not names:
        return "There are none."
    more = f" and {len(names) - _LISTED:,} more" if all_of_them and len(names) > _LISTED else ""
    listed = ", ".join(names[:_LISTED] if more else names) + more
    return f"{meant} There {'is' if len(names) == 1 else 'are'}: {listed}.".lstrip()
