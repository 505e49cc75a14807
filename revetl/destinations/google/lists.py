"""Customer Match lists through the Google Ads API: docs/destinations/google_ads.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from revetl.destinations.base.audiences import MatchCount
from revetl.destinations.base.destination import Asking, Refused
from revetl.destinations.google.common import answer_of, call, search

if TYPE_CHECKING:
    from revetl.destinations.google.ads import GoogleAds

LIST = """
    SELECT user_list.id, user_list.crm_based_user_list.upload_key_type
    FROM user_list
    WHERE user_list.type = 'CRM_BASED' AND user_list.name = '{}'
"""

DESCRIPTION = "SELECT user_list.description FROM user_list WHERE user_list.id = {}"
SIZE = "SELECT user_list.size_for_display FROM user_list WHERE user_list.id = {}"


def find_audience(ads: GoogleAds, audience: str) -> Asking[str | None]:
    """Return the id of the list with that name; None if it doesn't exist. Raises Refused for another key
    type."""
    name = audience.replace("\\", "\\\\").replace("'", "\\'")
    for each in answer_of((yield search(ads, LIST.format(name)))).get("results", []):
        there = each["userList"].get("crmBasedUserList", {}).get("uploadKeyType", ads.upload_key_type)
        if there != ads.upload_key_type:
            raise Refused(f"The list '{audience}' has upload_key_type {there}. Set upload_key_type: {there}.")
        return str(each["userList"]["id"])
    return None


def create_audience(ads: GoogleAds, audience: str) -> Asking[str]:
    """Create a list with that name and return its id."""
    about: dict[str, Any] = {"uploadKeyType": ads.upload_key_type}
    if ads.app_id is not None:
        about["appId"] = ads.app_id
    made = {"name": audience, "membershipLifeSpan": ads.membership_life_span, "crmBasedUserList": about}
    answer = answer_of((yield call(ads, "userLists:mutate", {"operations": [{"create": made}]})))
    return str(answer["results"][0]["resourceName"]).rpartition("/")[2]


def description(ads: GoogleAds, audience_id: str) -> Asking[str]:
    """Return the description of a list."""
    rows = answer_of((yield search(ads, DESCRIPTION.format(audience_id))))["results"]
    return str(rows[0]["userList"].get("description") or "")


def describe(ads: GoogleAds, audience_id: str, text: str) -> Asking[None]:
    """Set the description of a list."""
    name = f"customers/{ads.customer_id}/userLists/{audience_id}"
    change = {"update": {"resourceName": name, "description": text}, "updateMask": "description"}
    answer_of((yield call(ads, "userLists:mutate", {"operations": [change]})))


def matched(ads: GoogleAds, audience_id: str) -> Asking[MatchCount]:
    """Return how many members of the list Google has matched, for its display network."""
    rows = answer_of((yield search(ads, SIZE.format(audience_id))))["results"]
    # It is -1 for lists that are too new; JSON represents 64-bit integers as text.
    size = int(rows[0]["userList"].get("sizeForDisplay", -1))
    return MatchCount(size if size >= 0 else None)


def probe(ads: GoogleAds) -> httpx.Request:
    """Return a harmless request that needs the credentials."""
    return search(ads, "SELECT customer.id FROM customer LIMIT 1")
