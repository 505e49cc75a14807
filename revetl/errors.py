"""What can go wrong, and the exit code each kind ends with.

Every message is one sentence with a place and a way out; the CLI prints it to stderr as it is.
"""

from __future__ import annotations

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
