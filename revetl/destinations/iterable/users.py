"""Iterable's users: their fields, and whom an answer says to have failed."""

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
"""The kinds of values by Iterable's types of fields."""
NEVER: Mapping[str, tuple[Any, ...]] = dict.fromkeys(
    ("emailListIds", "unsubscribedChannelIds", "unsubscribedMessageTypeIds", "subscribedMessageTypeIds"), ()
)
"""Lists of what somebody is subscribed to, or not, which are replaced whole: a shorter one subscribes."""
WHY = {
    "invalidData": "Iterable takes no such value of one of its fields",
    "invalid": "Iterable takes no such {kind}",
    "notFound": "Iterable knows nobody by that {kind}",
    "forgotten": "they were forgotten in Iterable, which takes nothing of them any more",
    "conflict": "another user of Iterable has that {kind}",
}
"""By what the lists of failures are called before `Emails` and `UserIds`."""
GONE = frozenset({"UnknownEmailError", "UnknownUserIdError", "NotFound"})
"""Codes of errors about somebody who is not there."""
_MOMENT = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:")


def list_of(records: Records) -> dict[str, Any]:
    """The audience's list, whose id is a number."""
    given = records.audience_id
    return {"listId": int(given) if given.isdigit() else given}


def data_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as users have them: moments in Iterable's form, and no subscriptions."""
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
    """Whom an answer names among its failures, by email or id; those of the kind `done` are none. When more
    failed than it names, the others are sent again. Raises Refused when it dropped fields, which nobody
    would notice."""
    if dropped := said.get("filteredOutFields"):
        raise Refused(
            f"Iterable drops fields that it does not have: {', '.join(sorted(dropped))}. Set "
            "create_new_fields: true, or make them in the project, or map them to others."
        )
    lists = {**(said.get("failedUpdates") or {})}
    for name in ("invalidEmails", "invalidUserIds"):
        # The older place of the same.
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
                # Who is not known, or was forgotten, says nothing about the others.
                of_person = name in ("notFound", "forgotten")
                why = Rejection(
                    about, None if name == "invalidData" else kind, "person" if of_person else "record"
                )
                rejected |= dict.fromkeys(places, why)
    if said.get("failCount", 0) <= named:
        return Result(rejected)
    unnamed = f"Iterable says that {said['failCount']} failed, and not who"
    return Result(rejected, {at: unnamed for at in range(len(users)) if at not in rejected})


def failed_events(said: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> Result:
    """The same of events, whose name may be one that is not allowed."""
    names = set(said.get("disallowedEventNames") or ())
    if any(event["eventName"] in names for event in events):
        return Result(dict.fromkeys(range(len(events)), "Iterable does not allow events of that name"))
    return failed(said, events)


def _names(user: Mapping[str, Any], kind: str) -> set[str]:
    """What a user is called at the top and among the fields."""
    fields = user.get("dataFields") or {}
    return {_same(each[kind]) for each in (user, fields) if each.get(kind) is not None}


def _same(value: Any) -> str:
    return str(value).strip().casefold()
