"""Events of the Data Manager API for Google Ads: docs/destinations/google_conversions.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.apis.google_ads import refused
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_SHA256 = re.compile("[0-9a-f]{64}")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_CURRENCY = re.compile("[A-Z]{3}")
_SOURCES = ("WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER")
_CLICKS = ("gclid", "gbraid", "wbraid")


@dataclass(frozen=True)
class GoogleConversionsApi:
    """Conversions of one account. One invalid event fails its request. An event with a known transaction id
    of its conversion action restates that conversion's value. Each request is still processing on the first
    status request. A person is identified by their first identifier; the custom variable `audience_key` adds
    them to that audience, or removes them if the conversion action is even."""

    max_events: int = 2_000
    max_destinations: int = 10
    name: str = "google_conversions"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            error = {"code": 401, "message": "Request is missing a credential.", "status": "UNAUTHENTICATED"}
            return ApiResponse(401, {"error": error})
        match sent.method, sent.parts:
            case "GET", ["v1", "requestStatus:retrieve"]:
                return Call(sent.asked.get("requestId"), [], "status")
            case "POST", ["v1", "events:ingest"]:
                return self._events(sent)
        error = {"code": 404, "message": "Method not found.", "status": "NOT_FOUND"}
        return ApiResponse(404, {"error": error})

    def _events(self, sent: ApiRequest) -> Call | ApiResponse:
        body = sent.json()
        targets, events = body.get("destinations") or [], body.get("events") or []
        if not 0 < len(targets) <= self.max_destinations:
            return refused([("destinations", "TOO_MANY_DESTINATIONS")])
        if not 0 < len(events) <= self.max_events:
            return refused([("events", "TOO_MANY_EVENTS")])
        wrong = [
            (f"destinations[{at}].product_destination_id", "INVALID_CONVERSION_ACTION_ID")
            for at, target in enumerate(targets)
            if not str(target.get("productDestinationId")).isdecimal()
            or target.get("operatingAccount", {}).get("accountType") != "GOOGLE_ADS"
        ]
        if wrong:
            return refused(wrong)
        ids = [str(event.get("transactionId")) for event in events]
        return Call(body, [_person(event) for event in events], "events", ids)

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "status":
            return _status(call.body, held)
        events = call.body["events"]
        bad = [
            (f"events.events[{at}].{field}", reason)
            for at, (event, person) in enumerate(zip(events, call.ids, strict=True))
            for field, reason in _wrong(event, call.body)
            or ([("user_data", "INVALID_EVENT")] if refusing(rejecting, person) else [])
        ]
        if bad:
            return refused(bad)
        if call.body.get("validateOnly"):
            return ApiResponse(200, {"requestId": "validated"})
        for event, person in zip(events, call.ids, strict=True):
            _happened(held, event, person, call.body["destinations"])
        made = held.new_job(count=len(events), targets=call.body["destinations"], state="PROCESSING")
        return ApiResponse(200, {"requestId": made}, applied=True)


def _status(request: str, held: HeldByDestination) -> ApiResponse:
    if request not in held.jobs:
        return refused([("request_id", "INVALID_REQUEST_ID")])
    job = held.jobs[request]
    state, job["state"] = job["state"], "SUCCESS"
    ended = {"eventsIngestionStatus": {"recordCount": str(job["count"])}} if state == "SUCCESS" else {}
    each = [{"destination": target, "requestStatus": state, **ended} for target in job["targets"]]
    return ApiResponse(200, {"requestStatusPerDestination": each})


def _happened(
    held: HeldByDestination, event: dict[str, Any], person: str, targets: list[dict[str, Any]]
) -> None:
    references = event.get("destinationReferences") or [each.get("reference") for each in targets]
    for target in targets:
        if target.get("reference") not in references:
            continue
        action = target["productDestinationId"]
        made = f"{action} {event['transactionId']}"
        about = {name: event[name] for name in event if name not in ("userData", "destinationReferences")}
        known = next((each for each in held.events if each["message_id"] == made), None)
        if known is not None:
            known["properties"] |= {
                name: event[name] for name in ("conversionValue", "currency") if name in event
            }
            continue
        held.track(made, person, action, about)
        for variable in event.get("customVariables", []):
            if variable["variable"] == "audience_key" and int(action) % 2:
                held.put(variable["value"], person, {})
            elif variable["variable"] == "audience_key":
                held.take_out(variable["value"], person)


def _wrong(event: dict[str, Any], body: dict[str, Any]) -> list[tuple[str, str]]:
    return list(_wrongs(event, body))


def _wrongs(event: dict[str, Any], body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    user = event.get("userData", {}).get("userIdentifiers", [])
    clicks = event.get("adIdentifiers", {})
    if not user and not any(name in clicks for name in _CLICKS):
        yield "ad_identifiers", "NO_IDENTIFIERS_PROVIDED"
    if user and body.get("encoding") != "HEX":
        yield "user_data", "INVALID_HEX_ENCODING"
    hashes = [each[name] for each in user for name in ("emailAddress", "phoneNumber") if name in each]
    hashes += [each["address"][n] for each in user if "address" in each for n in ("givenName", "familyName")]
    if not all(_SHA256.fullmatch(each) for each in hashes):
        yield "user_data", "INVALID_SHA256_FORMAT"
    if not _MOMENT.fullmatch(str(event.get("eventTimestamp"))):
        yield "event_timestamp", "INVALID_FORMAT"
    if event.get("eventSource", "WEB") not in _SOURCES:
        yield "event_source", "INVALID_ENUM_VALUE"
    if not _CURRENCY.fullmatch(event.get("currency", "EUR")):
        yield "currency", "INVALID_CURRENCY_CODE"
    if not isinstance(event.get("conversionValue", 0), int | float):
        yield "conversion_value", "INVALID_NUMBER_FORMAT"
    agreed = event.get("consent", {}).values()
    if any(value not in ("CONSENT_GRANTED", "CONSENT_DENIED") for value in agreed):
        yield "consent", "INVALID_ENUM_VALUE"
    there = [each.get("reference") for each in body["destinations"]]
    if any(name not in there for name in event.get("destinationReferences", [])):
        yield "destination_references", "INVALID_DESTINATION"


def _person(event: dict[str, Any]) -> str:
    user = event.get("userData", {}).get("userIdentifiers", [])
    clicks = event.get("adIdentifiers", {})
    first = next(iter(user[0].values())) if user else next(iter(clicks.values()), "")
    return str(first)
