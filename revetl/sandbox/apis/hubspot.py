"""HubSpot's CRM API v3: docs/destinations/hubspot.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

Row = dict[str, Any]

_TEXTS = ("email", "firstname", "lastname", "phone", "company", "city", "zip", "hs_additional_emails")
_OWN = {"shop_id": "string", "score": "number", "vip": "bool", "since": "date", "hs_object_id": "number"}
_PROPERTIES: dict[str, dict[str, str]] = {
    "contacts": {**dict.fromkeys(_TEXTS, "string"), "lifecyclestage": "enumeration", **_OWN},
    "companies": {**dict.fromkeys(("name", "domain", "phone", "city", "country"), "string"), **_OWN},
}
_EVENT = {"score": "number", "plan": "string", "hs_page_id": "string"}
_BURST = 100
_AT = "2026-01-02T03:04:05.000Z"
_DONE = {"status": "COMPLETE", "startedAt": _AT, "completedAt": _AT}


@dataclass(frozen=True)
class HubSpotApi:
    """Contacts and companies, their lists, and custom events. A contact is identified by email, a company by
    `shop_id`. Batches by email are all or nothing; so are other batches, unless each record has a trace
    id."""

    most: int = 100
    name: str = "hubspot"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return _error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        match sent.method, sent.parts:
            case "GET", ["crm", "v3", "properties", kind, *named] if kind in _PROPERTIES:
                told = [_property(name, type_) for name, type_ in _PROPERTIES[kind].items()]
                return Call(told[0] if named else {"results": told}, [], "properties")
            case "GET", ["events", "v3", "event-definitions", event] if event.startswith("pe"):
                told = [_property(name, type_) for name, type_ in _EVENT.items()]
                return Call({"fullyQualifiedName": event, "properties": told}, [], "definition")
            case "POST", ["events", "v3", "send", "batch"]:
                events = sent.json()["inputs"]
                whose = [str(event.get("email") or _named(event.get("objectId"), held)) for event in events]
                return Call(events, whose, "track", [str(event.get("uuid")) for event in events])
            case "POST", ["crm", "v3", "objects", "contacts", "gdpr-delete"]:
                named = sent.json()
                contact = _by(named.get("idProperty", "hs_object_id"), named["objectId"], held)
                return Call(named, [contact or str(named["objectId"])], "delete")
            case "POST", ["crm", "v3", "objects", kind, "batch", verb] if kind in _PROPERTIES:
                return self._batch(kind, verb, sent.json(), held)
            case "GET", ["crm", "v3", "lists", "object-type-id", _, "name", *_]:
                return Call(unquote(sent.path.rpartition("/name/")[2]), [], "find")
            case "POST", ["crm", "v3", "lists"]:
                return Call(sent.json(), [], "create")
            case "POST", ["crm", "v3", "lists", "search"]:
                return Call(sent.json(), [], "search")
            case "PUT", ["crm", "v3", "lists", made, "memberships", ("add" | "remove") as verb]:
                if made not in held.lists:
                    return _error(404, "OBJECT_NOT_FOUND", f"List does not exist with ID {made}.")
                ids = [str(each) for each in sent.json()]
                return Call({"list": made, "ids": ids}, [_named(each, held) or each for each in ids], verb)
        return _error(404, "OBJECT_NOT_FOUND", f"nothing found at {sent.path}")

    def _batch(self, kind: str, verb: str, body: Row, held: HeldByDestination) -> Call | ApiResponse:
        inputs = body["inputs"]
        if len(inputs) > self.most:
            return _error(400, "VALIDATION_ERROR", f"Batch size must be less than or equal to {self.most}")
        whole = {**body, "kind": kind, "inputs": inputs}
        return Call(whole, [_called(each, held) for each in inputs], f"batch {verb}")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        answer = self._apply(call, held, rejecting)
        left = _BURST - 1 - len(held.log) % (_BURST - 1)
        limits = {
            "X-HubSpot-RateLimit-Max": str(_BURST),
            "X-HubSpot-RateLimit-Remaining": str(left),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
        }
        return replace(answer, headers={**answer.headers, **limits})

    def _apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "batch read":
                return _read(call, held)
            case "batch upsert" | "batch create" | "batch update":
                return _write(call, held, rejecting)
            case "find":
                found = next((made for made, name in held.lists.items() if name == call.body), None)
                if found is None:
                    return _error(404, "OBJECT_NOT_FOUND", f"List does not exist with name {call.body}.")
                return ApiResponse(200, {"list": _list(found, call.body)})
            case "search":
                query = str(call.body.get("query", "")).lower()
                lists = [_list(made, name) for made, name in held.lists.items() if query in name.lower()]
                return ApiResponse(200, {"lists": lists, "hasMore": False, "offset": 0, "total": len(lists)})
            case "create":
                if call.body["name"] in held.lists.values():
                    return _error(400, "VALIDATION_ERROR", "list names must be unique")
                made = held.new_list(call.body["name"])
                return ApiResponse(200, {"list": _list(made, call.body["name"])}, applied=True)
            case "add" | "remove":
                return _listed(call, held)
            case "delete":
                if (reason := refusing(rejecting, call.ids[0])) is not None:
                    return _error(400, "VALIDATION_ERROR", reason)
                held.erase(call.ids[0])
                return ApiResponse(204, "", applied=True)
            case "track":
                return _track(call, held, rejecting)
        return ApiResponse(200, call.body)


def _read(call: Call, held: HeldByDestination) -> ApiResponse:
    """Look up records; an error names the missing ones."""
    by = call.body.get("idProperty", "hs_object_id")
    results, missing = [], []
    for each in call.body["inputs"]:
        person = _by(by, each["id"], held)
        if person is None:
            missing.append(each["id"])
        else:
            results.append(_record(held.profiles[person], call.body.get("properties", ())))
    if not missing:
        return ApiResponse(200, {**_DONE, "results": results})
    error = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects"}
    errors = [{**error, "context": {"ids": missing}, "errors": [], "links": {}}]
    return ApiResponse(207, {**_DONE, "results": results, "numErrors": 1, "errors": errors})


def _write(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    verb, inputs = call.operation.removeprefix("batch "), call.body["inputs"]
    errors = []
    for each, name in zip(inputs, call.ids, strict=True):
        reason = refusing(rejecting, name) or _wrong(call.body["kind"], verb, each, held)
        if reason is not None:
            errors.append((each, reason))
    if any(reason.startswith("CONFLICT") for _, reason in errors):
        return _error(409, "CONFLICT", errors[0][1].partition(": ")[2])
    traced = all(each.get("objectWriteTraceId") for each in inputs)
    if errors and (not traced or (verb == "upsert" and inputs[0].get("idProperty") == "email")):
        return _error(400, "VALIDATION_ERROR", errors[0][1])
    refused = [each for each, _ in errors]
    results = []
    for each, name in zip(inputs, call.ids, strict=True):
        if each in refused:
            continue
        person = _by(each.get("idProperty", "hs_object_id"), each.get("id"), held) or name
        is_new = person not in held.profiles
        if is_new:
            unique = {} if verb == "create" else {each["idProperty"]: each["id"]}
            held.put(None, person, {**unique, "hs_object_id": str(1_001 + len(held.profiles))})
        held.put(None, person, each["properties"])
        record = _record(held.profiles[person], each["properties"])
        results.append({**record, "new": is_new, "objectWriteTraceId": each.get("objectWriteTraceId")})
    told = [
        {
            "status": "error",
            "category": reason.partition(":")[0] if reason.startswith("OBJECT") else "VALIDATION_ERROR",
            "message": reason,
            "errors": [],
            "links": {},
            "context": {"objectWriteTraceId": [each["objectWriteTraceId"]]},
        }
        for each, reason in errors
    ]
    body = {**_DONE, "results": results, "numErrors": len(told), "errors": told}
    return ApiResponse(207 if told else 201 if verb == "create" else 200, body, applied=True)


def _wrong(kind: str, verb: str, given: Row, held: HeldByDestination) -> str | None:
    """Return why a record is rejected; None if it isn't."""
    known = _PROPERTIES[kind]
    for name, value in given["properties"].items():
        if name not in known:
            return f"Property values were not valid: PROPERTY_DOESNT_EXIST {name}"
        if known[name] == "number" and value != "" and not _is_number(value):
            return f"Property values were not valid: INVALID_DOUBLE {name}"
    named = given.get("id") if given.get("idProperty") == "email" else None
    address = given["properties"].get("email", named)
    if address and "@" not in str(address):
        return f"Property values were not valid: INVALID_EMAIL {address}"
    if verb == "update" and _by(given.get("idProperty", "hs_object_id"), given["id"], held) is None:
        return f"OBJECT_NOT_FOUND: no {kind} of {given['id']}"
    if verb == "create":
        for name in ("email", "shop_id"):
            value = given["properties"].get(name)
            if value and (person := _by(name, value, held)) is not None:
                return f"CONFLICT: already exists. Existing ID: {held.profiles[person]['hs_object_id']}"
    return None


def _listed(call: Call, held: HeldByDestination) -> ApiResponse:
    audience = held.lists[call.body["list"]]
    done, missing = [], []
    for each, person in zip(call.body["ids"], call.ids, strict=True):
        if person not in held.profiles:
            missing.append(each)
            continue
        is_in = person in held.audiences[audience]
        if call.operation == "add":
            held.put(audience, person, {})
        else:
            held.take_out(audience, person)
        if is_in is (call.operation == "remove"):
            done.append(each)
    added, removed = (done, []) if call.operation == "add" else ([], done)
    body = {"recordsIdsAdded": added, "recordIdsRemoved": removed, "recordIdsMissing": missing}
    return ApiResponse(200, body, applied=True)


def _track(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    for event, person in zip(call.body, call.ids, strict=True):
        if not event["eventName"].startswith("pe"):
            return _error(400, "VALIDATION_ERROR", f"no event definition {event['eventName']}")
        if refusing(rejecting, person) is not None:
            return _error(400, "VALIDATION_ERROR", f"cannot be associated: {person}")
    for event, person in zip(call.body, call.ids, strict=True):
        held.track(event.get("uuid"), person, event["eventName"], event.get("properties", {}))
    return ApiResponse(204, "", applied=True)


def _by(by: str, value: Any, held: HeldByDestination) -> str | None:
    """Return the record with a value in a property."""
    text = str(value).casefold()
    if by == "email" and text in held.profiles:
        return text
    matching = (person for person, held_ in held.profiles.items() if str(held_.get(by)).casefold() == text)
    return None if value is None else next(matching, None)


def _named(made: Any, held: HeldByDestination) -> str:
    return _by("hs_object_id", made, held) or ""


def _called(given: Row, held: HeldByDestination) -> str:
    """Return a record's name in the log."""
    properties = given.get("properties", {})
    name = given.get("id") or properties.get("email") or properties.get("shop_id")
    return _named(name, held) or str(name)


def _record(fields: Row, asked: Any) -> Row:
    """Return a record as in responses: its values are text."""
    told = {name: None if (value := fields.get(name)) is None else str(value) for name in asked}
    made = fields["hs_object_id"]
    about = {"id": made, "properties": {**told, "hs_object_id": made}, "archived": False}
    return {**about, "createdAt": _AT, "updatedAt": _AT}


def _property(name: str, type_: str) -> Row:
    return {
        "name": name,
        "type": type_,
        "fieldType": "text",
        "label": name,
        "description": "",
        "groupName": "contactinformation",
        "options": [],
        "hasUniqueValue": name in ("email", "shop_id"),
        "modificationMetadata": {
            "readOnlyValue": name in ("hs_object_id", "hs_additional_emails"),
            "archivable": True,
            "readOnlyDefinition": True,
        },
    }


def _list(made: str, name: str) -> Row:
    about = {"listId": made, "name": name, "objectTypeId": "0-1", "processingType": "MANUAL"}
    return {**about, "listVersion": 1, "processingStatus": "COMPLETE", "additionalProperties": {}}


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _error(status: int, category: str, message: str) -> ApiResponse:
    return ApiResponse(
        status, {"status": "error", "category": category, "message": message, "correlationId": "0"}
    )
