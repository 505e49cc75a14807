"""Snapchat's customer lists (Snap Audience Match): docs/destinations/snap_ads.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field

from revetl.destinations.auth.refresh import RefreshesToken
from revetl.destinations.base.answers import Understood
from revetl.destinations.base.audiences import AdAudience, Matched
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Flow,
    Identifier,
    Rate,
    Records,
    Result,
    Verdict,
    object_of,
)
from revetl.destinations.base.records import is_for_now, refusal

ACCOUNTS = "https://accounts.snapchat.com"
FOR_EVER = 9_999

UNDERSTOOD = (
    Understood("* /segments/*/users", {"request_status": "SUCCESS"}),
    Understood(
        "GET /adaccounts/*/segments",
        {"request_status": "SUCCESS", "segments": [{"segment": {"id": str, "name": str}}]},
    ),
    Understood(
        "POST /adaccounts/*/segments",
        {"request_status": "SUCCESS", "segments": [{"segment": {"id": str}}]},
        again=False,
    ),
    Understood("GET *", {"request_status": "SUCCESS"}),
)


class SnapAds(RefreshesToken, AdAudience):
    """People of a segment of an ad account, by the hash of each of their ids; one kind of id a request."""

    understood: ClassVar[tuple[Understood, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=100_000)
    rate: ClassVar[Rate | None] = Rate(requests=10)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("EMAIL_SHA256", column="email", hashed="email"),
        Identifier("PHONE_SHA256", column="phone", hashed="e164_digits"),
        Identifier("MOBILE_AD_ID_SHA256", column="mobile_ad_id", hashed="lower"),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("ad_account_id",)

    type: Literal["snap_ads"]
    ad_account_id: str
    retention_in_days: Annotated[int, Field(ge=1, le=FOR_EVER)] = FOR_EVER
    version: Annotated[str, Field(pattern=r"^v\d+$")] = "v1"
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://adsapi.snapchat.com"
    token_url: Annotated[str, Field(pattern="^https?://")] = f"{ACCOUNTS}/login/oauth2/access_token"

    def add(self, records: Records) -> Flow:
        return self.users("POST", records)

    def remove(self, records: Records) -> Flow:
        return self.users("DELETE", records)

    def users(self, method: str, records: Records) -> Flow:
        """Add or remove a batch: a request for each kind of id that anybody in it has."""
        for each in self.identifiers:
            known = (record.identifiers.get(each.name) for record in records)
            # Once each: what two people share is in the list once.
            values = dict.fromkeys(value for value in known if value is not None)
            if not values:
                continue
            users: dict[str, Any] = {"schema": [each.name], "data": [[value] for value in values]}
            if method == "DELETE":
                users["id"] = records.audience_id
            path = f"/{self.version}/segments/{records.audience_id}/users"
            yield self.request(method, path, json={"users": [users]})
        return Result()

    @property
    def segments(self) -> str:
        """The path of the account's segments."""
        return f"/{self.version}/adaccounts/{self.ad_account_id}/segments"

    def find_audience(self, audience: str) -> Asking[str | None]:
        asked: dict[str, str] | None = None
        while True:
            answer = yield self.request("GET", self.segments, params=asked)
            page = answer.json()
            for each in page["segments"]:
                segment = each["segment"]
                # What Snap makes itself, such as people like others, takes no users.
                if segment["name"] == audience and segment.get("source_type") in (None, "FIRST_PARTY"):
                    return str(segment["id"])
            following = (page.get("paging") or {}).get("next_link")
            if not following:
                return None
            asked = dict(httpx.URL(following).params)

    def create_audience(self, audience: str) -> Asking[str]:
        about = {
            "name": audience,
            "source_type": "FIRST_PARTY",
            "ad_account_id": self.ad_account_id,
            "retention_in_days": self.retention_in_days,
        }
        answer = yield self.post(self.segments, json={"segments": [about]})
        return str(answer.json()["segments"][0]["segment"]["id"])

    def matched(self, audience_id: str) -> Asking[Matched]:
        answer = yield self.request("GET", f"/{self.version}/segments/{audience_id}")
        found = answer.json()["segments"][0]["segment"]
        # Until it is ready the number is none of people who were looked for.
        is_known = found.get("targetable_status", "READY") != "NOT_READY"
        return Matched(found.get("approximate_number_users")) if is_known else Matched()

    def probe(self) -> httpx.Request:
        return self.request("GET", f"/{self.version}/adaccounts/{self.ad_account_id}")

    def judge(self, response: httpx.Response) -> Verdict:
        """A request may have gone well, and what was in it not."""
        said = object_of(response)
        parts = [part for key in ("users", "segments") for part in said.get(key) or ()]
        states = {said.get("request_status"), *(part.get("sub_request_status") for part in parts)} - {None}
        if response.is_success and any(str(state).upper() != "SUCCESS" for state in states):
            reasons = [str(part.get("sub_request_error_reason") or "") for part in parts]
            return Verdict.RETRY if any(is_for_now(refusal(why)) for why in reasons) else Verdict.BISECT
        return super().judge(response)
