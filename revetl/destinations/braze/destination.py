"""Braze's users, events, purchases and subscription groups: docs/destinations/braze.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal
from urllib.parse import urlencode

import httpx
import orjson

from revetl.destinations.base.answers import Understood
from revetl.destinations.base.consent import towards_less
from revetl.destinations.base.destination import (
    Attribute,
    Batch,
    Flow,
    Identifier,
    Rate,
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
    Kind,
    Told,
    arrays,
    by_kind,
    happenings,
    refused,
)

LESS = {"email_subscribe": ("unsubscribed",), "push_subscribe": ("unsubscribed",), "subscription_groups": ()}

UNDERSTOOD = (
    Understood(
        "POST /users/track",
        {
            "message": ("success", "queued"),
            "errors?": [{"type": str, "index": int, "input_array?": str}],
        },
    ),
    Understood("POST /users/delete", {"deleted": int}),
    Understood("POST /v2/subscription/status/set", {"message": "success"}),
    Understood("GET /subscription/status/get", {"status": dict}),
)


class Braze(BrazeWorkspace):
    """Attributes of Braze users by external id; a mirrored audience is a boolean custom attribute of its
    name, or a subscription group, which nobody is put into who has left it."""

    understood: ClassVar[tuple[Understood, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=MOST_OBJECTS)
    rate: ClassVar[Rate | None] = Rate(requests=3_000, per_seconds=3)
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
        # Attributes can be set twice; an event or a purchase has no id, and would be there twice.
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
        """An event of each person, with the fields as its properties; of a purchase, an object a product."""
        told = []
        for place, (known, record) in enumerate(zip(self.known(records), records, strict=True)):
            about = {**known, "time": record.timestamp or records.at}
            if self.app_id is not None:
                about["app_id"] = self.app_id
            happened = happenings(records.event_of(record), record.fields, self.purchase_events)
            told += [Told(place, kind, {**about, **what}) for kind, what in happened]
        return self.send(told)

    def attributes(self, records: Records, more: Mapping[str, bool], *, with_fields: bool = True) -> Flow:
        """One attributes object a person, with `more` in each."""
        told = []
        for place, (known, record) in enumerate(zip(self.known(records), records, strict=True)):
            fields = towards_less(record.fields, LESS) if with_fields else {}
            # Of an alias alone Braze makes nobody, unless it is told to.
            made = {"_update_existing_only": False} if with_fields and [*known] == ["user_alias"] else {}
            told.append(Told(place, "attributes", {**known, **fields, **made, **more}))
        return self.send(told)

    def send(self, told: Sequence[Told]) -> Flow:
        """Send objects, as many a request as one takes."""
        rejected: dict[int, str | Rejection] = {}
        retry: dict[int, str | Rejection] = {}
        for start in range(0, len(told), MOST_OBJECTS):
            some = told[start : start + MOST_OBJECTS]
            result = refused((yield self.post("/users/track", json=arrays(some))), some)
            rejected, retry = {**result.rejected, **rejected}, {**retry, **result.retry}
        return Result(rejected, {place: why for place, why in retry.items() if place not in rejected})

    def subscribe(self, records: Records) -> Flow:
        """The attributes, and then into the group, but for those who have left it."""
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
                    rejected[place] = nobody("they have left the subscription group, and are not put back")
                elif state != "subscribed":
                    retry[place] = for_now("Braze does not tell whether they have left the group")
            if new:
                yield self.grouped(records, "subscribed", users.kind, new)
        return Result(rejected, retry)

    def unsubscribe(self, records: Records) -> Flow:
        """Out of the group; the attributes stay as they are."""
        for users in by_kind(dict(enumerate(self.known(records))), in_groups=True):
            yield self.grouped(records, "unsubscribed", users.kind, users.names)
        return Result()

    def grouped(self, records: Records, state: str, kind: Kind, names: Sequence[Any]) -> httpx.Request:
        """Users into the audience's subscription group, or out of it."""
        group = {
            "subscription_group_id": records.audience_id,
            "subscription_state": state,
            f"{kind.name}s": names,
        }
        return self.post("/v2/subscription/status/set", json={"subscription_groups": [group]})
