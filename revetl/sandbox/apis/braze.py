"""Braze's API: docs/destinations/braze.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import Answer, Call, Sent, refusing
from revetl.sandbox.rules import Rule
from revetl.sandbox.store import Held


@dataclass(frozen=True)
class BrazeApi:
    """Braze's `/users/track`: attributes, at most 75 objects of a kind."""

    max_objects: int = 75
    name: str = "braze"

    def read(self, sent: Sent, held: Held) -> Call | Answer:
        if not sent.headers.get("authorization", "").startswith("Bearer "):
            return Answer(401, {"message": "Invalid API key"})
        try:
            body = sent.json()
            kinds = [kind for kind in ("attributes", "events", "purchases") if kind in body]
            ids = [_braze_id(user) for kind in ("attributes", "events") for user in body.get(kind, [])]
        except (ValueError, TypeError, AttributeError):
            return Answer(400, {"message": "Invalid JSON"})
        if not kinds:
            return Answer(400, {"message": "'attributes', 'events' or 'purchases' is required"})
        for kind in kinds:
            if len(body[kind]) > self.max_objects:
                return Answer(400, {"message": f"'{kind}' may have {self.max_objects} objects at the most"})
        return Call(body, ids, ",".join(kinds))

    def apply(self, call: Call, held: Held, rejecting: list[Rule]) -> Answer:
        errors = []
        for kind in ("attributes", "events"):
            for index, given in enumerate(call.body.get(kind, [])):
                person = _braze_id(given)
                reason = "'external_id', 'user_alias', 'braze_id', 'email' or 'phone' is required"
                refused = refusing(rejecting, person) if person else reason
                if refused is not None:
                    errors.append({"type": refused, "input_array": kind, "index": index})
                elif kind == "events":
                    held.track(None, person, given["name"], given.get("properties") or {})
                elif not given.get("_update_existing_only") or person in held.profiles:
                    # Braze says nothing of whom it does not know and may not create.
                    named = ("external_id", "_update_existing_only")
                    held.merge(person, {name: value for name, value in given.items() if name not in named})
        body: dict[str, Any] = {"message": "success", "attributes_processed": len(call.ids) - len(errors)}
        if errors:
            body["errors"] = errors
        headers = {"X-RateLimit-Limit": "3000", "X-RateLimit-Remaining": "2999", "X-RateLimit-Reset": "0"}
        return Answer(201, body, headers, applied=True)


def _braze_id(user: Mapping[str, Any]) -> str:
    for name in ("external_id", "braze_id", "email", "phone"):
        if user.get(name):
            return str(user[name])
    alias = user.get("user_alias")
    return f"{alias['alias_label']}:{alias['alias_name']}" if alias else ""
