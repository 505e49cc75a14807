"""Phone numbers and countries in common spellings, and changes of the metadata's version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import phonenumbers
import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from revetl.identifiers.countries import country_upper
from revetl.identifiers.phones import e164, e164_digits, phones_version
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people

EXAMPLES = [
    (region, number, phonenumbers.format_number(number, PhoneNumberFormat.E164))
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for kind in (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE)
    if (number := phonenumbers.example_number_for_type(region, kind)) is not None
]
ABROAD = ("US", "DE", "AU", "RU")


def international(e164: str, grouped: str) -> Iterator[tuple[str, str]]:
    """How a number is typed with its country code."""
    yield "+", e164
    yield "+ and groups", grouped
    yield "+ in brackets", f"({grouped.replace(' ', ') ', 1)}"
    yield "no +", e164[1:]
    yield "no +, in groups", grouped[1:]
    yield "00", f"00{e164[1:]}"
    yield "00 and groups", f"00 {grouped[1:]}"
    yield "full-width digits", "".join(chr(ord(each) + 0xFEE0) for each in e164)
    yield "a double of a Parquet file", f"{e164[1:]}.0"
    yield "labeled, with an extension", f"Tel.: {grouped} ext. 12"


def national(number: phonenumbers.PhoneNumber) -> Iterator[tuple[str, str]]:
    """How a number is typed at home, with its trunk prefix and without."""
    grouped = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    digits = phonenumbers.normalize_digits_only(grouped)
    bare = phonenumbers.national_significant_number(number)
    yield "groups", grouped
    yield "dashes", grouped.replace(" ", "-")
    yield "dots", grouped.replace(" ", ".")
    yield "no-break spaces", grouped.replace(" ", "\N{NO-BREAK SPACE}")
    yield "digits", digits
    yield "Arabic digits", "".join(chr(0x660 + int(each)) for each in digits)
    yield "no trunk prefix", bare
    yield "no trunk prefix, area in brackets", f"({bare[:2]}) {bare[2:]}"


def test_the_example_numbers_of_every_region_are_read_however_they_are_typed() -> None:
    wrong = []
    for region, number, wanted in EXAMPLES:
        grouped = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
        for way, text in (*international(wanted, grouped), *national(number)):
            if (found := e164(text, region)) != wanted:
                wrong.append((region, way, text, found, wanted))
    assert len(EXAMPLES) > 450
    assert wrong == []


def test_a_number_with_a_country_code_needs_no_region() -> None:
    wrong = []
    for region, number, wanted in EXAMPLES:
        grouped = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
        wrong += [
            (region, way, text) for way, text in international(wanted, grouped) if e164(text, None) != wanted
        ]
    assert wrong == []


@pytest.mark.parametrize("here", ABROAD)
def test_a_plus_or_the_international_prefix_of_the_region_leaves_no_doubt(here: str) -> None:
    wrong = []
    for region, number, wanted in EXAMPLES:
        if phonenumbers.country_code_for_region(here) == number.country_code:
            continue
        dialed = phonenumbers.format_out_of_country_calling_number(number, here)
        wrong += [(region, text) for text in (wanted, dialed) if e164(text, here) != wanted]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "region", "wanted"),
    [
        ("16505551212", "IN", "+16505551212"),
        ("4915112345678", "DE", "+4915112345678"),
        ("4915112345678", None, "+4915112345678"),
        ("6281234567890", "ID", "+6281234567890"),
        ("46701234567", "SE", "+46701234567"),
        ("2125551234", "US", "+12125551234"),
        ("+0044 20 7946 0958", None, "+442079460958"),
        ("(+49) 30 1234567", None, "+49301234567"),
        ("+49 (0)30 1234567", None, "+49301234567"),
        ("8 916 123-45-67", "RU", "+79161234567"),
        ("1-800-FLOWERS", "US", "+18003569377"),
        ("+1 (800) FLOWERS", None, "+18003569377"),
        ("650-253-0000 ext 5", "US", "+16502530000"),
        ("+٤٤٢٠٧٩٤٦٠٩٥٨", None, "+442079460958"),
        ("+52 1 55 1234 5678", None, "+525512345678"),
        ("5215512345678", None, "+525512345678"),
        ("1 55 1234 5678", "MX", "+525512345678"),
    ],
)
def test_numbers_that_were_misread_before(text: str, region: str | None, wanted: str) -> None:
    assert (e164(text, region), e164_digits(text, region)) == (wanted, wanted[1:])


@pytest.mark.parametrize(
    ("text", "region", "read", "other"),
    [
        # Digits without a + that are valid both ways are the region's own country code first, ...
        ("4930123456", "DE", "+4930123456", "a subscriber in area 4930, typed without its 0"),
        # ... then national: here a number of Zimbabwe, of Mexico's neighbor, of Dominica.
        ("263712345678", "DE", "+49263712345678", "+263712345678"),
        ("9671234567", "IN", "+919671234567", "+9671234567"),
        ("7678123456", "US", None, "+7678123456"),
        # A 00 where the region dials 001, 002 and so on is the carrier's.
        ("00262639012345", "SG", "+62639012345", "+262639012345"),
        ("00 262 639 01 23 45", "HK", "+62639012345", "+262639012345"),
    ],
)
def test_ambiguous_digits_are_read_in_the_documented_order(
    text: str, region: str, read: str | None, other: str
) -> None:
    assert e164(text, region) == read, f"it could be {other}"


@pytest.mark.parametrize("region", [None, "US", "GB", "DE", "IN"])
@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "  ",
            "N/A",
            "unknown",
            "-",
            "0",
            "+",
            "12345",
            "911",
            "call me",
            "[object Object]",
            "NaN",
            "null",
        ),
        *("4.42079E+11", "1,23E+10", "p1@442079460958.com", "1" * 19, "+1 111 111 1111", "a" * 400),
    ],
)
def test_an_invalid_number_is_none(text: str, region: str | None) -> None:
    assert e164(text, region) is None


@given(
    text=st.one_of(st.text(max_size=30), st.from_regex(r"\+?[0-9() .-]{6,18}", fullmatch=True)),
    region=st.sampled_from([None, *ABROAD]),
    other=st.sampled_from([None, *ABROAD]),
)
def test_normalization_is_idempotent_in_every_region(
    text: str, region: str | None, other: str | None
) -> None:
    found = e164(text, region)
    if found is not None:
        assert phonenumbers.is_valid_number(phonenumbers.parse(found))
        assert e164(found, other) == found


COUNTRIES = {
    "GB": ["UK", "uk ", "U.K.", "Great Britain", "England", "Scotland", "Wales", "United Kingdom", "826"],
    "TR": ["Turkey", "Türkiye", "TÜRKİYE", "Turkiye", "tur"],
    "RU": ["Russia", "Russian Federation", "RUSSIA"],
    "KR": ["South Korea", "Korea, Republic of", "Republic of Korea", "Korea (South)"],
    "KP": ["North Korea"],
    "VN": ["Vietnam", "Viet Nam"],
    "CZ": ["Czech Republic", "Czechia"],
    "US": ["USA", "U.S.A.", "U.S.", "us", "United States", "United States of America", "America"],
    "NL": ["Holland", "The Netherlands", "Netherlands"],
    "CI": ["Ivory Coast", "Côte d'Ivoire", "cote divoire"],
    "DE": ["Deutschland", "Germany", "DEU"],
    "LC": ["St. Lucia", "Saint Lucia"],
    "BA": ["Bosnia & Herzegovina", "Bosnia"],
    "CD": ["DR Congo", "Congo, The Democratic Republic of the"],
    "NE": ["Niger"],
    "NG": ["Nigeria"],
    "": ["", "??", "Atlantis", "Virgin Islands", "N/A", "null", "Nigeri", "XX", "Europe"],
}


def test_countries_are_known_by_their_common_names_and_never_guessed() -> None:
    read = {letters: {country_upper(text, None) for text in texts} for letters, texts in COUNTRIES.items()}
    assert read == {letters: {letters or None} for letters in COUNTRIES}


def test_every_country_is_known_by_each_of_its_codes_and_names() -> None:
    names = ("alpha_2", "alpha_3", "numeric", "name", "official_name", "common_name")
    wrong = [
        (each.alpha_2, text)
        for each in pycountry.countries
        for text in (getattr(each, name, None) for name in names)
        if text is not None and country_upper(text, None) != each.alpha_2
    ]
    assert wrong == []


META: dict[str, Any] = {
    "key": "user_id",
    "sync": [{"to": "ads", "max_change": 1.0, "identifiers": {"PHONE": "phone", "COUNTRY": "country"}}],
}


@pytest.fixture
def ads(tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    """A project with an audience of phones for ads, in India."""
    config = {"type": "facebook_ads", "ad_account_id": "7", "access_token": "TOKEN", "phone_region": "IN"}
    return ProjectFolder(
        tmp_path / "shop", {"ads": {**config, "base_url": f"{sandbox.url}/facebook_ads", "retries": 0}}
    )


def phones(*rows: tuple[object, ...]) -> str:
    return people(*rows, columns="user_id, phone, country")


def test_a_rejection_for_a_phone_number_names_the_value(ads: ProjectFolder, sandbox: SandboxClient) -> None:
    ads.audience("vips", phones(("u1", "16505551212", "UK"), ("u2", "12345", "UK")), META)
    (run,) = ads.open().sync("vips")
    assert (run.delivered["add"], run.rejected["add"]) == (1, 1)
    (rejection,) = ads.open().rejections()
    assert rejection["reason"] == (
        "it has no identifier that the destination supports: COUNTRY also needs EXTERN_ID or "
        "EMAIL or PHONE: PHONE '12345' is not a valid phone number (phone_region: IN)"
    )


def test_another_version_of_phone_metadata_is_said_and_sends_again_only_who_comes_out_different(
    ads: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    """The state has what the earlier version sent: of u3, another number."""
    sent = """regexp_replace(identifiers, '("PHONE": ?")[0-9a-f]{64}', '\\1' || repeat('f', 64))"""
    rows = [(f"u{n}", f"+9198765432{n:02}", "India") for n in range(10)]
    ads.audience("vips", phones(*rows), META)
    ads.open().sync("vips")
    version = f"phones {phones_version()}"
    ((hash_by,),) = ads.sql("select distinct hash_by from revetl.revetl.sync_state")
    assert version in hash_by
    ads.sql(
        f"update revetl.revetl.sync_state set hash_by = replace(hash_by, '{version}', 'phones 1/8.13.30')"
    )
    ads.sql(f"update revetl.revetl.sync_state set identifiers = {sent} where key = 'u3'")
    ads.audience("vips", phones(("u0", "+919876543299", "India"), *rows[1:]))
    text = cli(ads, "plan", "audience", "vips").stdout
    assert "those of 10 held rows were by countries 2 phones 1/8.13.30." in text
    (plan,) = json.loads(cli(ads, "plan", "audience", "vips", "-o", "json").stdout)
    assert (plan["add"], plan["update"], plan["remove"]) == (2, 0, 2)
    assert len(plan["notes"]) == 1
    (run,) = ads.open().sync("vips")
    assert run.delivered == {"add": 2, "update": 0, "remove": 2}
    (plan,) = json.loads(cli(ads, "plan", "audience", "vips", "-o", "json").stdout)
    assert (plan["notes"], plan["add"], plan["update"]) == ([], 0, 0)
