"""Meta's customer-file Custom Audiences: docs/destinations/facebook_ads.md."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import BeforeValidator

from revetl.destinations.base.answers import SuccessShape
from revetl.destinations.base.audiences import AdAudience, HasDescriptions, MatchCount
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Flow,
    Identifier,
    Records,
    Result,
)
from revetl.destinations.facebook.graph import FacebookGraph

OWN = ("EXTERN_ID", "EMAIL", "PHONE", "MADID")
LIMITED_DATA_USE = [f"DATA_PROCESSING_OPTIONS{part}" for part in ("", "_COUNTRY", "_STATE")]

UNDERSTOOD = (
    SuccessShape("* /users", {"num_received": int, "num_invalid_entries?": int}),
    SuccessShape("GET /customaudiences", {"data": [{"id": str, "name": str}], "paging?": dict}),
    SuccessShape("POST /customaudiences", {"id": str}, again=False),
    SuccessShape("GET *", dict),
    SuccessShape("POST *", {"success?": True, "id?": str}),
)


class FacebookAds(FacebookGraph, HasDescriptions, AdAudience):
    """Members of an ad account's Custom Audience, matched by all available hashed keys."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
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
        Identifier("GEN", column="gender", hashed="gender", alone=False),
        Identifier("DOBY", column="birth_year", hashed="birth_year", alone=False),
        Identifier("DOBM", column="birth_month", hashed="birth_month", alone=False),
        Identifier("DOBD", column="birth_day", hashed="birth_day", alone=False),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("ad_account_id",)

    type: Literal["facebook_ads"]
    ad_account_id: Annotated[str, BeforeValidator(lambda given: str(given).removeprefix("act_"))]
    app_ids: tuple[str, ...] = ()
    page_ids: tuple[str, ...] = ()

    def add(self, records: Records) -> Flow:
        return self.users("POST", records)

    def remove(self, records: Records) -> Flow:
        return self.users("DELETE", records)

    def users(self, method: str, records: Records) -> Flow:
        """Add or remove a batch: one row per person, with empty text for missing keys."""
        used = frozenset[str]().union(*(record.identifiers for record in records))
        keys = [each.name for each in self.identifiers if each.name in used]
        data: list[list[Any]] = [[record.identifiers.get(key, "") for key in keys] for record in records]
        payload: dict[str, Any] = {"schema": keys, "data": data}
        if self.limited_data_use:
            # Country and state 0: Meta determines whether the person's state applies.
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

    def description(self, audience_id: str) -> Asking[str]:
        answer = yield self.call("GET", audience_id, asked={"fields": "description"})
        return answer.json().get("description") or ""

    def describe(self, audience_id: str, text: str) -> Asking[None]:
        yield self.call("POST", audience_id, json={"description": text})

    def matched(self, audience_id: str) -> Asking[MatchCount]:
        names = [f"approximate_count_{bound}_bound" for bound in ("lower", "upper")]
        answer = yield self.call("GET", audience_id, asked={"fields": ",".join(names)})
        # -1 means that the audience isn't ready, or that this account may not see its size.
        low, high = (count if (count := answer.json().get(name, -1)) >= 0 else None for name in names)
        return MatchCount(low, high)

    def probe(self) -> httpx.Request:
        return self.call("GET", f"act_{self.ad_account_id}", asked={"fields": "id,name,account_status"})


def _read(answer: dict[str, Any], records: Records) -> Result:
    """Return the rows that Meta calls invalid: all of them, or those with a unique key among its samples.
    Meta doesn't identify other invalid rows."""
    invalid = int(answer.get("num_invalid_entries") or 0)
    samples = set(re.findall(r"[^\s\[\]{},:'\"\\]+", str(answer.get("invalid_entry_samples") or "")))
    bad = [
        at
        for at, record in enumerate(records)
        if invalid == len(records) or samples.intersection(str(record.identifiers.get(key)) for key in OWN)
    ]
    return Result(rejected=dict.fromkeys(bad if invalid else [], "Meta reports an invalid value in it"))
