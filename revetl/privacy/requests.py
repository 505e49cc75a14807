"""Privacy requests as values: types, statuses, and rows."""

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
"""Segment's regulation types."""
SUPPRESSING = frozenset({SUPPRESS_ONLY, SUPPRESS_WITH_DELETE, SUPPRESS_WITH_DELETE_INTERNAL})
"""Types after which the person stays suppressed."""
ERASING = frozenset({SUPPRESS_WITH_DELETE, SUPPRESS_WITH_DELETE_INTERNAL, DELETE_ONLY, DELETE_INTERNAL})
"""Types that erase the person's rows in the warehouse."""
AT_DESTINATIONS = frozenset({SUPPRESS_ONLY, SUPPRESS_WITH_DELETE, DELETE_ONLY})
"""Types that cover destinations: erase the person there, or remove them from audiences."""

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
    """An identifier as given: the value, and the type if named."""

    value: str
    type: str | None = None


@dataclass(frozen=True)
class ResolvedIdentifier:
    """One identifier of a resolved request."""

    type: str
    value: str
    role: str


@dataclass(frozen=True)
class PlaceStatus:
    """The status of a request in one place."""

    place: str
    status: str
    detail: str | None = None
    erased: int = 0
    finished_at: datetime | None = None


@dataclass(frozen=True)
class PrivacyRequest:
    """A request, with its resolved identifiers and its status in each place."""

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
