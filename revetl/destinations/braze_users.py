"""Whom Braze's requests are about, in the words of each of its calls, and whom an answer refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import httpx

from revetl.destinations.base import Record, Rejection, Result

_PURCHASE = ("product_id", "currency", "price", "quantity")
_QUOTED = re.compile("'([^']+)'")
_AT_ONCE = 50
"""The most users that erasure and subscription groups take in a request."""


class Kind(NamedTuple):
    """Something that users are known by, and what erasure calls a list of it. `in_groups`: so are they known
    in subscription groups."""

    name: str
    erased: str
    in_groups: bool = True


KINDS = (
    Kind("external_id", "external_ids"),
    Kind("braze_id", "braze_ids", in_groups=False),
    Kind("user_alias", "user_aliases", in_groups=False),
    Kind("email", "email_addresses"),
    Kind("phone", "phone_numbers"),
)
"""In the order in which Braze heeds them."""


class Users(NamedTuple):
    """Users of one request, known by one kind of thing: their places in the batch, and their names."""

    kind: Kind
    places: tuple[int, ...]
    names: tuple[Any, ...]


def known_as(record: Record, alias_label: str | None) -> dict[str, Any]:
    """What an object names its user by."""
    known = dict(record.identifiers)
    label = known.pop("alias_label", alias_label)
    if (name := known.pop("alias_name", None)) is not None:
        known["user_alias"] = {"alias_name": str(name), "alias_label": label}
    return known


def by_kind(known: Mapping[int, Mapping[str, Any]], *, in_groups: bool = False) -> Iterator[Users]:
    """Users, by their places, in requests of one kind each; for subscription groups, of the kinds that those
    have."""
    left = dict(known)
    for kind in KINDS if not in_groups else [kind for kind in KINDS if kind.in_groups]:
        places = [place for place, names in left.items() if kind.name in names]
        for start in range(0, len(places), _AT_ONCE):
            some = tuple(places[start : start + _AT_ONCE])
            yield Users(kind, some, tuple(left.pop(place)[kind.name] for place in some))


def purchased(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a purchase has them: what is none of its own is a property."""
    own = {name: value for name, value in fields.items() if name in _PURCHASE}
    return {**own, "properties": {name: value for name, value in fields.items() if name not in own}}


def refused(response: httpx.Response, objects: Sequence[Mapping[str, Any]]) -> Result:
    """Whom an answer refuses. An error has the index of its object, and may name a field; when nothing was
    taken, those without an error are sent again."""
    answer = response.json()
    rejected: dict[int, str | Rejection] = {}
    for error in answer.get("errors") or []:
        if "index" in error:
            quoted = _QUOTED.findall(error["type"])
            field = next((name for name in quoted if name in objects[error["index"]]), None)
            rejected.setdefault(error["index"], Rejection(str(error["type"]), field))
    others = range(len(objects)) if response.status_code == 400 else ()
    return Result(rejected, {place: str(answer["message"]) for place in others if place not in rejected})
