"""Marketo's leads, static lists and custom activities: docs/destinations/marketo.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_FIELDS = {"email": "email", "phone": "phone", "leadScore": "score", "createdAt": "datetime"} | dict.fromkeys(
    ("firstName", "lastName", "company", "city", "country", "postalCode"), "string"
)
_PLAYED_CALLS = 60
"""Calls until a token expires; Marketo's expires after an hour."""


@dataclass(frozen=True)
class MarketoApi:
    """Leads by email with ids, and lists of them. Errors have status 200, as in Marketo."""

    max_leads: int = 300
    name: str = "marketo"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        parts = [part.removesuffix(".json") for part in sent.parts]
        if parts == ["identity", "oauth", "token"]:
            given = {**sent.asked, **sent.form()}
            if not given.get("client_id") or not given.get("client_secret"):
                about = "Bad client credentials"
                return ApiResponse(401, {"error": "unauthorized", "error_description": about})
            return Call(None, [], "token")
        token = held.jobs.get("token", {})
        if token.get("value") != sent.bearer:
            return _error("601", "Access token invalid")
        if token["left"] == 0:
            return _error("602", "Access token expired")
        token["left"] -= 1
        match sent.method, parts[2:]:
            case "GET", ["leads", "describe2"]:
                return Call(None, [], "describe")
            case "GET", ["v1", "staticList", "byName"]:
                return Call(sent.asked["name"], [], "find")
            case "POST", ["v1", "staticLists"]:
                form = sent.form()
                return Call(form["name"], [], "create") if "folder" in form else _error("701", "folder")
            case "GET" | "POST", ["leads"] if sent.method == "GET" or "_method" in sent.asked:
                asked = sent.form() if sent.method == "POST" else sent.asked
                return Call(asked, [], "lookup")
            case "POST", ["leads", "delete"]:
                named = [row["id"] for row in sent.json()["input"]]
                if len(named) > self.max_leads:
                    return _error("1003", f"Cannot have more than {self.max_leads} records")
                return Call(sent.json(), [_emails(held).get(lead, "") for lead in named], "delete")
            case "POST", ["leads" | "activities" as kind, *_]:
                rows = sent.json()["input"]
                if len(rows) > self.max_leads:
                    return _error("1003", f"Cannot have more than {self.max_leads} records")
                ids = [str(row.get("email") or _emails(held).get(row.get("leadId"), "")) for row in rows]
                return Call(sent.json(), ids, "sync" if kind == "leads" else "track")
            case (("POST" | "DELETE") as method, ["lists", listed, "leads"]):
                if listed not in held.lists:
                    return _error("1013", f"List [{listed}] not found")
                leads = [int(lead) for _, lead in parse_qsl(sent.query)]
                ids = [_emails(held).get(lead, "") for lead in leads]
                body = {"audience": held.lists[listed], "leads": leads}
                return Call(body, ids, "add" if method == "POST" else "remove")
        return _error("610", "Requested resource not found")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "token":
                value = f"token-{len(held.jobs)}-{held.jobs.get('token', {}).get('count', 0)}"
                count = held.jobs.get("token", {}).get("count", 0) + 1
                held.jobs["token"] = {"value": value, "left": _PLAYED_CALLS, "count": count}
                return ApiResponse(200, {"access_token": value, "token_type": "bearer", "expires_in": 3599})
            case "describe":
                fields = [
                    {"name": name, "displayName": name, "dataType": kind, "updateable": name != "createdAt"}
                    for name, kind in _FIELDS.items()
                ]
                return _result([{"name": "API Lead", "searchableFields": [["email"]], "fields": fields}])
            case "find":
                return _result(
                    [{"id": int(i), "name": name} for i, name in held.lists.items() if name == call.body]
                )
            case "create":
                return _result([{"id": int(held.new_list(call.body)), "name": call.body}], applied=True)
            case "lookup":
                found = (held.profiles.get(email) for email in call.body["filterValues"].split(","))
                return _result([lead for lead in found if lead is not None])
        each = {"sync": self._sync, "track": self._track, "delete": self._delete}.get(
            call.operation, self._member
        )
        rows = call.body["leads"] if call.operation in ("add", "remove") else call.body["input"]
        results = []
        for row, email in zip(rows, call.ids, strict=True):
            reason = refusing(rejecting, email)
            skipped = {"status": "skipped", "reasons": [{"code": "1003", "message": reason}]}
            results.append(each(call, held, row, email) if reason is None else skipped)
        return _result(results, applied=True)

    @staticmethod
    def _sync(call: Call, held: HeldByDestination, row: dict[str, Any], email: str) -> dict[str, Any]:
        known = held.profiles.get(email)
        action = call.body.get("action", "createOrUpdate")
        if action == "createOnly" and known:
            return _skipped("1005", "Lead already exists")
        if action == "updateOnly" and not known:
            return _skipped("1004", "Lead not found")
        lead = known["id"] if known else 318_000 + len(held.profiles)
        held.put(None, email, {**row, "id": lead})
        return {"id": lead, "status": "updated" if known else "created"}

    @staticmethod
    def _delete(call: Call, held: HeldByDestination, row: dict[str, Any], email: str) -> dict[str, Any]:
        if not email:
            return {"id": row["id"], **_skipped("1004", "Lead not found")}
        held.erase(email)
        return {"id": row["id"], "status": "deleted"}

    @staticmethod
    def _track(call: Call, held: HeldByDestination, row: dict[str, Any], email: str) -> dict[str, Any]:
        if not email:
            return _skipped("1004", "Lead not found")
        about = {each["apiName"]: each["value"] for each in row["attributes"]}
        properties = {**about, "primary": row["primaryAttributeValue"]}
        held.track(None, email, str(row["activityTypeId"]), properties)
        return {"id": len(held.events), "status": "added"}

    @staticmethod
    def _member(call: Call, held: HeldByDestination, lead: int, email: str) -> dict[str, Any]:
        audience = call.body["audience"]
        if not email:
            return {"id": lead, **_skipped("1004", "Lead not found")}
        if call.operation == "add":
            held.put(audience, email, {})
            return {"id": lead, "status": "added"}
        if email not in held.audiences[audience]:
            return {"id": lead, **_skipped("1015", "Lead not in list")}
        held.take_out(audience, email)
        return {"id": lead, "status": "removed"}


def _emails(held: HeldByDestination) -> dict[int, str]:
    return {lead["id"]: email for email, lead in held.profiles.items()}


def _skipped(code: str, message: str) -> dict[str, Any]:
    return {"status": "skipped", "reasons": [{"code": code, "message": message}]}


def _error(code: str, message: str) -> ApiResponse:
    errors = [{"code": code, "message": message}]
    return ApiResponse(200, {"requestId": "1#1", "success": False, "errors": errors})


def _result(result: list[Any], *, applied: bool = False) -> ApiResponse:
    return ApiResponse(200, {"requestId": "1#1", "success": True, "result": result}, applied=applied)
