"""Meta's Conversions API: docs/destinations/facebook_conversions.md."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.apis.facebook_ads import graph_error
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_HASHED = ("em", "ph", "fn", "ln", "ct", "st", "zp", "country", "ge", "db")
_SHA256 = re.compile("[0-9a-f]{64}")
_DAY = 86_400


@dataclass(frozen=True)
class FacebookConversionsApi:
    """Events of a pixel. A person is identified by external id, else their first key. One bad event fails its
    request; events with a known name and id are dropped. Entering an audience makes a person its member until
    they leave."""

    max_events: int = 1_000
    name: str = "facebook_conversions"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return graph_error(401, 190, "Invalid OAuth access token")
        match sent.method, sent.parts[1:]:
            case "GET", [pixel]:
                return Call({"id": pixel, "name": "sandbox"}, [], "probe")
            case "POST", [_, "events"]:
                events = sent.json().get("data") or []
                if not 0 < len(events) <= self.max_events:
                    return graph_error(400, 100, f"1 to {self.max_events} events")
                people = [_person(event.get("user_data") or {}) for event in events]
                return Call(events, people, "events", [str(event.get("event_id")) for event in events])
        return graph_error(400, 2500, f"Unknown path components: {sent.path}")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "probe":
            return ApiResponse(200, call.body)
        for event, person in zip(call.body, call.ids, strict=True):
            if (wrong := _wrong(event, person) or refusing(rejecting, person)) is not None:
                return graph_error(400, 100, "Invalid parameter", error_user_msg=wrong)
        for event, person, event_id in zip(call.body, call.ids, call.message_ids, strict=True):
            seen = f"{event['event_name']} {event_id}"
            if seen not in held.seen_messages:
                held.seen_messages.add(seen)
                _happened(held, event, person, event_id)
        said = {"events_received": len(call.ids), "messages": [], "fbtrace_id": "sandbox"}
        return ApiResponse(200, said, applied=True)


def _happened(held: HeldByDestination, event: dict[str, Any], person: str, event_id: str) -> None:
    custom = event.get("custom_data") or {}
    held.track(event_id, person, event["event_name"], custom)
    audience = custom.get("audience_key")
    if audience is not None and custom.get(audience):
        held.put(audience, person, custom)
    elif audience is not None:
        held.take_out(audience, person)


def _wrong(event: dict[str, Any], person: str) -> str | None:
    if not person:
        return "user_data has no key"
    missing = [name for name in ("event_name", "event_time", "action_source") if not event.get(name)]
    if missing:
        return f"missing: {', '.join(missing)}"
    plain = [name for name in _HASHED if not _SHA256.fullmatch(event["user_data"].get(name, "0" * 64))]
    if plain:
        return f"not hashed: {', '.join(plain)}"
    days = 62 if event["action_source"] == "physical_store" else 7
    return None if event["event_time"] > time.time() - days * _DAY else "event_time is too long ago"


def _person(user: dict[str, Any]) -> str:
    return str(user.get("external_id") or next((value for value in user.values() if value), ""))
