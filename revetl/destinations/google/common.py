"""What Google's APIs for ads share: the identifiers of people, and how requests are refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import httpx
from pydantic import BeforeValidator, Field

from revetl.destinations.base.audiences import Matched
from revetl.destinations.base.destination import (
    Asking,
    Flow,
    Identifier,
    Records,
    Refused,
    Rejection,
    object_of,
)
from revetl.destinations.base.records import for_now

if TYPE_CHECKING:
    from revetl.destinations.google.ads import GoogleAds

AccountId = Annotated[
    str, BeforeValidator(lambda given: str(given).replace("-", "")), Field(pattern="^[0-9]+$")
]
Url = Annotated[str, Field(pattern="^https?://")]
Consent = Literal["GRANTED", "DENIED"]

ADDRESS = ("hashedFirstName", "hashedLastName", "countryCode", "postalCode")
IDENTIFIERS = {
    "CONTACT_INFO": (
        Identifier("hashedEmail", column="email", hashed="gmail"),
        Identifier("hashedPhoneNumber", column="phone", hashed="e164"),
        Identifier("hashedFirstName", column="first_name", hashed="lower", alone=False),
        Identifier("hashedLastName", column="last_name", hashed="lower", alone=False),
        Identifier("countryCode", column="country", normalised="COUNTRY", alone=False),
        Identifier("postalCode", column="postal_code", normalised="text", alone=False),
    ),
    "CRM_ID": (Identifier("thirdPartyUserId", column="user_id", normalised="text"),),
    "MOBILE_ADVERTISING_ID": (Identifier("mobileId", column="mobile_ad_id", normalised="text"),),
}
"""By the upload key type of a list: no list takes two."""
SINGLE = ("hashedEmail", "hashedPhoneNumber", "thirdPartyUserId", "mobileId")
AGAIN = frozenset({"CONCURRENT_MODIFICATION", "TRANSIENT_ERROR", "INTERNAL_ERROR", "DEADLINE_EXCEEDED"})
"""Codes of what is over soon, in an error and in a partial failure."""
AGAIN_STATUSES = frozenset({"ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"})
"""The same of an error's status."""
STARTED = "JOB_ALREADY_STARTED"
WAYS_OUT = {
    "CONVERSION_ACTION_TOO_RECENTLY_CREATED": "Google takes its first events six hours after it was created.",
    "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE": "Set api: data_manager; since April 2026 Google takes "
    "no new developer token for this one.",
    "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS": "Accept Google's customer data terms in the account, and "
    "set ad_user_data and ad_personalization to GRANTED or leave them out.",
    "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS": "Google's policies rule out user data "
    "for this account: send click identifiers only (gclid, gbraid, wbraid).",
    "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED": "Accept Google's customer data terms in the "
    "account (Goals, Settings), or send click identifiers only.",
    "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS": "Turn on enhanced conversions for "
    "leads in the account (Goals, Settings), or send click identifiers only.",
    "DESTINATION_ACCOUNT_TYPE_MISMATCH": "Set customer_id to the Google Ads account.",
    "INCOMPATIBLE_UPLOAD_KEY_TYPE": "Set upload_key_type to that of the list.",
    "INVALID_CONVERSION_ACTION_ID": "Set conversion_action_id or conversion_actions to the numeric id of a "
    "conversion action of this account (ctId in its address in Google Ads).",
    "INVALID_CONVERSION_ACTION_TYPE": "Use a conversion action of the type UPLOAD_CLICKS (imported from "
    "clicks), or of a website's tag for events that the tag sends too.",
    "INVALID_DESTINATION": "Set customer_id to the account that owns the conversion action.",
    "INVALID_USER_LIST_ID": "Set audiences or audience_id to the id of a list of this account.",
    "INVALID_USER_LIST_TYPE": "Set audiences or audience_id to the id of a Customer Match list.",
    "NOT_ON_ALLOWLIST_FOR_USER_ID": "Ask Google for it, or set upload_key_type: CONTACT_INFO.",
    "TERMS_AND_CONDITIONS_NOT_SIGNED": "Accept the Customer Match terms in the account.",
    "USER_PERMISSION_DENIED": "Set login_customer_id to the manager account by which you have access.",
}
"""What no record of a batch is to blame for, and what to do about it."""
DATA_MANAGER = "https://datamanager.googleapis.com"
DATA_MANAGER_REQUESTS = 300
"""A minute, for a Google Cloud project."""


class Api(Protocol):
    """One of the two: how a list is found and made, and its people changed."""

    def add(self, ads: GoogleAds, records: Records) -> Flow:
        """Put a batch into the list."""

    def remove(self, ads: GoogleAds, records: Records) -> Flow:
        """Take a batch out of the list."""

    def find_audience(self, ads: GoogleAds, audience: str) -> Asking[str | None]:
        """The id of the list of that name; None where there is none."""

    def create_audience(self, ads: GoogleAds, audience: str) -> Asking[str]:
        """Make a list of that name, and give its id."""

    def description(self, ads: GoogleAds, audience_id: str) -> Asking[str]:
        """The description of a list."""

    def describe(self, ads: GoogleAds, audience_id: str, text: str) -> Asking[None]:
        """Give a list a description."""

    def matched(self, ads: GoogleAds, audience_id: str) -> Asking[Matched]:
        """How many people of the list Google has found, for its display network."""

    def probe(self, ads: GoogleAds) -> httpx.Request:
        """A harmless request that needs the credentials."""


def search(ads: GoogleAds, query: str) -> httpx.Request:
    """A query of the account, in the Google Ads Query Language."""
    return call(ads, "googleAds:search", {"query": " ".join(query.split())})


def call(ads: GoogleAds, path: str, json: Any) -> httpx.Request:
    """A call of the account."""
    return ads.post(f"/{ads.version}/customers/{ads.customer_id}/{path}", json=json)


def errors_in(status: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The errors in a google.rpc.Status, each with its code: those of Google Ads, or the violations of the
    Data Manager API."""
    for detail in status.get("details", []):
        for error in detail.get("errors", []):
            yield next(iter(error.get("errorCode", {}).values()), "UNKNOWN"), error
        for violation in detail.get("fieldViolations", []):
            yield violation.get("reason", "INVALID_ARGUMENT"), violation


def said(code: str, error: Mapping[str, Any]) -> str:
    """An error in words."""
    return f"{code}: {error.get('message') or error.get('description') or 'no more is said'}"


def rejection(code: str, error: Mapping[str, Any], field: str) -> Rejection:
    """An error of a record: for good, or for now."""
    words = said(code, error)
    return for_now(words, field) if code in AGAIN | AGAIN_STATUSES else Rejection(words, field)


def refusal(status: Mapping[str, Any]) -> Refused:
    """Why nothing is accepted, in a sentence that says what to do where that is known."""
    found = dict(errors_in(status)) or {str(status.get("status", status.get("code"))): status}
    ways_out = [WAYS_OUT[code] for code in found if code in WAYS_OUT]
    what = "; ".join(said(code, error) for code, error in found.items())
    return Refused(f"Google refused: {what} {' '.join(ways_out)}".strip())


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """An answer's object. Raises Refused where it is an error; that a job was started already is none."""
    error = object_of(response, "error")
    if error and STARTED not in {code for code, _ in errors_in(error)}:
        raise refusal(error)
    answer: dict[str, Any] = response.json()
    return answer


def retry_delay(response: httpx.Response) -> float | None:
    """Seconds to wait before the next request, where the error names them."""
    details = object_of(response, "error").get("details", [])
    errors = [error for detail in details for error in detail.get("errors", [])]
    quotas = [error.get("details", {}).get("quotaErrorDetails", {}) for error in errors]
    waits = [str(each["retryDelay"]) for each in (*details, *quotas) if "retryDelay" in each]
    return float(waits[0].removesuffix("s")) if waits else None


def is_over_soon(error: Mapping[str, Any], codes: set[str]) -> bool:
    """Whether the same request can succeed later."""
    return bool(codes & AGAIN) or (error.get("status") in AGAIN_STATUSES and codes.isdisjoint(WAYS_OUT))


def without_invalid(
    count: int, place: re.Pattern[str], ask: Callable[[list[int]], httpx.Request]
) -> Asking[tuple[dict[int, Rejection], httpx.Response | None]]:
    """Send `count` records to the Data Manager API, which takes a request whole or not at all and names what
    is invalid in it (`place` finds the record in the name of a field): the others are sent again without.
    Gives the rejections by index, and the answer that accepted the rest. Raises Refused for an error that is
    not of any record."""
    rejected: dict[int, Rejection] = {}
    while left := [at for at in range(count) if at not in rejected]:
        answer = yield ask(left)
        error = object_of(answer, "error")
        if not error:
            return rejected, answer
        found = {
            left[int(at[1])]: rejection(code, violation, violation["field"])
            for code, violation in errors_in(error)
            if code not in WAYS_OUT and (at := place.search(violation.get("field", "")))
            if int(at[1]) < len(left)
        }
        if not found:
            raise refusal(error)
        rejected |= found
    return rejected, None
