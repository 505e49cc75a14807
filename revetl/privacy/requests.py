"""Privacy requests as values: types, statuses, and the row of a request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

DEADLINE = timedelta(days=30)
"""GDPR, Article 12(3): one month."""

SUPPRESS_ONLY, UNSUPPRESS = "SUPPRESS_ONLY", "UNSUPPRESS"
SUPPRESS_WITH_DELETE, DELETE_ONLY = "SUPPRESS_WITH_DELETE", "DELETE_ONLY"
SUPPRESS_WITH_DELETE_INTERNAL, DELETE_INTERNAL = "SUPPRESS_WITH_DELETE_INTERNAL", "DELETE_INTERNAL"
REGULATION_TYPES = (
    SUPPRESS_ONLY,
    UNSUPPRESS,
    SUPPRESS_WITH_DELETE,
    SUPPRESS_WITH_DELETE_INTERNAL,
    DELETE_ONLY,
    DELETE_INTERNAL,
)
"""Segment's types of regulations."""
SUPPRESSING = frozenset({SUPPRESS_ONLY, SUPPRESS_WITH_DELETE, SUPPRESS_WITH_DELETE_INTERNAL})
"""The types after which the person stays suppressed."""
ERASING = frozenset({SUPPRESS_WITH_DELETE, SUPPRESS_WITH_DELETE_INTERNAL, DELETE_ONLY, DELETE_INTERNAL})
"""The types that erase the person's rows in the warehouse."""
AT_DESTINATIONS = frozenset({SUPPRESS_ONLY, SUPPRESS_WITH_DELETE, DELETE_ONLY})
"""The types that reach destinations: erased there, or removed from audiences."""

INITIALIZED, RUNNING, FINISHED = "initialized", "running", "finished"
PARTIAL_SUCCESS, FAILED, INVALID, NOT_SUPPORTED = "partial_success", "failed", "invalid", "not_supported"
STATUSES = (INITIALIZED, RUNNING, FINISHED, PARTIAL_SUCCESS, FAILED, INVALID, NOT_SUPPORTED)
STATUSES_OF_PLACES = (INITIALIZED, RUNNING, FINISHED, FAILED, NOT_SUPPORTED)
OPEN = (INITIALIZED, RUNNING, FAILED)
"""Statuses of requests and places that the next run continues."""

REQUESTED, PROFILE, SPELLING, LATE, SHARED = "requested", "profile", "spelling", "late", "shared"
CANONICAL_ID = "canonical_id"


@dataclass(frozen=True)
class GivenIdentifier:
    """An identifier as it was given: its value, and its type where it was named."""

    value: str
    type: str | None = None


@dataclass(frozen=True)
class ResolvedIdentifier:
    """One identifier of a request's closure."""

    type: str
    value: str
    role: str


@dataclass(frozen=True)
class PlaceStatus:
    """What became of a request in one place."""

    place: str
    status: str
    detail: str | None = None
    erased: int = 0
    finished_at: datetime | None = None


@dataclass(frozen=True)
class PrivacyRequest:
    """A request, with the identifiers that it resolved to and what became of it in each place."""

    request_id: str
    batch_id: str
    regulation_type: str
    status: str
    detail: str | None
    requested_by: str | None
    reason: str | None
    requested_at: datetime | None
    due_at: datetime | None
    finished_at: datetime | None = None
    identifiers: tuple[ResolvedIdentifier, ...] = ()
    places: tuple[PlaceStatus, ...] = ()
