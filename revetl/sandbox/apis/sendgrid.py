"""SendGrid's marketing contacts, lists, jobs and emails: docs/destinations/sendgrid.md."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_KNOWN_BY = ("email", "phone_number_id", "external_id", "anonymous_id")
_RESERVED = ("first_name", "last_name", "city", "state_province_region", "postal_code", "country")
_CUSTOM = {"e1_N": "score", "e2_T": "company", "e3_D": "seen_on"}
_KINDS = {"N": "Number", "T": "Text", "D": "Date"}
_AT_ONCE = 100
_MOST_PERSONALIZATIONS = 1_000


@dataclass(frozen=True)
class SendGridApi:
    """Contacts by an identifier, and lists. Changes are jobs, which are pending on the first status request.
    Invalid email addresses are rejected immediately, and records matched by a rule when the job ends."""

    max_contacts: int = 30_000
    max_bytes: int = 6_000_000
    name: str = "sendgrid"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        match sent.method, sent.parts[1:]:
            case "GET", ["files", job]:
                return Call(job, [], "file")
            case _ if not sent.bearer:
                return _error(401, "authorization required")
            case "POST", ["mail", "send"]:
                return _mail(sent)
            case "GET", ["marketing", "field_definitions"]:
                return Call(None, [], "fields")
            case (("GET" | "POST"), ["marketing", "lists"]):
                return Call(sent.json()["name"] if sent.raw else None, [], "create" if sent.raw else "find")
            case "GET", ["marketing", "contacts", "imports", job] if job in held.jobs:
                return Call(
                    {"job": job, "files": f"http://{sent.headers['host']}/{held.name}/v3/files"}, [], "job"
                )
            case "POST", ["marketing", "contacts", "search", *kind]:
                asked = sent.json()
                names = asked["emails"] if kind == ["emails"] else asked["identifiers"]
                if len(names) > _AT_ONCE:
                    return _error(400, f"at most {_AT_ONCE} at once")
                return Call((kind[-1].removesuffix("s"), names), [], "search")
            case "PUT", ["marketing", "contacts"]:
                return self._put(sent, held)
            case "DELETE", ["marketing", "lists", listed, "contacts"]:
                if listed not in held.lists:
                    return _error(404, "list not found")
                ids = sent.asked["contact_ids"].split(",")
                return Call(held.lists[listed], [_whose(each, held) for each in ids], "remove")
            case "DELETE", ["marketing", "contacts"]:
                ids = sent.asked["ids"].split(",")
                return Call(None, [_whose(each, held) for each in ids], "delete")
        return _error(404, "not found")

    def _put(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        body = sent.json()
        contacts = body["contacts"]
        if len(contacts) > self.max_contacts or len(sent.raw) > self.max_bytes:
            return _error(413, "the request is too large")
        if not set(body.get("list_ids", ())).issubset(held.lists):
            return _error(404, "one or more lists do not exist")
        for at, contact in enumerate(contacts):
            own = contact.get("custom_fields", {})
            if unknown := set(own).difference(_CUSTOM):
                return _error(400, f"invalid custom field ids supplied - {','.join(unknown)}")
            for name, value in own.items():
                if value is None:
                    return _error(400, f'custom field "{name}" cannot be null', f"contacts[{at}]")
                if name.endswith("_N") is isinstance(value, str):
                    return _error(400, f'custom field "{name}" has an invalid type', f"contacts[{at}]")
            if "email" in contact and "@" not in contact["email"]:
                return _error(400, f"email '{contact['email']}' is not valid", f"contacts[{at}].email")
            if not any(contact.get(name) for name in _KNOWN_BY):
                return _error(400, "at least one identifier is required", f"contacts[{at}]")
        return Call(body, [_called(contact) for contact in contacts], "add")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "mail":
                return _send(call, held, rejecting)
            case "fields":
                own = [
                    {"id": made, "name": name, "field_type": _KINDS[made[-1]]}
                    for made, name in _CUSTOM.items()
                ]
                reserved: list[dict[str, Any]] = [
                    {"name": name, "field_type": "Text"} for name in (*_RESERVED, "email")
                ]
                read_only = {"name": "created_at", "field_type": "Date", "read_only": True}
                return ApiResponse(200, {"custom_fields": own, "reserved_fields": [*reserved, read_only]})
            case "find":
                lists = [{"id": made, "name": name} for made, name in held.lists.items()]
                return ApiResponse(200, {"result": lists, "_metadata": {"count": len(lists)}})
            case "create":
                if call.body in held.lists.values():
                    return _error(400, "a list with that name exists")
                made = held.new_list(call.body)
                return ApiResponse(201, {"id": made, "name": call.body, "contact_count": 0}, applied=True)
            case "job":
                return _state(call.body, held.jobs[call.body["job"]])
            case "file":
                return ApiResponse(200, "email,error\n" + "\n".join(held.jobs[call.body]["errors"]))
            case "search":
                kind, names = call.body
                return _search(kind, names, held)
            case "remove":
                for person in call.ids:
                    held.take_out(call.body, person)
                return ApiResponse(
                    202, {"job_id": held.new_job(kind="remove", errors=[], count=0)}, applied=True
                )
            case "delete":
                for person in call.ids:
                    held.erase(person)
                return ApiResponse(
                    202, {"job_id": held.new_job(kind="delete", errors=[], count=0)}, applied=True
                )
        errors = []
        for contact, person in zip(call.body["contacts"], call.ids, strict=True):
            if (reason := refusing(rejecting, person)) is not None:
                errors.append(f"{person},{reason}")
                continue
            named = {_CUSTOM[name]: value for name, value in contact.get("custom_fields", {}).items()}
            given = {name: value for name, value in contact.items() if name != "custom_fields"}
            held.put(None, person, {**given, **named, "id": str(uuid.uuid5(uuid.NAMESPACE_URL, person))})
            for listed in call.body.get("list_ids", ()):
                held.put(held.lists[listed], person, {})
        made = held.new_job(kind="upsert", errors=errors, count=len(call.ids), asked=0)
        return ApiResponse(202, {"job_id": made}, applied=True)


def _mail(sent: ApiRequest) -> Call | ApiResponse:
    """Parse emails as `mail/send` does: a request is accepted completely or not at all."""
    body = sent.json()
    given = body.get("personalizations") or []
    if not 1 <= len(given) <= _MOST_PERSONALIZATIONS:
        return _error(400, "There must be 1 to 1000 personalizations", "personalizations")
    if "@" not in (body.get("from") or {}).get("email", ""):
        return _error(400, "The from email does not contain a valid address.", "from.email")
    if not str(body.get("template_id", "")).startswith("d-"):
        return _error(400, "The template_id must be a valid GUID", "template_id")
    categories = body.get("categories", [])
    if len(categories) > 10 or len(set(categories)) < len(categories):
        return _error(400, "The categories must be unique, and 10 at most", "categories")
    if "asm" in body and not isinstance(body["asm"].get("group_id"), int):
        return _error(400, "The group_id must be a number", "asm.group_id")
    for at, each in enumerate(given):
        if any("@" not in to.get("email", "") for to in each.get("to") or [{}]):
            where = f"personalizations.{at}.to.0.email"
            return _error(400, "Does not contain a valid address.", where)
        if any(not isinstance(value, str) for value in each.get("custom_args", {}).values()):
            return _error(400, "Custom args must be strings", f"personalizations.{at}.custom_args")
    ids = [to["email"].lower() for each in given for to in each["to"]]
    return Call(body, ids, "mail", [each.get("custom_args", {}).get("revetl_event_id") for each in given])


def _send(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    body = call.body
    for at, person in enumerate(call.ids):
        if (reason := refusing(rejecting, person)) is not None:
            return _error(400, reason, f"personalizations.{at}.to.0.email")
    if (body.get("mail_settings", {}).get("sandbox_mode") or {}).get("enable"):
        return ApiResponse(200, "")
    common = {name: body[name] for name in ("from", "reply_to", "categories", "asm") if name in body}
    for each in body["personalizations"]:
        for to in each["to"]:
            data = each.get("dynamic_template_data", {})
            # As in the real API, a retried email is not recognized as a duplicate.
            held.track(None, to["email"].lower(), body["template_id"], {**common, "to": to, "data": data})
    return ApiResponse(202, "", applied=True)


def _state(asked: dict[str, str], job: dict[str, Any]) -> ApiResponse:
    """Return a job's status: pending on the first request."""
    job["asked"] = job.get("asked", 0) + 1
    if job["asked"] == 1:
        return ApiResponse(
            200, {"id": asked["job"], "status": "pending", "job_type": job["kind"], "results": {}}
        )
    errors = job["errors"]
    status = "completed" if not errors else "failed" if len(errors) == job["count"] else "errored"
    results: dict[str, Any] = {"requested_count": job["count"], "errored_count": len(errors)}
    if errors:
        results["errors_url"] = f"{asked['files']}/{asked['job']}"
    return ApiResponse(
        200, {"id": asked["job"], "status": status, "job_type": job["kind"], "results": results}
    )


def _search(kind: str, names: list[str], held: HeldByDestination) -> ApiResponse:
    result: dict[str, Any] = {}
    for name in names:
        found = next((each for each in held.profiles.values() if each.get(kind) == name), None)
        if found is None:
            result[name] = {"error": "contact not found"}
            continue
        own = {key: value for key, value in found.items() if key in _CUSTOM.values()}
        rest = {key: value for key, value in found.items() if key not in own}
        lists = [i for i, audience in held.lists.items() if _called(found) in held.audiences[audience]]
        result[name] = {"contact": {**rest, "custom_fields": own, "list_ids": lists}}
    if not any("contact" in each for each in result.values()):
        return _error(404, "no contacts found")
    return ApiResponse(200, {"result": result})


def _called(contact: dict[str, Any]) -> str:
    return str(next((contact[name] for name in _KNOWN_BY if contact.get(name)), ""))


def _whose(made: str, held: HeldByDestination) -> str:
    return next((person for person, each in held.profiles.items() if each["id"] == made), "")


def _error(status: int, message: str, field: str | None = None) -> ApiResponse:
    return ApiResponse(status, {"errors": [{"field": field, "message": message}]})
