"""Iterable's users, static lists and custom events: docs/destinations/iterable.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    Record,
    Records,
    Result,
)
from revetl.destinations.base.field_check import check_fields
from revetl.destinations.base.flow import object_of
from revetl.destinations.base.records import SyncContext
from revetl.destinations.iterable.users import (
    GONE,
    KINDS,
    data_fields,
    failed,
    failed_events,
    list_of,
)

HOSTS = {"us": "https://api.iterable.com/api", "eu": "https://api.eu.iterable.com/api"}
EMAIL = Identifier("email", column="email", normalised="email")
USER_ID = Identifier("userId", column="user_id")

UNDERSTOOD = (
    SuccessShape("POST /users/bulkUpdate", {"successCount": int, "failCount": int, "failedUpdates?": dict}),
    SuccessShape("POST /lists/subscribe", {"successCount": int, "failCount": int, "failedUpdates?": dict}),
    SuccessShape("POST /lists/unsubscribe", {"successCount": int, "failCount": int, "failedUpdates?": dict}),
    SuccessShape("POST /events/trackBulk", {"successCount": int, "failCount": int, "failedUpdates?": dict}),
    SuccessShape("DELETE /users/*", {"code": "Success"}),
    SuccessShape("GET /lists", {"lists": [{"id": int, "name": str, "listType": str}]}),
    SuccessShape("POST /lists", {"listId": int}, again=False),
    SuccessShape("GET /users/getFields", {"fields": dict}),
)


class IterableProject(HasAudiences):
    """Users of an Iterable project by email or user id; an audience is a static list. Subscriptions are never
    changed."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=1_000, bytes=4_000_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=5)
    identifiers: ClassVar[tuple[Identifier, ...]] = (EMAIL, USER_ID)

    type: Literal["iterable"]
    api_key: SecretStr
    region: Literal["us", "eu"] = "us"
    base_url: Annotated[str, Field(pattern="^https?://")] = ""
    project_type: Literal["email", "userid", "hybrid"] = "email"
    create_new_fields: bool | None = None
    merge_nested_objects: bool = False

    @model_validator(mode="before")
    @classmethod
    def _regional_host(cls, data: Any) -> Any:
        return {"base_url": HOSTS.get(data.get("region", "us"), HOSTS["us"]), **data}

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return self.identifiers if self.project_type == "email" else (USER_ID, EMAIL)

    def headers(self) -> dict[str, str]:
        return {"Api-Key": self.api_key.get_secret_value()}

    def upsert(self, records: Records) -> Flow:
        body: dict[str, Any] = {"users": self.users(records)}
        if self.create_new_fields is not None:
            body["createNewFields"] = self.create_new_fields
        answer = yield self.post("/users/bulkUpdate", json=body)
        return failed(answer.json(), body["users"])

    def add(self, records: Records) -> Flow:
        users = self.users(records)
        answer = yield self.post("/lists/subscribe", json={**list_of(records), "subscribers": users})
        return failed(answer.json(), users)

    def remove(self, records: Records) -> Flow:
        """Remove users from the list, keeping their other subscriptions; unknown users are in no list."""
        users = [self.known(record) for record in records]
        body = {**list_of(records), "subscribers": users, "channelUnsubscribe": False}
        answer = yield self.post("/lists/unsubscribe", json=body)
        return failed(answer.json(), users, done="notFound")

    def track(self, records: Records) -> Flow:
        """Send one event per record, with a stable id: a retried event is updated, not duplicated."""
        events = [
            {
                **self.known(record),
                "eventName": records.event_of(record),
                "id": records.event_id(record),
                "createdAt": int(datetime.fromisoformat(str(record.timestamp or records.at)).timestamp()),
                "dataFields": data_fields(record.fields),
            }
            for record in records
        ]
        answer = yield self.post("/events/trackBulk", json={"events": events})
        return failed_events(answer.json(), events)

    def delete(self, records: Records) -> Flow:
        """Delete with one request per person; unknown people count as deleted."""
        for record in records:
            ((kind, name),) = self.known(record).items()
            path = "/users/" if kind == "email" else "/users/byUserId/"
            yield self.request("DELETE", path + quote(name, safe=""))
        return Result()

    def known(self, record: Record) -> dict[str, str]:
        """Return the project's identifier of a person: exactly one."""
        names = record.identifiers
        return next({each.name: str(names[each.name])} for each in self.known_by if each.name in names)

    def users(self, records: Records) -> list[dict[str, Any]]:
        """Return users with their fields, which include additional identifiers."""
        users = []
        for record in records:
            known = self.known(record)
            others = {name: str(value) for name, value in record.identifiers.items() if name not in known}
            user: dict[str, Any] = {**known, "dataFields": {**data_fields(record.fields), **others}}
            if self.project_type == "email" and "userId" in known:
                user["preferUserId"] = True  # otherwise, an id alone creates no user
            if self.merge_nested_objects:
                user["mergeNestedObjects"] = True
            users.append(user)
        return users

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        context = yield from super().prepare(mode, context, fields)
        # Otherwise, Iterable creates missing fields, or reports dropped ones.
        if fields and self.create_new_fields is False and "events" not in mode:
            answer = yield self.request("GET", "/users/getFields")
            there = answer.json()["fields"]
            known = {name: KINDS.get(str(kind)) for name, kind in there.items()}
            context = replace(context, kinds=check_fields("Iterable", fields, known))
        return context

    def find_audience(self, audience: str) -> Asking[str | None]:
        answer = yield self.probe()
        for found in answer.json()["lists"]:
            if found["name"] == audience and found["listType"] == "Standard":
                return str(found["id"])
        return None

    def create_audience(self, audience: str) -> Asking[str]:
        answer = yield self.post("/lists", json={"name": audience})
        return str(answer.json()["listId"])

    def probe(self) -> httpx.Request:
        return self.request("GET", "/lists")

    def judge(self, response: httpx.Response) -> Disposition:
        """Use the error code if it is more specific than the status."""
        code = object_of(response).get("code")
        if response.request.method == "DELETE" and (response.status_code == 404 or code in GONE):
            return Disposition.PASS
        codes = {"BatchTooLarge": Disposition.SPLIT, "UniqueFieldsLimitExceeded": Disposition.FATAL}
        return codes.get(str(code)) or super().judge(response)

    def pause(self, response: httpx.Response) -> float | None:
        reset = object_of(response, "params").get("rateLimitReset")
        return float(reset) if response.status_code == 429 and reset is not None else None
