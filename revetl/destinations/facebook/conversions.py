"""Meta's Conversions API: docs/destinations/facebook_conversions.md."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.destination import (
    AnswerNotUnderstood,
    Batch,
    Flow,
    Identifier,
)
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.destinations.base.records import Record, Records, Result, SyncContext
from revetl.destinations.base.timestamps import since_epoch, too_old
from revetl.destinations.facebook.graph import FacebookGraph

ActionSource = Literal[
    "email",
    "website",
    "app",
    "phone_call",
    "chat",
    "physical_store",
    "system_generated",
    "business_messaging",
    "other",
]
OF_THE_EVENT = frozenset(
    {"action_source", "event_id", "event_source_url", "referrer_url", "opt_out", "messaging_channel"}
    | {"app_data", "original_event_data", "attribution_data", "advanced_measurement_table"}
    | {f"data_processing_options{part}" for part in ("", "_country", "_state")}
)
"""Top-level fields of an event, next to `custom_data`."""
TOO_BROAD = (
    {"ct", "country", "st", "zp", "ge", "client_user_agent"},
    {"db", "client_user_agent"},
    {"fn", "ge"},
    {"ln", "ge"},
)
"""Combinations of identifiers that Meta rejects as too broad."""
LONGEST_AGO, LONGEST_AGO_IN_STORE = timedelta(days=7), timedelta(days=62)

UNDERSTOOD = (
    SuccessShape("POST /events", {"events_received": int}),
    SuccessShape("GET *", {"id": str}),
)


class FacebookConversions(FacebookGraph, WithholdsPersonalData):
    """Events of a pixel or dataset, with all available hashed keys of each person."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=1_000)
    matches_by_all: ClassVar[bool] = True
    named_is_allowed: ClassVar[bool] = False
    withholds_always: ClassVar[bool] = True
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("external_id", column="user_id", hashed="text"),
        Identifier("em", column="email", hashed="email"),
        Identifier("ph", column="phone", hashed="e164_digits"),
        Identifier("fn", column="first_name", hashed="name"),
        Identifier("ln", column="last_name", hashed="name"),
        Identifier("ct", column="city", hashed="letters", alone=False),
        Identifier("st", column="state", hashed="letters", alone=False),
        Identifier("zp", column="postal_code", hashed="zip", alone=False),
        Identifier("country", column="country", hashed="country", alone=False),
        Identifier("ge", column="gender", hashed="gender", alone=False),
        Identifier("db", column="date_of_birth", hashed="birth_date", alone=False),
        Identifier("client_ip_address", column="client_ip_address"),
        Identifier("client_user_agent", column="client_user_agent", alone=False),
        Identifier("fbc", column="fbc"),
        Identifier("fbp", column="fbp"),
        Identifier("subscription_id", column="subscription_id"),
        Identifier("fb_login_id", column="fb_login_id"),
        Identifier("lead_id", column="lead_id"),
        Identifier("anon_id", column="anon_id"),
        Identifier("madid", column="mobile_ad_id", normalised="lower"),
        Identifier("page_id", column="facebook_page_id", alone=False),
        Identifier("page_scoped_user_id", column="facebook_page_user_id"),
        Identifier("ctwa_clid", column="ctwa_clid"),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("pixel_id",)

    type: Literal["facebook_conversions"]
    pixel_id: Annotated[str, Field(coerce_numbers_to_str=True)]
    action_source: ActionSource = "website"
    test_event_code: str | None = None

    def track(self, records: Records) -> Flow:
        """Send events. A bad event fails its request, which is bisected."""
        body: dict[str, Any] = {"data": [self.event(records, record) for record in records]}
        if self.test_event_code:
            body["test_event_code"] = self.test_event_code
        answer = yield self.call("POST", f"{self.pixel_id}/events", json=body)
        if (received := answer.json()["events_received"]) < len(records):
            raise AnswerNotUnderstood(f"the response reports {received} of {len(records)} events as received")
        return Result()

    def event(self, records: Records, record: Record) -> dict[str, Any]:
        """Return an event: fields are custom data, except the event's own fields."""
        fields = {name: value for name, value in record.fields.items() if value is not None}
        custom = {name: value for name, value in fields.items() if name not in OF_THE_EVENT}
        made: dict[str, Any] = {
            "event_name": records.event_of(record),
            "event_time": since_epoch(str(record.timestamp or records.at), timedelta(seconds=1)),
            "event_id": records.event_id(record),
            "action_source": self.action_source,
        }
        if self.limited_data_use:
            # Country and state 0: Meta determines whether the person's state applies.
            made["data_processing_options"] = ["LDU"]
            made |= dict.fromkeys(("data_processing_options_country", "data_processing_options_state"), 0)
        made |= {name: value for name, value in fields.items() if name in OF_THE_EVENT}
        return {**made, "user_data": record.identifiers, **({"custom_data": custom} if custom else {})}

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """Accept any single identifier or pair that isn't too broad."""
        names = [each.name for each in self.known_by]
        sets = [frozenset(each) for number in (1, 2) for each in combinations(names, number)]
        enough = [each for each in sets if not any(each <= broad for broad in TOO_BROAD)]
        return tuple(each for each in enough if not any(other < each for other in enough))

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        source = record.fields.get("action_source") or self.action_source
        longest = LONGEST_AGO_IN_STORE if source == "physical_store" else LONGEST_AGO
        return too_old(record.timestamp, context.at, longest, "Meta")

    def probe(self) -> httpx.Request:
        return self.call("GET", self.pixel_id, asked={"fields": "id,name"})
