"""Amplitude's events, user properties, cohorts and deletions: docs/destinations/amplitude.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import Field, model_validator

from revetl.destinations.amplitude.cohorts import AmplitudeCohorts
from revetl.destinations.amplitude.events import (
    event,
    known,
    names_events,
    properties,
    refused_events,
)
from revetl.destinations.base.answers import ACKNOWLEDGED, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    object_of,
)
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.destinations.base.properties import UNSET, is_nobody
from revetl.destinations.base.records import (
    Record,
    Records,
    Rejection,
    Result,
    SyncContext,
    for_now,
    nobody,
    refusal,
)

HOSTS = {
    "us": ("https://api2.amplitude.com", "https://amplitude.com"),
    "eu": ("https://api.eu.amplitude.com", "https://analytics.eu.amplitude.com"),
}
Rejected = dict[int, str | Rejection]

UNDERSTOOD = (
    SuccessShape("POST /identify", (ACKNOWLEDGED, {"code": 200})),
    SuccessShape("POST /2/httpapi", {"code": 200}),
    SuccessShape("POST /batch", {"code": 200}),
    SuccessShape("GET /api/3/cohorts", {"cohorts": [{"id": str, "name": str}]}),
    SuccessShape("POST /api/3/cohorts/upload", ({"cohort_id": str}, {"cohortId": str}), again=False),
    SuccessShape("POST /api/3/cohorts/membership", {"memberships_result": [{"skipped_ids": list}]}),
    SuccessShape("GET /api/2/usersearch", {"matches": [dict]}),
    SuccessShape("POST /api/2/deletions/users", ([{"status": str}], {"status": str})),
)


class Amplitude(AmplitudeCohorts, WithholdsPersonalData):
    """User properties and events by user or device id; a mirrored audience is a cohort with its name."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=1_000, bytes=1_000_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=100)
    cleared: ClassVar[Any] = UNSET
    can_set_if_empty: ClassVar[bool] = True
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("user_id", column="user_id"),
        Identifier("device_id", column="device_id"),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("app_id",)

    type: Literal["amplitude"]
    region: Literal["us", "eu"] = "us"
    base_url: Annotated[str, Field(pattern="^https?://")] = ""
    app_url: Annotated[str, Field(pattern="^https?://")] = ""
    use_batch: bool = False
    min_id_length: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _regional_hosts(cls, data: Any) -> Any:
        api, app = HOSTS.get(data.get("region", "us"), HOSTS["us"])
        return {"base_url": api, "app_url": app, **data}

    @property
    def limits(self) -> Batch:
        return Batch(records=2_000, bytes=20_000_000) if self.use_batch else self.batch

    def limits_of(self, mode: str) -> Batch:
        if mode == "mirror":  # a cohort request holds 100,000 ids; properties are sent in batches before
            return Batch(records=min(100_000, 100 * self.limits.records))
        return Batch(records=min(100, self.limits.records)) if mode == "delete" else self.limits

    def upsert(self, records: Records) -> Flow:
        return Result((yield from self.identify(records)))

    def add(self, records: Records) -> Flow:
        has_fields = any(record.fields for record in records)
        rejected: Rejected = (yield from self.identify(records)) if has_fields else {}
        people = {at: known(each)["user_id"] for at, each in enumerate(records) if at not in rejected}
        if people:
            answer = yield self.membership(records.audience_id, "ADD", [*people.values()])
            skipped = answer.json()["memberships_result"][0]["skipped_ids"]
            unknown = [at for at, person in people.items() if person in skipped]
            rejected |= dict.fromkeys(unknown, nobody("Amplitude has no such user"))
        return Result(rejected)

    def remove(self, records: Records) -> Flow:
        # Skipped ids aren't in the cohort.
        yield self.membership(records.audience_id, "REMOVE", [known(record)["user_id"] for record in records])
        return Result()

    def delete(self, records: Records) -> Flow:
        return self.erase(records)

    def identify(self, records: Records) -> Asking[Rejected]:
        """Set user properties in batches; returns the rejected records."""
        rejected: Rejected = {}
        for first in range(0, len(records), self.limits.records):
            last = min(first + self.limits.records, len(records))
            rejected |= yield from self.halved(records, range(first, last))
        return rejected

    def halved(self, records: Records, places: Sequence[int]) -> Asking[Rejected]:
        """Identify part of a batch, by bisection: a bad record fails its request without being named."""
        users = [
            {**known(record), "user_properties": properties(records, record)}
            for record in (records.records[at] for at in places)
        ]
        form = {"api_key": self.api_key.get_secret_value(), "identification": orjson.dumps(users).decode()}
        if self.min_id_length:
            form["options"] = orjson.dumps({"min_id_length": self.min_id_length}).decode()
        answer = yield httpx.Request("POST", f"{self.base_url.rstrip('/')}/identify", data=form)
        if answer.is_success or len(places) == 1:
            why = refusal(f"{answer.status_code} {answer.text}")
            return {} if answer.is_success else {places[0]: why}
        middle = len(places) // 2
        first = yield from self.halved(records, places[:middle])
        return {**first, **(yield from self.halved(records, places[middle:]))}

    def track(self, records: Records) -> Flow:
        """Send events. A bad event fails its request, and only the first one is named: the remaining events
        are sent again without it."""
        about = {"options": {"min_id_length": self.min_id_length}} if self.min_id_length else {}
        path = "/batch" if self.use_batch else "/2/httpapi"
        rejected: Rejected = {}
        while left := [at for at in range(len(records)) if at not in rejected]:
            events = [event(records, records.records[at]) for at in left]
            body = {"api_key": self.api_key.get_secret_value(), "events": events, **about}
            answer = yield self.post(path, json=body)
            bad = refused_events(answer, events)
            if not bad:
                again = {} if answer.is_success else dict.fromkeys(left, for_now(answer.text))
                return Result(rejected, again)
            rejected |= {left[at]: why for at, why in bad.items()}
        return Result(rejected)

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        # Cohorts and deletions need a user id.
        return (frozenset({"user_id"}),) if mode in ("mirror", "delete") else super().found_by(mode)

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        if all(is_nobody(each) for each in record.identifiers.values()) and record.identifiers:
            return "its id is a placeholder that Amplitude ignores"
        return None

    @property
    def can_probe(self) -> bool:
        return self.secret_key is not None

    def probe(self) -> httpx.Request:
        return self.ask("GET", "/api/3/cohorts")

    def judge(self, response: httpx.Response) -> Disposition:
        status, path, said = response.status_code, response.request.url.path, object_of(response)
        error = str(said.get("missing_field") or said.get("error") or response.text).lower()
        if status == 400 and (
            "/cohorts" in path or error.startswith(("invalid api", "invalid_api", "api_key"))
        ):
            return Disposition.FATAL
        if (status in {400, 413} and path.endswith("/identify")) or names_events(said):
            return Disposition.PASS
        return super().judge(response)

    def pause(self, response: httpx.Response) -> float | None:
        # A user or device exceeded the events per second; there is no header with the wait.
        return 30.0 if response.status_code == 429 and "eps_threshold" in object_of(response) else None
