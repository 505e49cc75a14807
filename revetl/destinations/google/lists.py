"""Customer Match lists by the Google Ads API: docs/destinations/google_ads.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from revetl.destinations.base.audiences import Matched
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
    """The id of the list of that name; None where there is none. Raises Refused when it takes other keys."""
    name = audience.replace("\\", "\\\\").replace("'", "\\'")
    for each in answer_of((yield search(ads, LIST.format(name)))).get("results", []):
        there = each["userList"].get("crmBasedUserList", {}).get("uploadKeyType", ads.upload_key_type)
        if there != ads.upload_key_type:
            raise Refused(f"The list '{audience}' takes {there}. Set upload_key_type: {there}.")
        return str(each["userList"]["id"])
    return None


def create_audience(ads: GoogleAds, audience: str) -> Asking[str]:
    """Make a list of that name, and give its id."""
    about: dict[str, Any] = {"uploadKeyType": ads.upload_key_type}
    if ads.app_id is not None:
        about["appId"] = ads.app_id
    made = {"name": audience, "membershipLifeSpan": ads.membership_life_span, "crmBasedUserList": about}
    answer = answer_of((yield call(ads, "userLists:mutate", {"operations": [{"create": made}]})))
    return str(answer["results"][0]["resourceName"]).rpartition("/")[2]


def description(ads: GoogleAds, audience_id: str) -> Asking[str]:
    """The description of a list."""
    rows = answer_of((yield search(ads, DESCRIPTION.format(audience_id))))["results"]
    return str(rows[0]["userList"].get("description") or "")


def describe(ads: GoogleAds, audience_id: str, text: str) -> Asking[None]:
    """Give a list a description."""
    name = f"customers/{ads.customer_id}/userLists/{audience_id}"
    change = {"update": {"resourceName": name, "description": text}, "updateMask": "description"}
    answer_of((yield call(ads, "userLists:mutate", {"operations": [change]})))


def matched(ads: GoogleAds, audience_id: str) -> Asking[Matched]:
    """How many people of the list Google has found, for its display network."""
    rows = answer_of((yield search(ads, SIZE.format(audience_id))))["results"]
    # Of a list that is too new it is -1; 64-bit numbers are texts in its JSON.
    size = int(rows[0]["userList"].get("sizeForDisplay", -1))
    return Matched(size if size >= 0 else None)


def probe(ads: GoogleAds) -> httpx.Request:
    """A harmless request that needs the credentials."""
    return search(ads, "SELECT customer.id FROM customer LIMIT 1")
