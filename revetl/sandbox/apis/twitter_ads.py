"""X's Custom Audiences: docs/destinations/twitter_ads.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_HASHED = frozenset({"email", "phone_number", "handle", "twitter_id", "device_id"})
_SHA256 = re.compile("[0-9a-f]{64}")
_SIGNED = frozenset({"consumer_key", "token", "signature", "signature_method", "timestamp", "nonce"})


@dataclass(frozen=True)
class TwitterAdsApi:
    """Audiences of an ad account, and their users. A person is identified by their first id; one bad
    operation fails its whole request. Signatures aren't verified, but can be used only once."""

    max_operations: int = 2_500
    max_bytes: int = 5_000_000
    name: str = "twitter_ads"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        signed = dict(re.findall(r'oauth_(\w+)="([^"]*)"', sent.headers.get("authorization", "")))
        nonce = unquote(signed.get("nonce", ""))
        if not signed.keys() >= _SIGNED or nonce in held.seen_messages:
            return _error(401, "UNAUTHORIZED_ACCESS", "This request is not properly authenticated")
        held.seen_messages.add(nonce)
        match sent.method, sent.parts[2:]:
            case "GET", [account]:
                return Call({"id": account, "name": "sandbox"}, [], "probe")
            case "GET", [_, "custom_audiences"]:
                return Call(None, [], "find")
            case "GET", [_, "custom_audiences", audience] if audience in held.lists:
                size = len(held.audiences[held.lists[audience]])
                about = {"id": audience, "name": held.lists[audience], "audience_size": size}
                return Call(about, [], "probe")
            case "POST", [_, "custom_audiences"]:
                return Call(sent.asked["name"], [], "create")
            case "POST", [_, "custom_audiences", audience, "users"] if audience in held.lists:
                return self._users(sent, audience)
        return _error(404, "NOT_FOUND", f"{sent.path} was not found")

    def _users(self, sent: ApiRequest, audience: str) -> Call | ApiResponse:
        operations = sent.json()
        if len(operations) > self.max_operations or len(sent.raw) > self.max_bytes:
            return _error(400, "INVALID_PARAMETER", f"the maximum is {self.max_operations} operations")
        people = [person for each in operations for person in each["params"]["users"]]
        ids = [str(next((values[0] for values in person.values()), "")) for person in people]
        return Call({"audience": audience, "operations": operations}, ids, "users")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        if call.operation == "probe":
            return _data(call.body)
        if call.operation == "find":
            return _data([{"id": made, "name": name} for made, name in held.lists.items()])
        if call.operation == "create":
            return _data({"id": held.new_list(call.body), "name": call.body})
        ids = iter(call.ids)
        taken, errors = [], []
        for operation in call.body["operations"]:
            people = [(next(ids), known) for known in operation["params"]["users"]]
            taken += [(operation["operation_type"], person, known) for person, known in people]
            reasons = [_problem(person, known, rejecting) for person, known in people]
            errors.append([{"code": "INVALID_PARAMETER", "message": why} for why in reasons if why])
        if any(errors):
            return ApiResponse(400, {"errors": [], "operation_errors": errors})
        for kind, person, known in taken:
            if kind == "Update":
                held.put(held.lists[call.body["audience"]], person, known)
            else:
                held.take_out(held.lists[call.body["audience"]], person)
        return _data({"success_count": len(taken), "total_count": len(taken)})


def _problem(person: str, known: dict[str, list[str]], rejecting: list[MisbehaviorRule]) -> str | None:
    unhashed = [
        name
        for name, values in known.items()
        if name in _HASHED and not all(_SHA256.fullmatch(value) for value in values)
    ]
    if unhashed or not known:
        return f"Expected sha256 hashes: {', '.join(unhashed)}"
    return refusing(rejecting, person)


def _data(found: Any) -> ApiResponse:
    return ApiResponse(200, {"request": {"params": {}}, "data": found, "next_cursor": None}, applied=True)


def _error(status: int, code: str, message: str) -> ApiResponse:
    return ApiResponse(status, {"errors": [{"code": code, "message": message}], "request": {"params": {}}})
