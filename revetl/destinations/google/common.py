"""Shared by Google's ads APIs: identifiers of people, and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import httpx
from pydantic import BeforeValidator, Field

from revetl.destinations.base.audiences import MatchCount
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
"""By upload key type: a list supports only one."""
SINGLE = ("hashedEmail", "hashedPhoneNumber", "thirdPartyUserId", "mobileId")
AGAIN = frozenset({"CONCURRENT_MODIFICATION", "TRANSIENT_ERROR", "INTERNAL_ERROR", "DEADLINE_EXCEEDED"})
"""Error codes of temporary errors, also in partial failures."""
AGAIN_STATUSES = frozenset({"ABORTED", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"})
"""Statuses of temporary errors."""
STARTED = "JOB_ALREADY_STARTED"
WAYS_OUT = {
    "CONVERSION_ACTION_TOO_RECENTLY_CREATED": "Google accepts events six hours after its creation.",
    "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE": "Set api: data_manager; since April 2026, Google accepts "
    "no new developer tokens for this API.",
    "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS": "Accept Google's customer data terms in the account, and "
    "set ad_user_data and ad_personalization to GRANTED or remove them.",
    "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS": "Google's policies prohibit user data "
    "for this account: send only click identifiers (gclid, gbraid, wbraid).",
    "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED": "Accept Google's customer data terms in the "
    "account (Goals, Settings), or send click identifiers only.",
    "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS": "Turn on enhanced conversions for "
    "leads in the account (Goals, Settings), or send click identifiers only.",
    "DESTINATION_ACCOUNT_TYPE_MISMATCH": "Set customer_id to the Google Ads account.",
    "INCOMPATIBLE_UPLOAD_KEY_TYPE": "Set upload_key_type to the list's.",
    "INVALID_CONVERSION_ACTION_ID": "Set conversion_action_id or conversion_actions to the numeric id of a "
    "conversion action of this account (ctId in its URL in Google Ads).",
    "INVALID_CONVERSION_ACTION_TYPE": "Use a conversion action of type UPLOAD_CLICKS (import from clicks), "
    "or a website action if its tag sends the same events.",
    "INVALID_DESTINATION": "Set customer_id to the account that owns the conversion action.",
    "INVALID_USER_LIST_ID": "Set audiences or audience_id to the id of a list of this account.",
    "INVALID_USER_LIST_TYPE": "Set audiences or audience_id to the id of a Customer Match list.",
    "NOT_ON_ALLOWLIST_FOR_USER_ID": "Request access from Google, or set upload_key_type: CONTACT_INFO.",
    "TERMS_AND_CONDITIONS_NOT_SIGNED": "Accept the Customer Match terms in the account.",
    "USER_PERMISSION_DENIED": "Set login_customer_id to the manager account that grants you access.",
}
"""Errors not caused by a record of the batch, and how to fix them."""
DATA_MANAGER = "https://datamanager.googleapis.com"
DATA_MANAGER_REQUESTS = 300
"""Requests per minute, per Google Cloud project."""


class Api(Protocol):
    """One of the two APIs: finds and creates lists, and changes their members."""

    def add(self, ads: GoogleAds, records: Records) -> Flow:
        """Add a batch to the list."""

    def remove(self, ads: GoogleAds, records: Records) -> Flow:
        """Remove a batch from the list."""

    def find_audience(self, ads: GoogleAds, audience: str) -> Asking[str | None]:
        """Return the id of the list with that name; None if it doesn't exist."""

    def create_audience(self, ads: GoogleAds, audience: str) -> Asking[str]:
        """Create a list with that name and return its id."""

    def description(self, ads: GoogleAds, audience_id: str) -> Asking[str]:
        """Return the description of a list."""

    def describe(self, ads: GoogleAds, audience_id: str, text: str) -> Asking[None]:
        """Set the description of a list."""

    def matched(self, ads: GoogleAds, audience_id: str) -> Asking[MatchCount]:
        """Return how many members of the list Google has matched, for its display network."""

    def probe(self, ads: GoogleAds) -> httpx.Request:
        """Return a harmless request that needs the credentials."""


def search(ads: GoogleAds, query: str) -> httpx.Request:
    """Build a query of the account in Google Ads Query Language."""
    return call(ads, "googleAds:search", {"query": " ".join(query.split())})


def call(ads: GoogleAds, path: str, json: Any) -> httpx.Request:
    """Build a request to the account."""
    return ads.post(f"/{ads.version}/customers/{ads.customer_id}/{path}", json=json)


def errors_in(status: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the errors in a google.rpc.Status with their codes: errors of Google Ads, or violations of the
    Data Manager API."""
    for detail in status.get("details", []):
        for error in detail.get("errors", []):
            yield next(iter(error.get("errorCode", {}).values()), "UNKNOWN"), error
        for violation in detail.get("fieldViolations", []):
            yield violation.get("reason", "INVALID_ARGUMENT"), violation


def said(code: str, error: Mapping[str, Any]) -> str:
    """Format an error."""
    return f"{code}: {error.get('message') or error.get('description') or 'no details given'}"


def rejection(code: str, error: Mapping[str, Any], field: str) -> Rejection:
    """Return the rejection of a record, permanent or temporary."""
    words = said(code, error)
    return for_now(words, field) if code in AGAIN | AGAIN_STATUSES else Rejection(words, field)


def refusal(status: Mapping[str, Any]) -> Refused:
    """Return the exception for an error that affects everything, with the fix if known."""
    found = dict(errors_in(status)) or {str(status.get("status", status.get("code"))): status}
    ways_out = [WAYS_OUT[code] for code in found if code in WAYS_OUT]
    what = "; ".join(said(code, error) for code, error in found.items())
    return Refused(f"Google returned an error: {what} {' '.join(ways_out)}".strip())


def answer_of(response: httpx.Response) -> dict[str, Any]:
    """Return a response's object. Raises Refused if it is an error, except if the job had already started."""
    error = object_of(response, "error")
    if error and STARTED not in {code for code, _ in errors_in(error)}:
        raise refusal(error)
    answer: dict[str, Any] = response.json()
    return answer


def retry_delay(response: httpx.Response) -> float | None:
    """Return the seconds to wait before the next request, if the error includes them."""
    details = object_of(response, "error").get("details", [])
    errors = [error for detail in details for error in detail.get("errors", [])]
    quotas = [error.get("details", {}).get("quotaErrorDetails", {}) for error in errors]
    waits = [str(each["retryDelay"]) for each in (*details, *quotas) if "retryDelay" in each]
    return float(waits[0].removesuffix("s")) if waits else None


def is_over_soon(error: Mapping[str, Any], codes: set[str]) -> bool:
    """Whether the same request may succeed later."""
    return bool(codes & AGAIN) or (error.get("status") in AGAIN_STATUSES and codes.isdisjoint(WAYS_OUT))


def without_invalid(
    count: int, place: re.Pattern[str], ask: Callable[[list[int]], httpx.Request]
) -> Asking[tuple[dict[int, Rejection], httpx.Response | None]]:
    """Send `count` records to the Data Manager API, which accepts a request completely or not at all and
    names invalid fields (`place` extracts the record's index from a field name): valid records are sent again
    without the others. Returns the rejections by index, and the response that accepted the rest. Raises
    Refused for an error that no record caused."""
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
