"""Customer Match through Google's Data Manager API: docs/destinations/google_ads.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from revetl.destinations.base.audiences import MatchCount
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Flow,
    RateLimit,
    Record,
    Records,
    Result,
)
from revetl.destinations.google.common import (
    ADDRESS,
    DATA_MANAGER,
    DATA_MANAGER_REQUESTS,
    answer_of,
    without_invalid,
)

if TYPE_CHECKING:
    from revetl.destinations.google.ads import GoogleAds

BATCH = Batch(records=10_000)
RATE = RateLimit(requests=DATA_MANAGER_REQUESTS, per_seconds=60)
BASE_URL = DATA_MANAGER
KEY_TYPES = {"CONTACT_INFO": "CONTACT_ID", "CRM_ID": "USER_ID", "MOBILE_ADVERTISING_ID": "MOBILE_ID"}
SINGLE = {"hashedEmail": "emailAddress", "hashedPhoneNumber": "phoneNumber"}
PARTS = dict(zip(ADDRESS, ("givenName", "familyName", "regionCode", "postalCode"), strict=True))
_PLACE = re.compile(r"(?:audience_members|audienceMembers)\[([0-9]+)\]")


def add(ads: GoogleAds, records: Records) -> Flow:
    """Add a batch to the list."""
    return change(ads, "ingest", records)


def remove(ads: GoogleAds, records: Records) -> Flow:
    """Remove a batch from the list."""
    return change(ads, "remove", records)


def change(ads: GoogleAds, verb: str, records: Records) -> Flow:
    """Ingest or remove a batch."""
    rejected, _ = yield from without_invalid(
        len(records), _PLACE, lambda left: request(ads, verb, records, left)
    )
    return Result(rejected=rejected)


def request(ads: GoogleAds, verb: str, records: Records, places: list[int]) -> httpx.Request:
    """Build the request for some records of a batch."""
    target = {"operatingAccount": account(ads.customer_id), "productDestinationId": records.audience_id}
    if ads.login_customer_id is not None:
        target["loginAccount"] = account(ads.login_customer_id)
    body: dict[str, Any] = {
        "destinations": [target],
        "audienceMembers": [member(records.records[at]) for at in places],
        "encoding": "HEX",
    }
    if verb == "ingest":
        body["termsOfService"] = {"customerMatchTermsOfServiceStatus": "ACCEPTED"}
        if ads.consent:
            body["consent"] = {name: f"CONSENT_{value}" for name, value in ads.consent.items()}
    return ads.post(f"/v1/audienceMembers:{verb}", json=body)


def member(record: Record) -> dict[str, Any]:
    """Return a record as an AudienceMember."""
    known = record.identifiers
    if "thirdPartyUserId" in known:
        return {"userIdData": {"userId": known["thirdPartyUserId"]}}
    if "mobileId" in known:
        return {"mobileData": {"mobileIds": [known["mobileId"]]}}
    found: list[dict[str, Any]] = [{theirs: known[ours]} for ours, theirs in SINGLE.items() if ours in known]
    if known.keys() >= {*ADDRESS}:
        found.append({"address": {theirs: known[ours] for ours, theirs in PARTS.items()}})
    return {"userData": {"userIdentifiers": found}}


def account(customer_id: str) -> dict[str, str]:
    """Return a Google Ads account in this API's format."""
    return {"accountType": "GOOGLE_ADS", "accountId": customer_id}


def lists(
    ads: GoogleAds, method: str, *, json: Any = None, asked: dict[str, str], name: str | None = None
) -> httpx.Request:
    """Build a request for the account's user lists, or for the list with that id."""
    by = {"login-account": f"accountTypes/GOOGLE_ADS/accounts/{ads.login_customer_id or ads.customer_id}"}
    path = f"/v1/accountTypes/GOOGLE_ADS/accounts/{ads.customer_id}/userLists"
    path += "" if name is None else f"/{name}"
    return ads.request(method, path, json=json, params=asked, headers=by)


def find_audience(ads: GoogleAds, audience: str) -> Asking[str | None]:
    """Return the id of the list with that name; None if it doesn't exist."""
    asked = {"filter": f"display_name = {orjson.dumps(audience).decode()}"}
    found = answer_of((yield lists(ads, "GET", asked=asked))).get("userLists", [])
    return next((str(each["id"]) for each in found), None)


def create_audience(ads: GoogleAds, audience: str) -> Asking[str]:
    """Create a list with that name and return its id."""
    about = {
        "displayName": audience,
        "membershipDuration": f"{86_400 * ads.membership_life_span}s",
        "ingestedUserListInfo": {"uploadKeyTypes": [KEY_TYPES[ads.upload_key_type]]},
    }
    return str(answer_of((yield lists(ads, "POST", json=about, asked={})))["id"])


def description(ads: GoogleAds, audience_id: str) -> Asking[str]:
    """Return the description of a list."""
    found = answer_of((yield lists(ads, "GET", asked={}, name=audience_id)))
    return str(found.get("description") or "")


def describe(ads: GoogleAds, audience_id: str, text: str) -> Asking[None]:
    """Set the description of a list."""
    asked = {"updateMask": "description"}
    answer_of((yield lists(ads, "PATCH", json={"description": text}, asked=asked, name=audience_id)))


def matched(ads: GoogleAds, audience_id: str) -> Asking[MatchCount]:
    """Return how many members of the list Google has matched, for its display network."""
    found = answer_of((yield lists(ads, "GET", asked={}, name=audience_id))).get("sizeInfo", {})
    size = int(found.get("displayNetworkMembersCount", -1))
    return MatchCount(size if size >= 0 else None)


def probe(ads: GoogleAds) -> httpx.Request:
    """Return a harmless request that needs the credentials."""
    return lists(ads, "GET", asked={"pageSize": "1"})
