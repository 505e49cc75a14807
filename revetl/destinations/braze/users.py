"""User identifiers in Braze's calls, and rejections in its responses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import httpx

from revetl.destinations.base.destination import Record, Rejection, Result
from revetl.destinations.base.records import refusal

_PURCHASE = ("product_id", "currency", "price", "quantity")
_QUOTED = re.compile("'([^']+)'")
_AT_ONCE = 50
"""The maximum number of users per request for deletions and subscription groups."""


MOST_OBJECTS = 75
"""The maximum number of objects per request to /users/track, across all kinds."""


class UserObject(NamedTuple):
    """An object of a request, its kind (attributes, events, purchases), and the position of its record."""

    place: int
    kind: str
    object: Mapping[str, Any]


class UserIdentifier(NamedTuple):
    """An identifier of users, and the name of its list in deletion requests. `in_groups`: whether
    subscription groups support it."""

    name: str
    erased: str
    in_groups: bool = True


KINDS = (
    UserIdentifier("external_id", "external_ids"),
    UserIdentifier("braze_id", "braze_ids", in_groups=False),
    UserIdentifier("user_alias", "user_aliases", in_groups=False),
    UserIdentifier("email", "email_addresses"),
    UserIdentifier("phone", "phone_numbers"),
)
"""In Braze's order of precedence."""


class Users(NamedTuple):
    """The users of one request, by one identifier: their positions in the batch, and their values."""

    kind: UserIdentifier
    places: tuple[int, ...]
    names: tuple[Any, ...]


def known_as(record: Record, alias_label: str | None) -> dict[str, Any]:
    """Return the user identifiers of an object."""
    known = dict(record.identifiers)
    label = known.pop("alias_label", alias_label)
    if (name := known.pop("alias_name", None)) is not None and label is not None:
        known["user_alias"] = {"alias_name": str(name), "alias_label": label}
    return known


def by_kind(known: Mapping[int, Mapping[str, Any]], *, in_groups: bool = False) -> Iterator[Users]:
    """Group users, by position, into requests with one identifier each; for subscription groups, only
    identifiers they support."""
    left = dict(known)
    for kind in KINDS if not in_groups else [kind for kind in KINDS if kind.in_groups]:
        places = [place for place, names in left.items() if kind.name in names]
        for start in range(0, len(places), _AT_ONCE):
            some = tuple(places[start : start + _AT_ONCE])
            yield Users(kind, some, tuple(left.pop(place)[kind.name] for place in some))


def happenings(
    event: str, fields: Mapping[str, Any], purchase_events: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the objects for an event, each with its kind: the event itself, or its purchases. Fields that
    aren't purchase fields become properties."""
    bought = fields.get("purchases") if isinstance(fields.get("purchases"), list) else None
    if bought is None and event not in purchase_events:
        return [("events", {"name": event, "properties": fields})]
    made = []
    for each in bought or [fields]:
        own = {name: value for name, value in each.items() if name in _PURCHASE}
        others = {name: value for name, value in each.items() if name not in own}
        made.append(("purchases", {**own, "properties": others}))
    return made


def arrays(told: Sequence[UserObject]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the arrays of a request, one per kind of object."""
    made: dict[str, list[Mapping[str, Any]]] = {}
    for each in told:
        made.setdefault(each.kind, []).append(each.object)
    return made


def refused(response: httpx.Response, told: Sequence[UserObject]) -> Result:
    """Return the rejections in a response. An error has the index of its object in its array, and may name a
    field; if nothing was accepted, objects without an error are retried."""
    answer = response.json()
    of_kind: dict[str, list[UserObject]] = {}
    for each in told:
        of_kind.setdefault(each.kind, []).append(each)
    rejected: dict[int, str | Rejection] = {}
    for error in answer.get("errors") or []:
        if "index" in error:
            found = of_kind.get(error.get("input_array") or told[0].kind, told)[error["index"]]
            quoted = _QUOTED.findall(error["type"])
            field = next((name for name in quoted if name in found.object), None)
            rejected.setdefault(found.place, refusal(str(error["type"]), field))
    others = {each.place for each in told} - rejected.keys() if response.status_code == 400 else ()
    return Result(rejected, dict.fromkeys(sorted(others), str(answer.get("message"))))
