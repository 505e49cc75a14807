"""LinkedIn Matched Audiences, as DMP segments: docs/destinations/linkedin_ads.md."""

from __future__ import annotations

from itertools import count
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import BeforeValidator, Field

from revetl.destinations.auth.refresh import RefreshesToken
from revetl.destinations.base.answers import EMPTY, SuccessShape
from revetl.destinations.base.audiences import AdAudience, MatchCount
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    Refused,
    Wait,
)
from revetl.destinations.base.records import (
    Record,
    Records,
    Result,
    for_now,
)
from revetl.destinations.base.spec import IdentifierChoice

ACCOUNT, ORGANIZATION = "urn:li:sponsoredAccount:", "urn:li:organization:"
PEOPLE = (
    Identifier("SHA256_EMAIL", column="email", hashed="email"),
    Identifier("SHA512_EMAIL", column="email_sha512", normalised="sha512_email"),
    Identifier("GOOGLE_AID", column="google_advertising_id", normalised="text"),
    Identifier("firstName", column="first_name", normalised="text", alone=False),
    Identifier("lastName", column="last_name", normalised="text", alone=False),
    Identifier("title", column="title", normalised="text", alone=False),
    Identifier("company", column="company", normalised="text", alone=False),
    Identifier("country", column="country", normalised="COUNTRY", alone=False),
)
COMPANIES = (
    Identifier("companyWebsiteDomain", column="company_domain", normalised="lower"),
    Identifier("organizationUrn", column="linkedin_company_id", normalised="text"),
    Identifier("companyName", column="company", normalised="text"),
    Identifier("companyEmailDomain", column="company_email_domain", normalised="lower"),
    Identifier("companyPageUrl", column="linkedin_company_url", normalised="text"),
)
OF_ACCOUNT = frozenset({401, 403, 404, 426})
"""Statuses that indicate an account or segment problem if all elements have them."""
IDS = ("SHA256_EMAIL", "SHA512_EMAIL", "GOOGLE_AID")
ENDED = frozenset({"EXPIRED", "FAILED", "ERROR"})
A_PAGE = 100
Url = Annotated[str, Field(pattern="^https?://")]

UNDERSTOOD = (
    SuccessShape("POST /rest/dmpSegments/*", {"elements": [{"status": int, "error?": dict}]}),
    SuccessShape("GET /rest/dmpSegments", {"elements": [{"id": (int, str), "name": str, "type": str}]}),
    # The segment's id is in a header.
    SuccessShape("POST /rest/dmpSegments", (EMPTY, dict), again=False),
    SuccessShape("GET /rest/dmpSegments/*", dict),
    SuccessShape("GET /rest/adAccounts/*", dict),
)


class LinkedinAds(RefreshesToken, AdAudience):
    """Members of an ad account's DMP segment: people by hashed email or name, or companies."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=5_000)
    identifiers: ClassVar[tuple[Identifier, ...]] = PEOPLE
    smallest: ClassVar[int | None] = 300
    account_fields: ClassVar[tuple[str, ...]] = ("ad_account_id",)
    container_fields: ClassVar[tuple[str, ...]] = ("segment_type",)

    type: Literal["linkedin_ads"]
    ad_account_id: Annotated[str, BeforeValidator(lambda given: str(given).removeprefix(ACCOUNT))]
    segment_type: Literal["USER", "COMPANY"] = "USER"
    source_platform: str | None = None
    version: Annotated[str, Field(pattern="^[0-9]{6}(\\.[0-9]{2})?$")] = "202607"
    base_url: Url = "https://api.linkedin.com"
    token_url: Url = "https://www.linkedin.com/oauth/v2/accessToken"  # noqa: S105

    @classmethod
    def identifier_choices(cls) -> tuple[IdentifierChoice, ...]:
        kinds = {"USER": PEOPLE, "COMPANY": COMPANIES}
        return tuple(
            IdentifierChoice(each, {"segment_type": kind}) for kind, known in kinds.items() for each in known
        )

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return PEOPLE if self.segment_type == "USER" else COMPANIES

    @property
    def pace(self) -> RateLimit | None:
        return super().pace or RateLimit(600 if self.segment_type == "USER" else 300, per_seconds=60)

    def headers(self) -> dict[str, str]:
        versions = {"LinkedIn-Version": self.version, "X-Restli-Protocol-Version": "2.0.0"}
        return {**super().headers(), **versions}

    def add(self, records: Records) -> Flow:
        return self.stream("ADD", records)

    def remove(self, records: Records) -> Flow:
        return self.stream("REMOVE", records)

    def stream(self, action: str, records: Records) -> Flow:
        """Send a batch; each element gets its own status."""
        kind = "users" if self.segment_type == "USER" else "companies"
        answer = yield self.post(
            f"/rest/dmpSegments/{records.audience_id}/{kind}",
            json={"elements": [{"action": action, **self.element(record)} for record in records]},
            headers={"X-RestLi-Method": "BATCH_CREATE"},
        )
        said = answer.json()["elements"]
        found = {at: _why(said[at] if at < len(said) else {"status": 500}) for at in range(len(records))}
        refused = {status for status, _ in found.values()}
        if refused <= OF_ACCOUNT:
            raise Refused(f"LinkedIn returned an error: {found[0][1]} ({found[0][0]}).")
        retry = {at: for_now(why) for at, (status, why) in found.items() if status == 429 or status >= 500}
        rejected = {at: why for at, (status, why) in found.items() if status >= 300 and at not in retry}
        return Result(rejected=rejected, retry=retry)

    def element(self, record: Record) -> dict[str, Any]:
        """Return a record as a LinkedIn element."""
        known = dict(record.identifiers)
        if "organizationUrn" in known:
            known["organizationUrn"] = ORGANIZATION + str(known["organizationUrn"]).removeprefix(ORGANIZATION)
        ids = [{"idType": name, "idValue": known.pop(name)} for name in IDS if name in known]
        return {"userIds": ids, **known} if ids else known

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """LinkedIn also matches people by first and last name together."""
        name = (frozenset({"firstName", "lastName"}),) if self.segment_type == "USER" else ()
        return (*super().found_by(mode), *name)

    def find_audience(self, audience: str) -> Asking[str | None]:
        asked = {"q": "account", "account": ACCOUNT + self.ad_account_id, "count": str(A_PAGE)}
        for start in count(0, A_PAGE):
            answer = yield self.request("GET", "/rest/dmpSegments", params={**asked, "start": str(start)})
            page = answer.json()["elements"]
            for each in page:
                if each["name"] == audience and each["type"] == self.segment_type:
                    return _usable(each)
            if len(page) < A_PAGE:
                break
        return None

    def create_audience(self, audience: str) -> Asking[str]:
        account = ACCOUNT + self.ad_account_id
        about: dict[str, Any] = {"name": audience, "account": account, "type": self.segment_type}
        about["destinations"] = [{"destination": "LINKEDIN"}]
        if self.source_platform is not None:
            about["sourcePlatform"] = self.source_platform
        answer = yield self.post("/rest/dmpSegments", json=about)
        yield Wait(5.0)  # A new segment doesn't accept members earlier.
        return answer.headers.get("x-restli-id") or str(answer.headers["x-linkedin-id"])

    def matched(self, audience_id: str) -> Asking[MatchCount]:
        answer = yield self.request("GET", f"/rest/dmpSegments/{audience_id}/destinations/LINKEDIN")
        return MatchCount(answer.json().get("audienceSize"))

    def probe(self) -> httpx.Request:
        return self.request("GET", f"/rest/adAccounts/{self.ad_account_id}")

    def judge(self, response: httpx.Response) -> Disposition:
        """Retry on a new segment, which isn't found or is locked for a minute or two."""
        if response.status_code in {404, 409, 423} and "/dmpSegments/" in response.request.url.path:
            return Disposition.RETRY
        return super().judge(response)


def _why(element: dict[str, Any]) -> tuple[int, str]:
    """Return the status and message of an element."""
    status = int(element["status"])
    return status, str(element.get("error", {}).get("message") or f"status {status}")


def _usable(segment: dict[str, Any]) -> str:
    """Return the id of a segment. Raises Refused if it has expired or failed."""
    for each in segment.get("destinations", []):
        if each.get("status") in ENDED:
            raise Refused(
                f"LinkedIn's segment '{segment['name']}' is {each['status']}, so no campaign can use it. "
                "Set audiences to another segment's id, or rename or delete it to create a new one."
            )
    return str(segment["id"])
