"""What google_ads sends, as Google's own message types read it; what it hashes, by Google's own formatter.

The Data Manager API's packages (google-ads-datamanager, google-ads-datamanager-util) are asked where they are
installed.
"""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import duckdb
import httpx
import orjson
import pytest
from sqlglot import exp

from revetl.destinations import make_destination
from revetl.destinations.google.common import IDENTIFIERS
from revetl.identifiers.normalize import finish
from revetl.mapping.fields import MappedField, made_alike
from tests.destinations.test_cases import Player

json_format = pytest.importorskip("google.protobuf.json_format")
CASES = orjson.loads((Path(__file__).parents[1] / "cases" / "google_ads.json").read_bytes())["cases"]
VERSION = "google.ads.googleads.v26"
TYPES = {
    "offlineUserDataJobs:create": (VERSION, "CreateOfflineUserDataJobRequest"),
    ":addOperations": (VERSION, "AddOfflineUserDataJobOperationsRequest"),
    ":run": (VERSION, "RunOfflineUserDataJobRequest"),
    "googleAds:search": (VERSION, "SearchGoogleAdsRequest"),
    "userLists:mutate": (VERSION, "MutateUserListsRequest"),
    "audienceMembers:ingest": ("google.ads.datamanager_v1", "IngestAudienceMembersRequest"),
    "audienceMembers:remove": ("google.ads.datamanager_v1", "RemoveAudienceMembersRequest"),
    "/userLists": ("google.ads.datamanager_v1", "UserList"),
}
"""By how the path of a request ends."""


def message_of(request: httpx.Request) -> Any:
    """A request's body as Google's type reads it, which refuses a field that it does not have."""
    package, name = next(kind for end, kind in TYPES.items() if request.url.path.endswith(end))
    module = f"{package}.services.types" if package == VERSION else f"{package}.types"
    kind = getattr(pytest.importorskip(module), name)
    return kind.wrap(json_format.ParseDict(orjson.loads(request.content), kind.pb(kind())))


def sent_in(case: dict[str, Any]) -> list[httpx.Request]:
    """The requests with a body that a case makes, but those for tokens."""
    config = {"type": "google_ads", **case["config"], **case["secrets"]}
    player = Player(make_destination(config, case["name"]), case)
    asyncio.run(player.play())
    return [each for each in player.sent if each.content and "oauth2" not in each.url.host]


@pytest.mark.parametrize(
    "case", [each for each in CASES if "repeat" not in each], ids=lambda case: case["name"]
)
def test_google_reads_every_request(case: dict[str, Any]) -> None:
    requests = sent_in(case)
    assert requests
    for request in requests:
        assert message_of(request) is not None


def test_google_reads_what_was_meant() -> None:
    named = {case["name"]: case for case in CASES}
    create, add, *_ = sent_in(
        named["contact details are normalised and hashed, country and postal code are not"]
    )
    about = message_of(create).job.customer_match_user_list_metadata
    assert about.user_list == "customers/1234567890/userLists/900"
    assert about.consent.ad_user_data.name == about.consent.ad_personalization.name == "GRANTED"
    operations = message_of(add)
    assert operations.enable_partial_failure is True
    first, second = (each.create.user_identifiers for each in operations.operations)
    # More than one key of the same identifier would have cleared the others.
    assert [each._pb.WhichOneof("identifier") for each in first] == [
        "hashed_email",
        "hashed_phone_number",
        "address_info",
    ]
    assert (first[2].address_info.country_code, first[2].address_info.postal_code) == ("GB", "N1C 4AG")
    assert [each._pb.WhichOneof("identifier") for each in second] == ["hashed_email"]
    (made,) = sent_in(named["create_audience"])
    (operation,) = message_of(made).operations
    assert operation.create.crm_based_user_list.upload_key_type.name == "CONTACT_INFO"
    assert operation.create.membership_life_span == 540


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_google_has_such_answers(case: dict[str, Any]) -> None:
    """The failures of the cases are of codes that Google has, in the form in which it says them."""
    failures = pytest.importorskip(f"{VERSION}.errors.types")
    for response in case["responses"]:
        statuses = (response["body"].get("error", {}), response["body"].get("partialFailureError", {}))
        for detail in (each for status in statuses for each in status.get("details", [])):
            if "errors" in detail:
                content = {name: value for name, value in detail.items() if name != "@type"}
                kind = failures.GoogleAdsFailure
                read = kind.wrap(json_format.ParseDict(content, kind.pb(kind())))
                assert all(error.error_code._pb.WhichOneof("error_code") for error in read.errors)


def ours(name: str, value: str) -> str | None:
    """A value as it is sent."""
    identifier = next(each for each in IDENTIFIERS["CONTACT_INFO"] if each.name == name)
    item = made_alike(MappedField(name, exp.convert(value), ""), identifier)
    found = duckdb.execute(f"select {item.expression.sql('duckdb')}").fetchone()
    assert found is not None
    rule = identifier.hashed or identifier.normalised
    if rule in ("e164", "COUNTRY"):
        return finish(rule, str(found[0]), None, hashed=identifier.hashed is not None)
    return None if found[0] is None else str(found[0])


@pytest.mark.parametrize(
    ("name", "function", "value"),
    [
        ("hashedEmail", "process_email_address", " Ada@Example.com "),
        ("hashedEmail", "process_email_address", "Ada.Love.Lace+News@gmail.com"),
        ("hashedEmail", "process_email_address", "a.d.a@GoogleMail.com"),
        ("hashedEmail", "process_email_address", "ada.lovelace+news@example.com"),
        ("hashedPhoneNumber", "process_phone_number", "+44 (20) 7946-0958"),
        ("hashedFirstName", "process_given_name", " Marie-Claire "),
        ("hashedLastName", "process_family_name", "O'Neil"),
        ("hashedLastName", "process_family_name", "Zoë Ångström"),
    ],
)
def test_hashes_are_google_s(name: str, function: str, value: str) -> None:
    pytest.importorskip("google.ads.datamanager_util.format")
    format_ = importlib.import_module("google.ads.datamanager_util.format")
    theirs = getattr(format_.Formatter(), function)(value, format_.Encoding.HEX)
    assert ours(name, value) == theirs


@pytest.mark.parametrize(
    ("name", "function", "value"),
    [("countryCode", "format_region_code", " gb"), ("postalCode", "format_postal_code", " N1C 4AG ")],
)
def test_plain_ones_are_google_s(name: str, function: str, value: str) -> None:
    format_ = pytest.importorskip("google.ads.datamanager_util.format")
    assert ours(name, value) == getattr(format_.Formatter(), function)(value)
