"""Pendo's visitors, segments and track events: docs/destinations/pendo.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import AliasChoices, Field, SecretStr, model_validator

from revetl.destinations.audiences import HasAudiences
from revetl.destinations.base import Asking, Batch, Flow, Identifier, Verdict, Wait, object_of, verdict
from revetl.destinations.metadata import check_fields
from revetl.destinations.moments import too_old
from revetl.destinations.pendo_data import (
    HOSTS,
    KEY,
    LONGEST_AGO,
    PLACEHOLDER,
    check_properties,
    event,
    known,
    refused,
    writable,
)
from revetl.destinations.records import Record, Records, Result


class Pendo(HasAudiences):
    """Metadata and track events of Pendo's visitors; a mirrored audience is a segment of its name."""

    batch: ClassVar[Batch] = Batch(records=1_000)
    # A segment is written by one request at a time: 'Operation in progress'.
    statuses: ClassVar[Mapping[int, Verdict]] = {409: Verdict.LIMITED}
    matches_by_all: ClassVar[bool] = True
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("visitorId", column="user_id"),
        Identifier("accountId", column="account_id", alone=False),
    )

    type: Literal["pendo"]
    integration_key: SecretStr | None = None
    track_event_shared_secret: Annotated[
        SecretStr | None,
        Field(validation_alias=AliasChoices("track_event_shared_secret", "track_event_secret")),
    ] = None
    region: Literal["us", "us1", "eu", "jp", "au"] = "us"
    metadata_group: Literal["custom", "agent"] = "custom"
    base_url: Annotated[str, Field(pattern="^https?://")] = ""
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 1

    @model_validator(mode="before")
    @classmethod
    def _regional_host(cls, data: Any) -> Any:
        return {"base_url": HOSTS.get(data.get("region", "us"), HOSTS["us"]), **data}

    @model_validator(mode="after")
    def _has_key(self) -> Pendo:
        if self.integration_key is None and self.track_event_shared_secret is None:
            raise ValueError("Give an integration_key, or for events alone a track_event_shared_secret.")
        return self

    def headers(self) -> dict[str, str]:
        key = self.integration_key or self.track_event_shared_secret
        return {} if key is None else {KEY: key.get_secret_value()}

    def upsert(self, records: Records) -> Flow:
        return self.metadata(records, creates=True)

    def change(self, records: Records) -> Flow:
        return self.metadata(records, creates=False)

    def metadata(self, records: Records, *, creates: bool) -> Flow:
        """Set metadata of visitors. Who is not there is made, or named as missing."""
        body = [{"visitorId": known(record), "values": record.fields} for record in records]
        asked = {"create": "true"} if creates else None
        path = f"/api/v1/metadata/visitor/{self.metadata_group}/value"
        answer = yield self.request("POST", path, params=asked, json=body)
        return refused(answer.json(), [known(record) for record in records])

    def add(self, records: Records) -> Flow:
        result = Result()
        if any(record.fields for record in records):
            result = yield from self.upsert(records)
        people = [known(record) for at, record in enumerate(records) if at not in result.rejected]
        if people:
            yield self.membership("add", records, people)
        return result

    def remove(self, records: Records) -> Flow:
        yield self.membership("remove", records, [known(record) for record in records])
        return Result()

    def membership(self, operation: str, records: Records, people: list[str]) -> httpx.Request:
        """Put people into the audience's segment, or take them out of it."""
        patch = {"patch": [{"op": operation, "path": "/visitors", "value": people}]}
        return self.request("PATCH", f"/api/v1/segment/{records.audience_id}/visitor", json=patch)

    def track(self, records: Records) -> Flow:
        """Send an event, of which a request has one."""
        (record,) = records.records
        secret = self.track_event_shared_secret
        own = {} if secret is None else {KEY: secret.get_secret_value()}
        yield self.post("/data/track", json=event(records, record), headers=own)
        return Result()

    def delete(self, records: Records) -> Flow:
        """Hand visitors in for deletion, for which Pendo takes one request a second."""
        yield self.post("/api/v1/bulkdelete/visitor", json={"visitors": [known(each) for each in records]})
        yield Wait(1)
        return Result()

    def find_audience(self, audience: str) -> Asking[str | None]:
        answer = yield self.request("GET", "/api/v1/segment", params={"createdByApi": "true"})
        return next((str(each["id"]) for each in answer.json() if each["name"] == audience), None)

    def create_audience(self, audience: str) -> Asking[str]:
        about = {"name": audience, "visitors": [PLACEHOLDER]}
        answer = yield self.post("/api/v1/segment/upload", json=about)
        return str(answer.json()["segmentId"])

    def prepare(self, mode: str, whole: Records, fields: Mapping[str, str]) -> Asking[Records]:
        if mode in ("events", "audience_events"):
            check_properties([*fields, *([whole.audience] if mode == "audience_events" else [])])
        elif fields and mode != "delete":
            answer = yield self.request("GET", "/api/v1/metadata/schema/visitor")
            check_fields("Pendo", fields, writable(answer.json(), self.metadata_group))
        if mode == "mirror":
            whole = yield from super().prepare(mode, whole, fields)
        return whole

    def limits_of(self, mode: str) -> Batch:
        if mode in ("events", "audience_events"):
            return Batch(records=1)
        return Batch(records=500) if mode == "delete" else self.limits

    def unfit(self, mode: str, whole: Records, record: Record) -> str | None:
        return too_old(record.timestamp, whole.at, LONGEST_AGO, "Pendo") or self.unusable(record)

    def probe(self) -> httpx.Request:
        return self.request("GET", "/api/v1/token/verify")

    def judge(self, response: httpx.Response) -> Verdict:
        said = object_of(response)
        # What is wrong with some values is not told by visitor; who is missing is.
        if response.is_success and (said.get("failed") or 0) > len(said.get("missing") or []):
            return Verdict.BISECT
        operations = [each["status"] for each in said.get("multistatus") or []]
        return verdict(max([response.status_code, *operations]), self.statuses)
