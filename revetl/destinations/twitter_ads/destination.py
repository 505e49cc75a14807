"""X's (Twitter's) Custom Audiences: docs/destinations/twitter_ads.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field, SecretStr

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
    Rejection,
    Result,
    object_of,
)
from revetl.destinations.base.records import for_now, refusal
from revetl.destinations.base.retry_headers import quota_wait

AGAIN = frozenset({"INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "TIMEOUT", "TOO_MANY_REQUESTS", "OVER_CAPACITY"})
OF_ACCOUNT = frozenset(
    {"ACCOUNT_NOT_FOUND", "FORBIDDEN", "NOT_FOUND", "UNAUTHORIZED_ACCESS", "UNAUTHORIZED_CLIENT_APPLICATION"}
    | {"USER_NOT_ACCEPTED_TOS", "TOS_NOT_ACCEPTED", "CUSTOM_AUDIENCE_NOT_FOUND", "RESOURCE_NOT_FOUND"}
)
"""Error codes of the account or audience, regardless of the status."""
UNDERSTOOD = (
    SuccessShape(
        "POST /custom_audiences/*/users", {"data": {"success_count": int}, "operation_errors?": list}
    ),
    SuccessShape("GET /custom_audiences", {"data": [{"id": str, "name": str}]}),
    SuccessShape("POST /custom_audiences", {"data": {"id": str}}, again=False),
    SuccessShape("GET *", {"data": dict}),
)


class TwitterAds(SignsIn, AdAudience):
    """Members of an ad account's Custom Audience, by the hash of each id."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=2_500, bytes=5_000_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=1_500, per_seconds=60)
    smallest: ClassVar[int | None] = 100
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("email", column="email", hashed="email"),
        Identifier("phone_number", column="phone", hashed="e164"),
        Identifier("handle", column="twitter_handle", hashed="handle"),
        Identifier("twitter_id", column="twitter_id", hashed="digits"),
        Identifier("device_id", column="mobile_ad_id", hashed="lower"),
        Identifier("partner_user_id", column="partner_user_id", normalised="text"),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("account_id",)

    needed_credentials: ClassVar[tuple[str, ...]] = (
        "consumer_key",
        "consumer_secret",
        "access_token",
        "access_token_secret",
    )

    type: Literal["twitter_ads"]
    consumer_key: SecretStr | None = None
    consumer_secret: SecretStr | None = None
    access_token: SecretStr | None = None
    access_token_secret: SecretStr | None = None
    account_id: str
    version: Annotated[str, Field(pattern=r"^\d+$", coerce_numbers_to_str=True)] = "12"
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://ads-api.x.com"

    def auth(self) -> httpx.Auth | None:
        from revetl.destinations.auth.oauth1 import OAuth1

        if self.sign_in is not None:
            return self.signing()
        keys = (self.consumer_key, self.consumer_secret, self.access_token, self.access_token_secret)
        return OAuth1(*("" if key is None else key.get_secret_value() for key in keys))

    def call(
        self, method: str, path: str = "", *, json: Any = None, asked: Mapping[str, str] | None = None
    ) -> httpx.Request:
        """Build a request to the account, at the API's version."""
        return self.request(
            method, f"/{self.version}/accounts/{self.account_id}{path}", json=json, params=asked
        )

    def add(self, records: Records) -> Flow:
        return self.users("Update", records)

    def remove(self, records: Records) -> Flow:
        return self.users("Delete", records)

    def users(self, operation: str, records: Records) -> Flow:
        """Add or remove a batch, with one operation per person: errors have the index of their operation. A
        batch is accepted completely or not at all."""
        people = [{name: [value] for name, value in record.identifiers.items()} for record in records]
        operations = [{"operation_type": operation, "params": {"users": [person]}} for person in people]
        path = f"/custom_audiences/{records.audience_id}/users"
        response = yield self.call("POST", path, json=operations)
        answer = response.json()
        rejected = _errors(answer)
        done = (answer.get("data") or {}).get("success_count")
        if response.is_success and done == len(records) - len(rejected):
            return Result(rejected)
        others = set(range(len(records))) - set(rejected)
        return Result(rejected, dict.fromkeys(others, f"the whole batch failed: {done} were accepted"))

    def find_audience(self, audience: str) -> Asking[str | None]:
        asked = {"count": "1000"}
        while True:
            answer = yield self.call("GET", "/custom_audiences", asked=asked)
            page = answer.json()
            for each in page["data"]:
                if each["name"] == audience:
                    return str(each["id"])
            if not page.get("next_cursor"):
                return None
            asked = {**asked, "cursor": page["next_cursor"]}

    def create_audience(self, audience: str) -> Asking[str]:
        answer = yield self.call("POST", "/custom_audiences", asked={"name": audience})
        return str(answer.json()["data"]["id"])

    def matched(self, audience_id: str) -> Asking[MatchCount]:
        answer = yield self.call("GET", f"/custom_audiences/{audience_id}")
        size = answer.json()["data"].get("audience_size")
        return MatchCount(None if size is None else int(size))

    def probe(self) -> httpx.Request:
        return self.call("GET")

    def judge(self, response: httpx.Response) -> Disposition:
        said = object_of(response)
        errors = said.get("errors") or ()
        codes = {str(error.get("code")) for error in errors if isinstance(error, dict)}
        if codes & OF_ACCOUNT:
            return Disposition.FATAL
        if codes & AGAIN:
            return Disposition.RETRY
        if response.status_code == 400 and said.get("operation_errors"):
            return Disposition.PASS
        return super().judge(response)

    def pause(self, response: httpx.Response) -> float | None:
        """Return the pause for the account's rate limit, which takes precedence over the user's."""
        told = response.headers.items()
        own = {name.replace("x-account-", "x-"): value for name, value in told if "x-account-" in name}
        return quota_wait(httpx.Headers({**own, "date": response.headers.get("date", "")}))


def _errors(answer: dict[str, Any]) -> dict[int, Rejection]:
    """Return errors by index of the operation: each entry is a list or a single object."""
    told: dict[int, Rejection] = {}
    for at, errors in enumerate(answer.get("operation_errors") or ()):
        for error in errors if isinstance(errors, list) else [errors]:
            if error:
                index = int(error.get("operation_index", error.get("index", at)))
                why = f"{error.get('code')}: {error.get('message')}"
                told[index] = for_now(why) if error.get("code") in AGAIN else refusal(why)
    return told
