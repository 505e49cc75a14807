"""TikTok's streaming API for audience segments: docs/destinations/tiktok_ads.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import BeforeValidator, Field, SecretStr

from revetl.destinations.auth.sign_in import SignsIn
from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.audiences import AdAudience, MatchCount
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    Records,
    Result,
    object_of,
)

LIMITED = frozenset({40_100, 40_132})
BUSY = frozenset({40_200, 40_201, 40_202})
TOO_MANY = 40_061
TOKEN_ENDED = frozenset({40_102, 40_104, 40_105})
REFUSED = frozenset(
    {40_001, 40_003, 40_006, 40_007, 40_009, 40_010, 40_013, 40_016, 40_051, 40_400, 40_700, 41_000, 41_001}
)
NO_AUDIENCE = re.compile("audience.*(exist|belong|permission|found)", re.IGNORECASE)
LONGEST_NAME, SHORTENED = 70, 67

UNDERSTOOD = (
    SuccessShape("POST /segment/mapping/", {"code": 0}),
    SuccessShape(
        "GET /dmp/custom_audience/list/",
        {"code": 0, "data": {"list": [{"audience_id": str, "name": str}], "page_info": {"total_page": int}}},
    ),
    SuccessShape("POST /segment/audience/", {"code": 0, "data": {"audience_id": str}}, again=False),
    SuccessShape("GET *", {"code": 0, "data": dict}),
)


class TikTokAds(SignsIn, AdAudience):
    """Members of an advertiser's audience segment, by the hash of each id."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=10_000)
    smallest: ClassVar[int | None] = 1_000
    rate: ClassVar[RateLimit | None] = RateLimit(requests=10)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("EMAIL_SHA256", column="email", hashed="email"),
        Identifier("PHONE_SHA256", column="phone", hashed="e164"),
        Identifier("IDFA_SHA256", column="idfa", hashed="lower"),
        Identifier("AAID_SHA256", column="aaid", hashed="lower"),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("advertiser_id",)

    needed_credentials: ClassVar[tuple[str, ...]] = ("access_token",)

    type: Literal["tiktok_ads"]
    access_token: SecretStr | None = None
    advertiser_id: Annotated[str, BeforeValidator(str)]
    version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v1.3"
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://business-api.tiktok.com"

    def headers(self) -> dict[str, str]:
        return {} if self.access_token is None else {"Access-Token": self.access_token.get_secret_value()}

    def refuses_token(self, response: httpx.Response) -> bool:
        return object_of(response).get("code") in TOKEN_ENDED or super().refuses_token(response)

    def call(
        self, method: str, path: str, *, json: Any = None, asked: Mapping[str, str] | None = None
    ) -> httpx.Request:
        """Build a request to the versioned API; every path ends with a slash."""
        return self.request(method, f"/open_api/{self.version}/{path}/", json=json, params=asked)

    def add(self, records: Records) -> Flow:
        return self.map("add", records)

    def remove(self, records: Records) -> Flow:
        return self.map("delete", records)

    def map(self, action: str, records: Records) -> Flow:
        """Add or delete the mappings of a batch: one row per person, one object per id, which is empty if
        missing."""
        used = {name for record in records for name in record.identifiers}
        schema = [each.name for each in self.identifiers if each.name in used]
        audiences = [records.audience_id]
        rows = [
            [
                {"id": record.identifiers[name], "audience_ids": audiences}
                if name in record.identifiers
                else {}
                for name in schema
            ]
            for record in records
        ]
        about = {
            "advertiser_ids": [self.advertiser_id],
            "action": action,
            "id_schema": schema,
            "batch_data": rows,
        }
        yield self.call("POST", "segment/mapping", json=about)
        return Result()

    def find_audience(self, audience: str) -> Asking[str | None]:
        page, pages = 1, 1
        while page <= pages:
            asked = {"advertiser_id": self.advertiser_id, "page": str(page), "page_size": "100"}
            answer = yield self.call("GET", "dmp/custom_audience/list", asked=asked)
            found = answer.json()["data"]
            for each in found["list"]:
                # Only partner audiences accept mappings.
                is_segment = "partner" in str(each.get("audience_type", "partner")).lower()
                if each["name"] == _shown(audience) and is_segment:
                    return str(each["audience_id"])
            page, pages = page + 1, int(found["page_info"]["total_page"])
        return None

    def create_audience(self, audience: str) -> Asking[str]:
        about = {"advertiser_id": self.advertiser_id, "custom_audience_name": audience, "action": "create"}
        answer = yield self.call("POST", "segment/audience", json=about)
        return str(answer.json()["data"]["audience_id"])

    def matched(self, audience_id: str) -> Asking[MatchCount]:
        asked = {"advertiser_id": self.advertiser_id, "custom_audience_ids": f'["{audience_id}"]'}
        answer = yield self.call("GET", "dmp/custom_audience/get", asked=asked)
        return MatchCount(answer.json()["data"]["list"][0]["audience_details"].get("cover_num"))

    def probe(self) -> httpx.Request:
        advertisers = orjson.dumps([self.advertiser_id]).decode()
        return self.call("GET", "advertiser/info", asked={"advertiser_ids": advertisers})

    def judge(self, response: httpx.Response) -> Disposition:
        """TikTok returns 200 for nearly every error; the code in the body identifies it."""
        said = object_of(response)
        code = said.get("code")
        if not isinstance(code, int):
            # The shape of the body decides whether a success is TikTok's.
            return super().judge(response)
        if code == 0:
            return Disposition.PASS
        if code in LIMITED:
            return Disposition.LIMITED
        if code in BUSY or code >= 50_000:
            return Disposition.RETRY
        if code == TOO_MANY:
            return Disposition.SPLIT
        is_about_us = code in REFUSED or 40_100 < code < 40_400
        if is_about_us or NO_AUDIENCE.search(str(said.get("message"))):
            return Disposition.FATAL
        # TikTok doesn't report partially accepted batches either.
        return Disposition.BISECT


def _shown(audience: str) -> str:
    """Return an audience's name as TikTok stores it."""
    return audience if len(audience) <= LONGEST_NAME else audience[:SHORTENED] + "..."
