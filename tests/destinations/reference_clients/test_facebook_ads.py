"""What facebook_ads sends, beside what Meta's own SDK would send of the same people.

The SDK has two ways to make values alike, which do not agree with each other on what is no Latin letter.
Where they agree, so do we; where they do not, we do as Meta's reference says: letters of any script are kept.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from revetl.destinations import make_destination
from revetl.destinations.facebook.ads import FacebookAds
from tests.destinations.test_cases import Player

customaudience = pytest.importorskip("facebook_business.adobjects.customaudience")
normalize = pytest.importorskip("facebook_business.adobjects.serverside.normalize")

COLUMNS = {each.name: each.column for each in FacebookAds.identifiers}
SERVER_SIDE = {
    "EMAIL": "em",
    "PHONE": "ph",
    "FN": "fn",
    "LN": "ln",
    "CT": "ct",
    "ST": "st",
    "ZIP": "zp",
    "COUNTRY": "country",
    "DOBY": "doby",
    "DOBM": "dobm",
    "DOBD": "dobd",
}
PEOPLE = [
    {
        "EXTERN_ID": "u1",
        "EMAIL": " Ada@Example.com ",
        "PHONE": "+44 (20) 7946-0958",
        "FN": " Ada",
        "LN": "Lovelace",
        "CT": "San Francisco",
        "ST": "ca",
        "ZIP": "94025-1234",
        "COUNTRY": " US",
        "GEN": "Female",
        "DOBY": "1915",
        "DOBM": "2",
        "DOBD": "10",
    },
    {
        "EXTERN_ID": "u-2",
        "EMAIL": "GRACE.hopper+news@gmail.com",
        "PHONE": "+1 650 253 0000",
        "FN": "GRACE",
        "LN": "hopper ",
        "CT": "New York",
        "ST": "NY",
        "ZIP": "10001",
        "COUNTRY": "us",
        "GEN": "f",
        "DOBY": "1906",
        "DOBM": "12",
        "DOBD": "09",
    },
]


def payload_of(people: list[dict[str, str]]) -> dict[str, Any]:
    """The payload that we send of people."""
    config = {"type": "facebook_ads", "ad_account_id": "77", "audience_id": "238", "access_token": "TOKEN"}
    rows = [{COLUMNS[key]: value for key, value in person.items()} for person in people]
    case = {"operation": "add", "records": rows, "responses": []}
    player = Player(make_destination(config, "case"), case)
    asyncio.run(player.play())
    (request,) = player.sent
    payload: dict[str, Any] = orjson.loads(request.content)["payload"]
    return payload


def test_the_schema_is_one_that_meta_has() -> None:
    theirs = {
        value
        for name, value in vars(customaudience.CustomAudience.Schema.MultiKeySchema).items()
        if name[0] != "_"
    }
    # PAGEUID is in Meta's reference, and not in the SDK; FI is the first letter of FN.
    assert set(COLUMNS) - {"PAGEUID"} == theirs - {"FI"}


def test_a_payload_is_that_of_the_sdk() -> None:
    ours = payload_of(PEOPLE)
    rows = [[person[key] for key in ours["schema"]] for person in PEOPLE]
    theirs = customaudience.CustomAudience.format_params(ours["schema"], rows, is_raw=True)["payload"]
    assert ours["data"] == theirs["data"]


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person["EXTERN_ID"])
@pytest.mark.parametrize(("key", "field"), SERVER_SIDE.items())
def test_a_hash_is_that_of_the_conversions_api(key: str, field: str, person: dict[str, str]) -> None:
    ours = payload_of([{"EXTERN_ID": "u1", key: person[key]}])
    assert ours["data"] == [["u1", normalize.Normalize.normalize_field(field, person[key])]]


@pytest.mark.parametrize("name", ["Zoë", "Ångström", "李"])
def test_letters_of_any_script_are_kept(name: str) -> None:
    """As the Conversions API's part of the SDK does; the part for audiences drops what is not a to z."""
    ours = payload_of([{"EXTERN_ID": "u1", "FN": name}])
    assert ours["data"] == [["u1", normalize.Normalize.normalize_field("fn", name)]]


def test_what_is_hashed_is_not_hashed_again() -> None:
    hashed = normalize.Normalize.normalize_field("em", "ada@example.com")
    assert payload_of([{"EMAIL": hashed}])["data"] == [[hashed]]
    assert normalize.Normalize.normalize_field("em", hashed) == hashed
