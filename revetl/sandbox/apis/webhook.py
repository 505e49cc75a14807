"""revetl's own webhook contract: docs/destinations/webhook.md."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_OPERATIONS = frozenset({"add", "update", "remove", "insert", "track", "delete"})


def _is_signed(secret: str | None, content: bytes, headers: Mapping[str, str]) -> bool:
    """Whether the signature matches the content; without a secret, any signature does."""
    if secret is None:
        return True
    signature = "sha256=" + hmac.digest(secret.encode(), content, "sha256").hex()
    return hmac.compare_digest(signature, headers.get("x-revetl-signature", ""))


@dataclass(frozen=True)
class WebhookApi:
    """revetl's own webhook contract; verifies signatures if it has a secret."""

    secret: str | None = None
    max_records: int = 10_000
    max_bytes: int = 10_000_000
    name: str = "webhook"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not _is_signed(self.secret, sent.raw, sent.headers):
            return ApiResponse(401, {"error": "invalid signature"})
        if len(sent.raw) > self.max_bytes:
            return ApiResponse(413, {"error": f"more than {self.max_bytes} bytes"})
        try:
            body = sent.json()
            ids = [str(record["id"]) for record in body["records"]]
            call = Call(body, ids, str(body["operation"]), [str(body["batch_id"])])
            if body["operation"] not in _OPERATIONS or not isinstance(body["audience"], str):
                return ApiResponse(400, {"error": "invalid operation or audience"})
        except (ValueError, KeyError, TypeError) as error:
            return ApiResponse(400, {"error": f"not a batch: {error}"})
        if len(ids) > self.max_records:
            return ApiResponse(413, {"error": f"more than {self.max_records} records"})
        return call

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        rejected = []
        for record, record_id in zip(call.body["records"], call.ids, strict=True):
            if (reason := refusing(rejecting, record_id)) is not None:
                rejected.append({"id": record["id"], "reason": reason})
            elif call.operation == "track":
                held.track(
                    record["message_id"],
                    record_id,
                    record.get("event") or call.body["event"],
                    record["fields"],
                )
            elif call.operation == "delete":
                held.erase(record_id)
            elif call.operation == "remove":
                held.take_out(call.body["audience"], record_id)
            elif call.body.get("create") is False and record_id not in held.profiles:
                rejected.append({"id": record["id"], "reason": "no such person"})
            elif call.operation == "insert" and record_id in held.profiles:
                continue
            else:
                empty = call.body.get("set_if_empty", ())
                held.put(call.body["audience"], record_id, record["fields"], empty)
        accepted = len(call.ids) - len(rejected)
        return ApiResponse(200, {"accepted": accepted, "rejected": rejected}, applied=True)


@dataclass(frozen=True)
class WebhookReadApi:
    """The webhook's `read_url`: an audience's members ordered by id, one page per request. The cursor is the
    last id of the previous page."""

    secret: str | None = None
    page_members: int = 1_000
    name: str = "webhook"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not _is_signed(self.secret, sent.query.encode(), sent.headers):
            return ApiResponse(401, {"error": "invalid signature"})
        asked = sent.asked
        if "audience" not in asked:
            return ApiResponse(400, {"error": "audience is missing"})
        return Call(asked, [], "read")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        after = call.body.get("cursor", "")
        there = sorted(person for person in held.audiences.get(call.body["audience"], {}) if person > after)
        page = there[: self.page_members]
        members = [{"id": person, "fields": held.profiles.get(person, {})} for person in page]
        last = page[-1] if len(there) > len(page) else None
        return ApiResponse(200, {"members": members, "next": last})
