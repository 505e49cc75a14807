"""What Google's two APIs of Customer Match share: whom they know people by, and how they refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import httpx

from revetl.destinations.audiences import Matched
from revetl.destinations.base import Asking, Flow, Identifier, Records, Refused, Rejection, object_of
from revetl.destinations.records import for_now

if TYPE_CHECKING:
    from revetl.destinations.google_ads import GoogleAds

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
    "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE": "Set api: data_manager; since April 2026 Google takes "
    "no new developer token for this one.",
    "CUSTOMER_NOT_ACCEPTED_CUSTOMER_DATA_TERMS": "Accept Google's customer data terms in the account, and "
    "set ad_user_data and ad_personalization to GRANTED or leave them out.",
    "INCOMPATIBLE_UPLOAD_KEY_TYPE": "Set upload_key_type to that of the list.",
    "INVALID_USER_LIST_ID": "Set audiences or audience_id to the id of a list of this account.",
    "INVALID_USER_LIST_TYPE": "Set audiences or audience_id to the id of a Customer Match list.",
    "NOT_ON_ALLOWLIST_FOR_USER_ID": "Ask Google for it, or set upload_key_type: CONTACT_INFO.",
    "TERMS_AND_CONDITIONS_NOT_SIGNED": "Accept the Customer Match terms in the account.",
    "USER_PERMISSION_DENIED": "Set login_customer_id to the manager account by which you have access.",
}
"""What no record of a batch is to blame for, and what to do about it."""


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
