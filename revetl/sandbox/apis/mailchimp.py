"""Mailchimp's lists: docs/destinations/mailchimp.md."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_MERGE_FIELDS = {"FNAME": "text", "LNAME": "text", "PHONE": "phone", "SCORE": "number"}
_FORGOTTEN = "was permanently deleted and cannot be re-imported"
_COMPLIANCE = "is in a compliance state due to unsubscribe, bounce, or compliance review"


@dataclass(frozen=True)
class MailchimpApi:
    """Members of a list by the hash of their email, and its tags. New members need a status, unsubscribed
    members can't be resubscribed, and permanently deleted ones can't be created again."""

    max_members: int = 500
    name: str = "mailchimp"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.headers.get("authorization", "").startswith(("Basic ", "Bearer ")):
            return _problem(401, "API Key Invalid", "Your API key may be invalid")
        body = sent.json() if sent.raw else {}
        match sent.method, sent.parts[2:]:
            case "GET", [listed]:
                return Call({"id": listed, "name": "sandbox"}, [], "probe")
            case "GET", [_, "merge-fields"]:
                return Call(None, [], "fields")
            case "GET", [_, "segments"]:
                return Call(None, [], "find")
            case "POST", [_, "segments"]:
                return Call(body["name"], [], "create")
            case "POST", [_, "segments", segment]:
                if segment not in held.lists:
                    return _problem(404, "Resource Not Found", "The requested resource could not be found.")
                adds = "members_to_add" in body
                names = [name.lower() for name in body["members_to_add" if adds else "members_to_remove"]]
                if len(names) > self.max_members:
                    return _problem(400, "Invalid Resource", f"more than {self.max_members} members")
                return Call(held.lists[segment], names, "tag" if adds else "untag")
            case "POST", [_]:
                if len(body["members"]) > self.max_members:
                    return _problem(400, "Invalid Resource", f"more than {self.max_members} members")
                ids = [str(member["email_address"]).lower() for member in body["members"]]
                return Call(body, ids, "batch")
            case "POST", [_, "members", hashed, "events"]:
                person = _whose(hashed, held)
                return Call(body, [person], "track") if person else _problem(404, "Resource Not Found", "")
            case "POST", [_, "members", hashed, "actions", "delete-permanent"]:
                person = _whose(hashed, held)
                return Call(None, [person], "delete") if person else _problem(404, "Resource Not Found", "")
            case ("PUT" | "PATCH") as method, [_, "members", hashed]:
                person = _whose(hashed, held)
                if not person and method == "PATCH":
                    return _problem(404, "Resource Not Found", "The requested resource could not be found.")
                return Call(body, [person or str(body["email_address"]).lower()], "member")
        return _problem(404, "Resource Not Found", f"nothing found at {sent.path}")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "fields":
                fields = [{"tag": tag, "name": tag.title(), "type": k} for tag, k in _MERGE_FIELDS.items()]
                return ApiResponse(200, {"merge_fields": fields, "total_items": len(fields)})
            case "find":
                segments = [{"id": int(made), "name": name} for made, name in held.lists.items()]
                return ApiResponse(200, {"segments": segments, "total_items": len(segments)})
            case "create":
                made = int(held.new_list(call.body))
                return ApiResponse(200, {"id": made, "name": call.body, "type": "static"}, applied=True)
            case "tag" | "untag":
                return _tagged(call, held)
            case "batch":
                return _batch(call, held, rejecting)
            case "member":
                (person,) = call.ids
                refused = refusing(rejecting, person) or _put(person, call.body, held, call.body)
                if refused is not None:
                    return _problem(400, "Invalid Resource", f"{person} {refused}")
                return ApiResponse(200, _member(person, held), applied=True)
            case "track":
                held.track(None, call.ids[0], call.body["name"], call.body.get("properties", {}))
                return ApiResponse(204, "", applied=True)
            case "delete":
                (person,) = call.ids
                held.erase(person)
                held.seen_messages.add(person)
                return ApiResponse(204, "", applied=True)
        return ApiResponse(200, call.body)


def _batch(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    new: list[dict[str, Any]] = []
    updated: list[dict[str, Any]] = []
    errors = []
    for member, person in zip(call.body["members"], call.ids, strict=True):
        is_there = person in held.profiles
        refused, code = refusing(rejecting, person), "ERROR_GENERIC"
        if refused is None and is_there and not call.body.get("update_existing"):
            refused, code = "is already a list member", "ERROR_CONTACT_EXISTS"
        refused = refused or _put(person, member, held, {"status_if_new": member.get("status")})
        if refused is None:
            (updated if is_there else new).append(_member(person, held))
        else:
            error = {"email_address": member["email_address"], "error": refused, "error_code": code}
            errors.append({**error, "field": "", "field_message": ""})
    body = {"new_members": new, "updated_members": updated, "errors": errors}
    counts = {"total_created": len(new), "total_updated": len(updated), "error_count": len(errors)}
    return ApiResponse(200, {**body, **counts}, applied=True)


def _put(person: str, member: dict[str, Any], held: HeldByDestination, new: dict[str, Any]) -> str | None:
    """Store a member; returns the reason if it is rejected."""
    known = held.profiles.get(person)
    status = member.get("status") or (known or {}).get("status") or new.get("status_if_new")
    if "@" not in person:
        return "Please provide a valid email address."
    if known is None and person in held.seen_messages:
        return _FORGOTTEN
    if status is None:
        return "a status is required of a new member"
    if known and known["status"] in ("unsubscribed", "cleaned") and status == "subscribed":
        return _COMPLIANCE
    held.put(None, person, {**member.get("merge_fields", {}), "status": status})
    return None


def _tagged(call: Call, held: HeldByDestination) -> ApiResponse:
    done = []
    for person in call.ids:
        # People who aren't on the list are ignored.
        if person not in held.profiles:
            continue
        if call.operation == "tag":
            held.put(call.body, person, {})
        else:
            held.take_out(call.body, person)
        done.append({"email_address": person})
    added, removed = (done, []) if call.operation == "tag" else ([], done)
    counts = {"total_added": len(added), "total_removed": len(removed), "error_count": 0}
    body = {"members_added": added, "members_removed": removed, "errors": [], **counts}
    return ApiResponse(200, body, applied=True)


def _member(person: str, held: HeldByDestination) -> dict[str, Any]:
    fields = held.profiles[person]
    merge = {name: value for name, value in fields.items() if name != "status"}
    about = {"id": _hash(person), "email_address": person, "status": fields["status"]}
    return {**about, "merge_fields": merge}


def _whose(hashed: str, held: HeldByDestination) -> str:
    return next((person for person in held.profiles if hashed in (_hash(person), person)), "")


def _hash(person: str) -> str:
    return hashlib.md5(person.encode(), usedforsecurity=False).hexdigest()


def _problem(status: int, title: str, detail: str) -> ApiResponse:
    about = "https://mailchimp.com/developer/marketing/docs/errors/"
    return ApiResponse(
        status, {"type": about, "title": title, "status": status, "detail": detail, "instance": ""}
    )
