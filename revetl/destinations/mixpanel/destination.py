"""Mixpanel's events and user profiles: docs/destinations/mixpanel.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import AliasChoices, Field, SecretStr, model_validator

from revetl.destinations.auth.basic import basic
from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.destination import (
    Batch,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    object_of,
)
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.destinations.base.properties import (
    UNSET,
    changes,
    given_fields,
    is_nobody,
)
from revetl.destinations.base.records import (
    Record,
    Records,
    Rejection,
    Result,
    SyncContext,
    refusal,
)
from revetl.destinations.base.timestamps import MILLISECONDS, since_epoch

HOSTS = {
    "us": ("https://api.mixpanel.com", "https://mixpanel.com"),
    "eu": ("https://api-eu.mixpanel.com", "https://eu.mixpanel.com"),
    "in": ("https://api-in.mixpanel.com", "https://in.mixpanel.com"),
}

INSERT_ID = re.compile("[A-Za-z0-9-]{1,36}")
"""The form of an `$insert_id`."""

UNDERSTOOD = (
    SuccessShape("POST /engage", (1, {"status": 1}, {"code": 200, "status": "OK"})),
    SuccessShape("POST /import", {"code": 200, "status": "OK"}),
    SuccessShape("POST /data-deletions/*", {"status": "ok"}),
    SuccessShape("* /api/app/*", dict),
)


class Mixpanel(WithholdsPersonalData):
    """Profiles and events of Mixpanel by distinct_id. A mirrored audience is a boolean property with its
    name, usable in Mixpanel's cohorts."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=2_000, bytes=10_000_000, record_bytes=1_000_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=15)
    cleared: ClassVar[Any] = UNSET
    can_set_if_empty: ClassVar[bool] = True
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("distinct_id", column="user_id"),)
    account_fields: ClassVar[tuple[str, ...]] = ("project_id",)

    type: Literal["mixpanel"]
    project_token: Annotated[SecretStr, Field(validation_alias=AliasChoices("project_token", "token"))]
    project_id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    service_account_username: str | None = None
    service_account_secret: SecretStr | None = None
    oauth_token: SecretStr | None = None
    compliance_type: Literal["GDPR", "CCPA"] = "GDPR"
    region: Literal["us", "eu", "in"] = "us"
    base_url: Annotated[str, Field(pattern="^https?://")] = ""
    app_url: Annotated[str, Field(pattern="^https?://")] = ""

    @model_validator(mode="before")
    @classmethod
    def _regional_hosts(cls, data: Any) -> Any:
        account = ("project_id", "service_account_username", "service_account_secret")
        if len([name for name in account if data.get(name)]) not in (0, 3):
            raise ValueError(f"{', '.join(account)} must be set together or not at all")
        api, app = HOSTS.get(data.get("region", "us"), HOSTS["us"])
        return {"base_url": api, "app_url": app, **data}

    @property
    def token(self) -> str:
        """Return the project's token."""
        return self.project_token.get_secret_value()

    def account(self) -> dict[str, str]:
        """Return the credentials: the service account's, else the project's token."""
        secret = self.service_account_secret
        with_account = basic(self.service_account_username or "", secret.get_secret_value() if secret else "")
        return {"Authorization": with_account if secret else basic(self.token)}

    def upsert(self, records: Records) -> Flow:
        return self.profiles(records, {})

    def add(self, records: Records) -> Flow:
        return self.profiles(records, {records.audience: True})

    update = add

    def remove(self, records: Records) -> Flow:
        return self.engage(records, [{"$set": {records.audience: False}}] * len(records))

    def profiles(self, records: Records, more: Mapping[str, bool]) -> Flow:
        """Set fields, set fields only if empty, and unset cleared fields."""
        every = [changes(records, record, more) for record in records]
        kinds = [{"$set": each.set, "$set_once": each.once, "$unset": each.unset} for each in every]
        given = [{name: value for name, value in each.items() if value} for each in kinds]
        return self.engage(records, [each or {"$set": {}} for each in given])

    def delete(self, records: Records) -> Flow:
        """Delete profiles; with an OAuth token, delete all data of the people."""
        if self.oauth_token is None:
            return (yield from self.engage(records, [{"$delete": ""}] * len(records)))
        people = [known(record) for record in records]
        bearer = {"Authorization": f"Bearer {self.oauth_token.get_secret_value()}"}
        body = {"distinct_ids": people, "compliance_type": self.compliance_type}
        url, token = self.app("data-deletions/v3.0/"), {"token": self.token}
        yield httpx.Request("POST", url, params=token, headers=bearer, json=body)
        return Result()

    def engage(self, records: Records, given: Sequence[Mapping[str, Any]]) -> Flow:
        """Update profiles. An update has a single operation, so each kind needs its own request."""
        rejected: dict[int, str | Rejection] = {}
        for name in dict.fromkeys(name for each in given for name in each):
            places = [at for at, each in enumerate(given) if name in each and at not in rejected]
            whose = [{"$token": self.token, "$distinct_id": known(records.records[at])} for at in places]
            body = [{**who, name: given[at][name]} for who, at in zip(whose, places, strict=True)]
            if body:
                answer = yield self.request("POST", "/engage", params={"ip": "0", "strict": "1"}, json=body)
                rejected |= _rejected(answer, places)
        return Result(rejected)

    def track(self, records: Records) -> Flow:
        def properties(record: Record) -> dict[str, Any]:
            moment = since_epoch(str(record.timestamp or records.at), MILLISECONDS)
            own = {
                "time": moment,
                "distinct_id": known(record),
                "$insert_id": records.event_id(record, INSERT_ID),
            }
            return {**given_fields(record), **own}

        events = [{"event": records.event_of(record), "properties": properties(record)} for record in records]
        asked = {"strict": "1"} | ({"project_id": self.project_id} if self.project_id else {})
        answer = yield self.request("POST", "/import", params=asked, headers=self.account(), json=events)
        return Result(_rejected(answer, range(len(records))))

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        wrong = "its distinct_id is a placeholder that Mixpanel ignores"
        return wrong if is_nobody(known(record)) else None

    def probe(self) -> httpx.Request:
        if self.service_account_username:
            return httpx.Request("GET", self.app("me"), headers=self.account())
        body = {"project_token": self.token}
        return httpx.Request("POST", self.app("validate-project-credentials/"), json=body)

    def app(self, path: str) -> str:
        """Return a URL of the app API, which has its own host."""
        return f"{self.app_url.rstrip('/')}/api/app/{path}"

    def judge(self, response: httpx.Response) -> Disposition:
        # The response names the bad records; the others were accepted.
        if response.status_code == 400 and object_of(response).get("failed_records"):
            return Disposition.PASS
        # The whole request was rejected, without naming the bad record.
        if response.is_success and response.content.strip() == b"0":
            return Disposition.BISECT
        if response.is_success and object_of(response).get("status") == 0:
            return Disposition.BISECT
        return super().judge(response)


def known(record: Record) -> str:
    """Return Mixpanel's id of a record's person."""
    return str(record.identifiers["distinct_id"])


def _rejected(answer: httpx.Response, places: Sequence[int]) -> dict[int, str | Rejection]:
    """Return the rejected records in a response; `places` are their positions in the batch."""
    failed = object_of(answer).get("failed_records") or []
    return {places[each["index"]]: refusal(str(each["message"]), each.get("field")) for each in failed}
