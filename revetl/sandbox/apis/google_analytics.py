"""GA4's Measurement Protocol: docs/destinations/google_analytics.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import orjson

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")
_OWN = ("ga_", "google_", "firebase_")


@dataclass(frozen=True)
class GoogleAnalyticsApi:
    """Events and user properties. As in the real API, invalid data gets a 204 and is dropped; only the
    validation endpoint reports errors."""

    name: str = "google_analytics"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if sent.method != "POST" or sent.parts[-2:] != ["mp", "collect"]:
            return ApiResponse(404, None)
        try:
            body = sent.json()
        except ValueError:
            body = None
        wrong = _wrong(body, sent)
        if sent.parts[0] == "debug":
            return ApiResponse(200, {"validationMessages": wrong})
        stream = {"measurement_id", "firebase_app_id"} & sent.asked.keys()
        if wrong or not stream or not sent.asked.get("api_secret"):
            return ApiResponse(204, "")
        person = str(body.get("client_id") or body["app_instance_id"])
        return Call(body, [person], "collect")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        # GA4 never reports rejections, so rules that reject have no effect here.
        (person,) = call.ids
        properties = call.body.get("user_properties", {})
        held.merge(person, {name: given["value"] for name, given in properties.items()})
        for event in call.body["events"]:
            held.track(None, person, event["name"], event.get("params", {}))
        return ApiResponse(204, "", applied=True)


def _wrong(body: Any, sent: ApiRequest) -> list[dict[str, str]]:
    """Return Google's validation messages for a body."""

    def message(path: str, code: str, text: str) -> dict[str, str]:
        return {"fieldPath": path, "description": text, "validationCode": code}

    if not isinstance(body, dict):
        return [message("", "VALUE_INVALID", "Unable to parse the body.")]
    found = []
    known = "app_instance_id" if "firebase_app_id" in sent.asked else "client_id"
    if not body.get(known):
        found.append(message(known, "VALUE_REQUIRED", f"Measurement requires a {known}."))
    events = body.get("events") or []
    if not 1 <= len(events) <= 25 or len(orjson.dumps(body)) > 130_000:
        found.append(message("events", "EXCEEDED_MAX_ENTITIES", "1 to 25 events, in 130kB."))
    texts: list[tuple[str, str, int, object, int]] = []
    for event in events:
        texts.append(("events", event.get("name", ""), 40, None, 0))
        texts += [
            ("events.params", name, 40, value, 1_000) for name, value in event.get("params", {}).items()
        ]
    given = body.get("user_properties", {}).items()
    texts += [("user_properties", name, 24, each["value"], 36) for name, each in given]
    for path, name, longest, value, most in texts:
        if not _NAME.fullmatch(name) or len(name) > longest or name.startswith(_OWN):
            found.append(
                message(path, "NAME_INVALID", f"[{name}] is not a name of at most {longest} characters.")
            )
        if isinstance(value, str) and len(value) > most:
            found.append(message(path, "VALUE_OUT_OF_BOUNDS", f"[{name}] has over {most} characters."))
    return found
