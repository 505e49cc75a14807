"""GA4's Measurement Protocol: docs/destinations/google_analytics.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from revetl.destinations.base.answers import EMPTY, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Disposition,
    Flow,
    Identifier,
    object_of,
)
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.destinations.base.records import Record, Records, Result, SyncContext
from revetl.destinations.base.spec import IdentifierChoice
from revetl.destinations.base.timestamps import MICROSECONDS, since_epoch, too_old
from revetl.destinations.google import analytics_rules as rules

REGIONS = {"us": "https://www.google-analytics.com", "eu": "https://region1.google-analytics.com"}
LONGEST_AGO = timedelta(hours=72)
STREAMS = {"measurement_id": "client_id", "firebase_app_id": "app_instance_id"}
"""The id of a data stream, and the identifier of its instances."""

UNDERSTOOD = (
    SuccessShape("POST /debug/mp/collect", {"validationMessages": list}),
    # Events have no id, so duplicates aren't dropped.
    SuccessShape("POST /mp/collect", EMPTY, again=False),
)


class GoogleAnalytics(WithholdsPersonalData):
    """User properties and events of the browsers or app instances of a GA4 data stream. A mirrored audience
    is a boolean user property with its name."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=25, bytes=130_000)
    matches_by_all: ClassVar[bool] = True
    named_is_allowed: ClassVar[bool] = False
    withholds_always: ClassVar[bool] = True
    # These only report errors of the HTTP request itself, and events already sent stay sent.
    statuses: ClassVar[Mapping[int, Disposition]] = dict.fromkeys((400, 413, 422), Disposition.PASS)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("client_id", column="client_id"),
        Identifier("app_instance_id", column="app_instance_id"),
        Identifier("user_id", column="user_id", alone=False),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("measurement_id", "firebase_app_id")

    type: Literal["google_analytics"]
    api_secret: SecretStr
    measurement_id: str | None = None
    firebase_app_id: str | None = None
    region: Literal["us", "eu"] = "us"
    base_url: Annotated[str, Field(pattern="^https?://")] = ""
    event_name: str = "profile_updated"
    analytics_360: bool = False
    consent: Mapping[Literal["ad_user_data", "ad_personalization"], Literal["GRANTED", "DENIED"]] = {}

    @model_validator(mode="before")
    @classmethod
    def _stream(cls, data: Any) -> Any:
        if len([name for name in STREAMS if data.get(name)]) != 1:
            raise ValueError(
                "set measurement_id (for a web stream) or firebase_app_id (for an app stream), but not both"
            )
        return {"base_url": REGIONS.get(data.get("region", "us"), REGIONS["us"]), **data}

    @field_validator("measurement_id", "firebase_app_id")
    @classmethod
    def _form(cls, value: str | None, info: ValidationInfo) -> str | None:
        wrong = None if value is None else rules.refused_stream(str(info.field_name), value)
        if wrong is not None:
            raise ValueError(wrong)
        return value

    @property
    def stream(self) -> str:
        """Return the key of STREAMS that is configured."""
        return "measurement_id" if self.measurement_id else "firebase_app_id"

    @classmethod
    def identifier_choices(cls) -> tuple[IdentifierChoice, ...]:
        streams = {instance: {stream: "…"} for stream, instance in STREAMS.items()}
        return tuple(IdentifierChoice(each, streams.get(each.name, {})) for each in cls.identifiers)

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return tuple(each for each in self.identifiers if each.name in (STREAMS[self.stream], "user_id"))

    def auth(self) -> httpx.Auth:
        from revetl.destinations.base.query_secret import QuerySecret

        return QuerySecret("api_secret", self.api_secret.get_secret_value())

    def upsert(self, records: Records) -> Flow:
        return self.properties(records, {})

    def add(self, records: Records) -> Flow:
        return self.properties(records, {records.audience: True})

    def update(self, records: Records) -> Flow:
        return self.properties(records, {records.audience: True})

    def remove(self, records: Records) -> Flow:
        return self.properties(records, {records.audience: False}, with_fields=False)

    def properties(self, records: Records, more: dict[str, bool], *, with_fields: bool = True) -> Flow:
        """Send one request per person: user properties need an event."""
        rejected = {}
        for at, record in enumerate(records):
            given = {**(record.fields if with_fields else {}), **more}
            values = {name: {"value": value} for name, value in given.items()}
            event = {"name": self.event_name, "params": {}}
            answer = yield self.collect(record, {"user_properties": values, "events": [event]})
            rejected.update(_refused(answer, at))
        return Result(rejected=rejected)

    def track(self, records: Records) -> Flow:
        """Send one request for consecutive events of the same person."""
        rejected = {}
        for _, same in groupby(enumerate(records), key=lambda each: each[1].identifiers):
            group = list(same)
            events = [self.event(records, record) for _, record in group]
            answer = yield self.collect(group[0][1], {"events": events})
            rejected.update(_refused(answer, *(at for at, _ in group)))
        return Result(rejected=rejected)

    @staticmethod
    def event(records: Records, record: Record) -> dict[str, Any]:
        """Return an event with the fields as its parameters, without nulls."""
        name, params = rules.worded(records.event_of(record), record.fields)
        event: dict[str, Any] = {"name": name, "params": params}
        if record.timestamp is not None:
            event["timestamp_micros"] = since_epoch(record.timestamp, MICROSECONDS)
        return event

    def collect(self, record: Record, more: Mapping[str, Any], *, path: str = "/mp/collect") -> httpx.Request:
        """Build a request about one person. The colons of an app id must not be encoded."""
        known = {name: str(value) for name, value in record.identifiers.items()}
        consent = {"consent": self.consent} if self.consent else {}
        stream = f"{self.stream}={quote(getattr(self, self.stream), safe=':')}"
        return self.post(f"{path}?{stream}", json={**known, **consent, **more})

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        events = [rules.event_name(context.event)] if context.event else []
        own = [context.audience] if mode in ("mirror", "audience_events") else []
        rules.check_names({"event": events or [self.event_name], rules.kind_of(mode): [*fields, *own]})
        return context
        yield

    def adjusted(self, mode: str, record: Record) -> tuple[Record, Mapping[str, str]]:
        if rules.kind_of(mode) != "parameter":
            return record, {}
        name, fields = record.event, record.fields
        if name is not None:
            name, fields = rules.worded(name, fields)
        made, how = rules.fitted(fields, 5 if self.analytics_360 else 1)
        return record._replace(event=name, fields=made), how

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        if old := too_old(record.timestamp, context.at, LONGEST_AGO, "GA4"):
            return old
        # Removed members are sent without fields.
        fields = {} if mode == "mirror" and context.operation == "remove" else record.fields
        wrong = rules.refused_value(rules.kind_of(mode), fields, 5 if self.analytics_360 else 1)
        return rules.refused_event(record) or wrong

    def probe(self) -> httpx.Request:
        nobody = Record("", {STREAMS[self.stream]: "0" * 32}, {}, "")
        event = {"name": self.event_name, "params": {}}
        about = {"validation_behavior": "ENFORCE_RECOMMENDATIONS", "events": [event]}
        return self.collect(nobody, about, path="/debug/mp/collect")

    @property
    def unprobed(self) -> str | None:
        # https://developers.google.com/analytics/devguides/collection/protocol/ga4/validating-events
        return (
            f"Google validated an event, but it doesn't check api_secret or whether {self.stream} exists; "
            "look for an event in Realtime"
        )

    def judge(self, response: httpx.Response) -> Disposition:
        # Only the validation endpoint reports errors.
        if object_of(response).get("validationMessages"):
            return Disposition.FATAL
        return super().judge(response)


def _refused(answer: httpx.Response, *places: int) -> dict[int, str]:
    """Return the records of a rejected request."""
    said = f"{answer.status_code} {answer.text}".strip()
    return {} if answer.is_success else dict.fromkeys(places, said)
