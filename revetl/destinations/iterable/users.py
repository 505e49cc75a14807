"""Iterable's users: field formats, and failures in responses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from revetl.destinations.base.consent import towards_less
from revetl.destinations.base.destination import (
    Records,
    Refused,
    Rejection,
    Result,
)
from revetl.destinations.base.field_check import (
    BOOLEAN,
    MOMENT,
    NUMBER,
    TEXT,
)

KINDS = {
    **dict.fromkeys(("long", "integer", "double", "float"), NUMBER),
    "boolean": BOOLEAN,
    "date": MOMENT,
    "string": TEXT,
}
"""Value types by Iterable's field types."""
NEVER: Mapping[str, tuple[Any, ...]] = dict.fromkeys(
    ("emailListIds", "unsubscribedChannelIds", "unsubscribedMessageTypeIds", "subscribedMessageTypeIds"), ()
)
"""Lists of subscriptions, which are replaced as a whole: a shorter one would subscribe people."""
WHY = {
    "invalidData": "Iterable rejected the value of a field",
    "invalid": "Iterable rejected the {kind} as invalid",
    "notFound": "Iterable has no user with that {kind}",
    "forgotten": "the user was forgotten in Iterable, which accepts no more data about them",
    "conflict": "another Iterable user has that {kind}",
}
"""By the name of the failure list, without its suffix `Emails` or `UserIds`."""
GONE = frozenset({"UnknownEmailError", "UnknownUserIdError", "NotFound"})
"""Error codes for unknown users."""
_MOMENT = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:")


def list_of(records: Records) -> dict[str, Any]:
    """Return the audience's list, whose id is numeric."""
    given = records.audience_id
    return {"listId": int(given) if given.isdigit() else given}


def data_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert fields to a user's format: timestamps as Iterable expects them, without subscriptions."""
    return {name: _moment(value) for name, value in towards_less(fields, NEVER).items()}


def _moment(value: Any) -> Any:
    if not isinstance(value, str) or not _MOMENT.match(value):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S +00:00")


def failed(said: Mapping[str, Any], users: Sequence[Mapping[str, Any]], *, done: str | None = None) -> Result:
    """Return the failures in a response, identified by email or id, except those of type `done`. If more
    failed than are named, the others are retried. Raises Refused if fields were dropped, which would
    otherwise go unnoticed."""
    if dropped := said.get("filteredOutFields"):
        raise Refused(
            f"Iterable drops unknown fields: {', '.join(sorted(dropped))}. Set "
            "create_new_fields: true, create them in the project, or map to existing fields."
        )
    lists = {**(said.get("failedUpdates") or {})}
    for name in ("invalidEmails", "invalidUserIds"):
        # The same data in its older location.
        newer = {_same(value) for values in lists.values() for value in values or ()}
        older = [value for value in said.get(name) or () if _same(value) not in newer]
        lists[name] = [*(lists.get(name) or ()), *older]
    rejected: dict[int, str | Rejection] = {}
    named = 0
    for name, reason in WHY.items():
        for kind, ending in (("email", "Emails"), ("userId", "UserIds")):
            values = {_same(value) for value in lists.get(name + ending) or ()}
            places = [at for at, user in enumerate(users) if values & _names(user, kind)]
            named += len(places)
            if name != done:
                about = reason.format(kind=kind)
                # An unknown or forgotten user doesn't affect the other records.
                of_person = name in ("notFound", "forgotten")
                why = Rejection(
                    about, None if name == "invalidData" else kind, "person" if of_person else "record"
                )
                rejected |= dict.fromkeys(places, why)
    if said.get("failCount", 0) <= named:
        return Result(rejected)
    unnamed = f"Iterable reports {said['failCount']} failures without identifying all of them"
    return Result(rejected, {at: unnamed for at in range(len(users)) if at not in rejected})


def failed_events(said: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Result:
    """Return the failures of events, whose name may also be disallowed."""
    names = set(said.get("disallowedEventNames") or ())
    if any(event["eventName"] in names for event in events):
        return Result(dict.fromkeys(range(len(events)), "Iterable does not allow events with that name"))
    return failed(said, events)


def _names(user: Mapping[str, Any], kind: str) -> set[str]:
    """Return a user's identifiers, at the top level and among the fields."""
    fields = user.get("dataFields") or {}
    return {_same(each[kind]) for each in (user, fields) if each.get(kind) is not None}


def _same(value: Any) -> str:
    return str(value).strip().casefold()
