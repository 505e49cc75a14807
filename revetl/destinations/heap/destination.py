"""Heap's server-side API: docs/destinations/heap.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.auth.basic import basic
from revetl.destinations.base.answers import ACKNOWLEDGED, EMPTY, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    Refused,
)
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.destinations.base.records import Record, Records, Result, SyncContext
from revetl.destinations.base.shapes import Shape

HOSTS = {"us": "https://heapanalytics.com", "eu": "https://c.eu.heap-api.com"}
LONGEST_IDENTITY, LONGEST_EVENT = 255, 1_024
RESERVED = frozenset({"id", "user_id"})
"""Names not allowed for user properties, regardless of case."""
EVENT = Shape(lists=True, longest=lambda _: LONGEST_EVENT)
"""Event properties: scalars and lists; Heap truncates longer texts itself."""

UNDERSTOOD = (
    SuccessShape("POST /api/add_user_properties", (EMPTY, ACKNOWLEDGED, dict)),
    SuccessShape("POST /api/track", (EMPTY, ACKNOWLEDGED, dict)),
    SuccessShape("POST /auth_token", {"access_token": str}),
    SuccessShape("POST /user_deletion", {"status": str}),
)


class Heap(WithholdsPersonalData):
    """User properties and events of Heap by identity. A mirrored audience is a boolean user property with its
    name, usable in Heap's segments."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=1_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=15, per_seconds=60)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("identity", column="user_id"),
        Identifier("user_id", column="heap_user_id"),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("app_id",)

    type: Literal["heap"]
    app_id: Annotated[str, Field(coerce_numbers_to_str=True)]
    api_key: SecretStr | None = None
    region: Literal["us", "eu"] = "us"
    base_url: Annotated[str, Field(pattern="^https?://")] = ""
    deletion_url: Annotated[str, Field(pattern="^https?://")] = HOSTS["us"]

    @model_validator(mode="before")
    @classmethod
    def _regional_host(cls, data: Any) -> Any:
        return {"base_url": HOSTS.get(data.get("region", "us"), HOSTS["us"]), **data}

    def upsert(self, records: Records) -> Flow:
        return self.properties(records, {})

    def add(self, records: Records) -> Flow:
        return self.properties(records, {records.audience: True})

    update = add

    def remove(self, records: Records) -> Flow:
        return self.properties(records, {records.audience: False}, with_fields=False)

    def properties(self, records: Records, more: Mapping[str, Any], *, with_fields: bool = True) -> Flow:
        """Set properties of users, adding `more` to each."""
        users = [
            {**known(record), "properties": {**(given(record) if with_fields else {}), **more}}
            for record in records
        ]
        yield self.post("/api/add_user_properties", json={"app_id": self.app_id, "users": users})
        return Result()

    def track(self, records: Records) -> Flow:
        """Send events, with the fields as their properties. Heap drops events with a known idempotency
        key."""
        events = [
            {
                **known(record),
                "event": records.event_of(record),
                "timestamp": record.timestamp or records.at,
                "properties": given(record),
                "idempotency_key": records.event_id(record),
            }
            for record in records
        ]
        yield self.post("/api/track", json={"app_id": self.app_id, "events": events})
        return Result()

    def delete(self, records: Records) -> Flow:
        """Submit people for deletion, with a token that is valid for five minutes."""
        answer = yield self.token()
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        users = {"users": [known(record) for record in records]}
        yield httpx.Request("POST", self.privacy("user_deletion"), headers=bearer, json=users)
        return Result()

    def token(self) -> httpx.Request:
        """Build the request for a token of the deletion API."""
        key = "" if self.api_key is None else self.api_key.get_secret_value()
        basics = {"Authorization": basic(self.app_id, key)}
        return httpx.Request("POST", self.privacy("auth_token"), headers=basics)

    def privacy(self, path: str) -> str:
        """Return a URL of the deletion API, which has one host for both regions."""
        return f"{self.deletion_url.rstrip('/')}/api/public/v0/{path}"

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if mode == "delete" and self.api_key is None:
            raise Refused("Heap's deletion API needs an API key. Set api_key (Privacy & Security).")
        if mode not in ("events", "audience_events"):
            own = [context.audience] if mode == "mirror" else []
            _check_names([*fields, *own])
        return context
        yield

    def adjusted(self, mode: str, record: Record) -> tuple[Record, Mapping[str, str]]:
        if mode not in ("events", "audience_events"):
            return record, {}
        fields, how = EVENT.fitted(record.fields)
        return record._replace(fields=fields), how

    def limits_of(self, mode: str) -> Batch:
        return Batch(records=10_000) if mode == "delete" else self.limits

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        if mode in ("events", "audience_events", "delete"):
            return super().found_by(mode)
        # User properties are set by identity.
        return (frozenset({"identity"}),)

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        if len(str(record.identifiers.get("identity", ""))) > LONGEST_IDENTITY:
            return f"its identity is longer than {LONGEST_IDENTITY} characters"
        if len(context.event_of(record)) > LONGEST_EVENT:
            return f"its event name is longer than {LONGEST_EVENT} characters"
        return None

    @property
    def can_probe(self) -> bool:
        return self.api_key is not None

    def probe(self) -> httpx.Request:
        return self.token()

    def judge(self, response: httpx.Response) -> Disposition:
        # A wrong app_id affects every record.
        if response.status_code == 400 and "app_id" in response.text.lower():
            return Disposition.FATAL
        return super().judge(response)


def known(record: Record) -> dict[str, str]:
    """Return the identity, else Heap's own id: the API accepts only one of them."""
    name = "identity" if "identity" in record.identifiers else "user_id"
    return {name: str(record.identifiers[name])}


def given(record: Record) -> dict[str, Any]:
    """Return the fields with a value: Heap doesn't support null."""
    return {name: value for name, value in record.fields.items() if value is not None}


def _check_names(names: Iterable[str]) -> None:
    """Raises Refused for a user property reserved by Heap."""
    for name in names:
        if name.lower() in RESERVED:
            raise Refused(f"The user property '{name}' is reserved by Heap. Map the column to another name.")
