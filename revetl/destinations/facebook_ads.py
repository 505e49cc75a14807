"""Meta's customer-file Custom Audiences: docs/destinations/facebook_ads.md."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import BeforeValidator, Field, SecretStr

from revetl.destinations.audiences import AdAudience, Matched
from revetl.destinations.base import Asking, Batch, Flow, Identifier, Records, Result, Verdict, object_of

LIMITED = frozenset({4, 17, 32, 613, *range(80_000, 80_015)})
REFUSED = frozenset({3, 10, 102, 190, *range(200, 300)})
OWN = ("EXTERN_ID", "EMAIL", "PHONE", "MADID")
LIMITED_DATA_USE = [f"DATA_PROCESSING_OPTIONS{part}" for part in ("", "_COUNTRY", "_STATE")]


class FacebookAds(AdAudience):
    """People of a Custom Audience of an ad account, by as many keys as there are of each, hashed."""

    batch: ClassVar[Batch] = Batch(records=10_000)
    smallest: ClassVar[int | None] = 100
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("EXTERN_ID", column="user_id"),
        Identifier("EMAIL", column="email", hashed="email"),
        Identifier("PHONE", column="phone", hashed="e164_digits"),
        Identifier("MADID", column="mobile_ad_id", normalised="lower"),
        Identifier("APPUID", column="facebook_app_user_id"),
        Identifier("PAGEUID", column="facebook_page_user_id"),
        Identifier("FN", column="first_name", hashed="name", alone=False),
        Identifier("LN", column="last_name", hashed="name", alone=False),
        Identifier("CT", column="city", hashed="letters", alone=False),
        Identifier("ST", column="state", hashed="letters", alone=False),
        Identifier("ZIP", column="postal_code", hashed="zip", alone=False),
        Identifier("COUNTRY", column="country", hashed="country", alone=False),
        Identifier("GEN", column="gender", hashed="initial", alone=False),
        Identifier("DOBY", column="birth_year", hashed="digits", alone=False),
        Identifier("DOBM", column="birth_month", hashed="two_digits", alone=False),
        Identifier("DOBD", column="birth_day", hashed="two_digits", alone=False),
    )

    type: Literal["facebook_ads"]
    access_token: SecretStr
    app_secret: SecretStr | None = None
    ad_account_id: Annotated[str, BeforeValidator(lambda given: str(given).removeprefix("act_"))]
    version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v23.0"
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://graph.facebook.com"
    app_ids: tuple[str, ...] = ()
    page_ids: tuple[str, ...] = ()
    limited_data_use: bool = False

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token.get_secret_value()}"}

    def call(
        self, method: str, path: str, *, json: Any = None, asked: Mapping[str, str] | None = None
    ) -> httpx.Request:
        """A call of the Graph API, with the app's proof where the app's secret is known."""
        query = dict(asked or {})
        if self.app_secret is not None:
            key, token = self.app_secret.get_secret_value(), self.access_token.get_secret_value()
            query["appsecret_proof"] = hmac.digest(key.encode(), token.encode(), "sha256").hex()
        return self.request(method, f"/{self.version}/{path}", json=json, params=query)

    def add(self, records: Records) -> Flow:
        return self.users("POST", records)

    def remove(self, records: Records) -> Flow:
        return self.users("DELETE", records)

    def users(self, method: str, records: Records) -> Flow:
        """Add or remove a batch: one row a person, an empty text where a key is not known."""
        used = frozenset[str]().union(*(record.identifiers for record in records))
        keys = [each.name for each in self.identifiers if each.name in used]
        data: list[list[Any]] = [[record.identifiers.get(key, "") for key in keys] for record in records]
        payload: dict[str, Any] = {"schema": keys, "data": data}
        if self.limited_data_use:
            # Country and state 0: Meta finds out whether a person's state is one where it applies.
            payload = {"schema": [*keys, *LIMITED_DATA_USE], "data": [[*row, ["LDU"], 0, 0] for row in data]}
        scopes = (("APPUID", "app_ids", self.app_ids), ("PAGEUID", "page_ids", self.page_ids))
        payload |= {name: ids for key, name, ids in scopes if key in used}
        answer = yield self.call(method, f"{records.audience_id}/users", json={"payload": payload})
        return _read(answer.json(), records)

    def find_audience(self, audience: str) -> Asking[str | None]:
        asked = {"fields": "id,name", "limit": "200"}
        while True:
            answer = yield self.call("GET", f"act_{self.ad_account_id}/customaudiences", asked=asked)
            page = answer.json()
            for each in page["data"]:
                if each["name"] == audience:
                    return str(each["id"])
            if "next" not in page.get("paging", {}):
                return None
            asked = {**asked, "after": page["paging"]["cursors"]["after"]}

    def create_audience(self, audience: str) -> Asking[str]:
        about = {"name": audience, "subtype": "CUSTOM", "customer_file_source": "USER_PROVIDED_ONLY"}
        answer = yield self.call("POST", f"act_{self.ad_account_id}/customaudiences", json=about)
        return str(answer.json()["id"])

    def matched(self, audience_id: str) -> Asking[Matched]:
        names = [f"approximate_count_{bound}_bound" for bound in ("lower", "upper")]
        answer = yield self.call("GET", audience_id, asked={"fields": ",".join(names)})
        # -1 is an audience that is not ready, or that this account may not count.
        low, high = (count if (count := answer.json().get(name, -1)) >= 0 else None for name in names)
        return Matched(low, high)

    def probe(self) -> httpx.Request:
        return self.call("GET", f"act_{self.ad_account_id}", asked={"fields": "id,name,account_status"})

    def judge(self, response: httpx.Response) -> Verdict:
        """Meta says 400 of nearly everything; the code tells what it is."""
        error = object_of(response, "error")
        code = error.get("code")
        if code in LIMITED:
            return Verdict.LIMITED
        if code in {1, 2} or error.get("is_transient"):
            return Verdict.RETRY
        # 33 is an audience that is not there, or not ours.
        if code in REFUSED or error.get("error_subcode") == 33:
            return Verdict.FATAL
        return super().judge(response)

    def pause(self, response: httpx.Response) -> float | None:
        # By account, a list of limits; each says the minutes until there is access again.
        usage = orjson.loads(response.headers.get("x-business-use-case-usage", "{}"))
        limits = [limit for account in usage.values() for limit in account]
        minutes = max((limit.get("estimated_time_to_regain_access", 0) for limit in limits), default=0)
        return 60.0 * minutes or None


def _read(answer: dict[str, Any], records: Records) -> Result:
    """The rows that Meta calls invalid: all of them, or those of whom a key that nobody shares is among its
    samples. It tells of no others which they are."""
    invalid = int(answer.get("num_invalid_entries") or 0)
    samples = set(re.findall(r"[^\s\[\]{},:'\"\\]+", str(answer.get("invalid_entry_samples") or "")))
    bad = [
        at
        for at, record in enumerate(records)
        if invalid == len(records) or samples.intersection(str(record.identifiers.get(key)) for key in OWN)
    ]
    return Result(rejected=dict.fromkeys(bad if invalid else [], "an entry of it is invalid"))
