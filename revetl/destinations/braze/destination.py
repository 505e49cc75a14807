"""Braze's users, events, purchases and subscription groups: docs/destinations/braze.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode

import httpx
import orjson

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.consent import towards_less
from revetl.destinations.base.destination import (
    Attribute,
    Batch,
    Flow,
    Identifier,
    RateLimit,
    Records,
    Rejection,
    Result,
)
from revetl.destinations.base.field_check import DATE
from revetl.destinations.base.records import for_now, nobody
from revetl.destinations.base.values import COUNTRY, GENDER
from revetl.destinations.braze.client import BrazeWorkspace
from revetl.destinations.braze.users import (
    MOST_OBJECTS,
    UserIdentifier,
    UserObject,
    arrays,
    by_kind,
    happenings,
    refused,
)

LESS = {"email_subscribe": ("unsubscribed",), "push_subscribe": ("unsubscribed",), "subscription_groups": ()}

UNDERSTOOD = (
    SuccessShape(
        "POST /users/track",
        {
            "message": ("success", "queued"),
            "errors?": [{"type": str, "index": int, "input_array?": str}],
        },
    ),
    SuccessShape("POST /users/delete", {"deleted": int}),
    SuccessShape("POST /v2/subscription/status/set", {"message": "success"}),
    SuccessShape("GET /subscription/status/get", {"status": dict}),
)


class Braze(BrazeWorkspace):
    """Attributes of Braze users by external id. A mirrored audience is a boolean custom attribute with its
    name, or a subscription group; people who left the group are never added again."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=MOST_OBJECTS)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=3_000, per_seconds=3)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("external_id", column="user_id"),
        Identifier("email", column="email", checked="email"),
        Identifier("phone", column="phone"),
        Identifier("braze_id", column="braze_id"),
        Identifier("alias_name", column="alias_name"),
        Identifier("alias_label", column="alias_label", alone=False),
    )

    known_fields: ClassVar[tuple[Attribute, ...]] = (
        Attribute("country", "country", COUNTRY),
        Attribute("dob", "dob", DATE),
        Attribute("gender", "gender", GENDER),
    )

    type: Literal["braze"]

    def is_repeatable(self, request: httpx.Request) -> bool:
        # Attributes can be set twice; events and purchases have no id, so they would be duplicated.
        told = orjson.loads(request.content) if request.url.path.endswith("/users/track") else {}
        return told.keys().isdisjoint(("events", "purchases"))

    def upsert(self, records: Records) -> Flow:
        return self.attributes(records, {})

    def add(self, records: Records) -> Flow:
        return self.subscribe(records) if self.in_groups else self.update(records)

    def update(self, records: Records) -> Flow:
        return self.attributes(records, {} if self.in_groups else {self.called(records): True})

    def remove(self, records: Records) -> Flow:
        if self.in_groups:
            return self.unsubscribe(records)
        return self.attributes(records, {self.called(records): False}, with_fields=False)

    def change(self, records: Records) -> Flow:
        return self.attributes(records, {"_update_existing_only": True})

    def delete(self, records: Records) -> Flow:
        for users in by_kind(dict(enumerate(self.known(records)))):
            names: list[Any] = list(users.names)
            if users.kind.name == "email":
                names = [{"email": name, "prioritization": ["most_recently_updated"]} for name in names]
            yield self.post("/users/delete", json={users.kind.erased: names})
        return Result()

    def track(self, records: Records) -> Flow:
        """Send an event per person, with the fields as its properties; purchases have one object per
        product."""
        told = []
        for place, (known, record) in enumerate(zip(self.known(records), records, strict=True)):
            about = {**known, "time": record.timestamp or records.at}
            if self.app_id is not None:
                about["app_id"] = self.app_id
            happened = happenings(records.event_of(record), record.fields, self.purchase_events)
            told += [UserObject(place, kind, {**about, **what}) for kind, what in happened]
        return self.send(told)

    def attributes(self, records: Records, more: Mapping[str, bool], *, with_fields: bool = True) -> Flow:
        """Send one attributes object per person, each including `more`."""
        told = []
        for place, (known, record) in enumerate(zip(self.known(records), records, strict=True)):
            fields = towards_less(record.fields, LESS) if with_fields else {}
            # Braze doesn't create users from an alias alone, unless this is set.
            made = {"_update_existing_only": False} if with_fields and [*known] == ["user_alias"] else {}
            told.append(UserObject(place, "attributes", {**known, **fields, **made, **more}))
        return self.send(told)

    def send(self, told: Sequence[UserObject]) -> Flow:
        """Send objects, in requests of the maximum size."""
        rejected: dict[int, str | Rejection] = {}
        retry: dict[int, str | Rejection] = {}
        for start in range(0, len(told), MOST_OBJECTS):
            some = told[start : start + MOST_OBJECTS]
            result = refused((yield self.post("/users/track", json=arrays(some))), some)
            rejected, retry = {**result.rejected, **rejected}, {**retry, **result.retry}
        return Result(rejected, {place: why for place, why in retry.items() if place not in rejected})

    def subscribe(self, records: Records) -> Flow:
        """Send attributes, then add people to the group, except those who left it."""
        result = yield from self.attributes(records, {})
        rejected, retry = dict(result.rejected), dict(result.retry)
        known = self.known(records)
        taken = {place: known[place] for place in range(len(known)) if place not in {*rejected, *retry}}
        for users in by_kind(taken, in_groups=True):
            asked = {"subscription_group_id": records.audience_id, f"{users.kind.name}[]": users.names}
            answer = yield self.request("GET", f"/subscription/status/get?{urlencode(asked, doseq=True)}")
            states = answer.json()["status"]
            new = []
            for place, name in zip(users.places, users.names, strict=True):
                state = str(states.get(str(name))).lower()
                if state == "unknown":
                    new.append(name)
                elif state == "unsubscribed":
                    rejected[place] = nobody("they left the subscription group, so they are not added again")
                elif state != "subscribed":
                    retry[place] = for_now("Braze does not report whether they left the group")
            if new:
                yield self.grouped(records, "subscribed", users.kind, new)
        return Result(rejected, retry)

    def unsubscribe(self, records: Records) -> Flow:
        """Remove people from the group; attributes stay unchanged."""
        for users in by_kind(dict(enumerate(self.known(records))), in_groups=True):
            yield self.grouped(records, "unsubscribed", users.kind, users.names)
        return Result()

    def grouped(
        self, records: Records, state: str, kind: UserIdentifier, names: Sequence[Any]
    ) -> httpx.Request:
        """Build the request that adds users to the audience's subscription group, or removes them."""
        group = {
            "subscription_group_id": records.audience_id,
            "subscription_state": state,
            f"{kind.name}s": names,
        }
        return self.post("/v2/subscription/status/set", json={"subscription_groups": [group]})
