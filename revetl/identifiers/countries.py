"""Parse countries from ISO 3166-1 codes and common names.

Names are compared without case, accents and punctuation, but never fuzzily: "Niger" isn't "Nigeria".
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache

RULES_VERSION = 2
"""Increment when the module returns a different country for the same text."""

_COMMON = {
    "AE": ("UAE", "Emirates"),
    "AT": ("Österreich",),
    "BA": ("Bosnia",),
    "BE": ("Belgique", "België"),
    "BN": ("Brunei",),
    "BR": ("Brasil",),
    "CD": ("DR Congo", "DRC", "Democratic Republic of the Congo", "Congo-Kinshasa"),
    "CG": ("Republic of the Congo", "Congo-Brazzaville"),
    "CH": ("Schweiz", "Suisse", "Svizzera"),
    "CI": ("Ivory Coast",),
    "CN": ("PRC", "People's Republic of China", "Mainland China"),
    "CV": ("Cape Verde",),
    "CZ": ("Czech Republic",),
    "DE": ("Deutschland",),
    "DK": ("Danmark",),
    "ES": ("España",),
    "FI": ("Suomi",),
    "FK": ("Falkland Islands", "Falklands"),
    "FM": ("Micronesia",),
    "GB": ("UK", "U.K.", "Great Britain", "Britain", "England", "Scotland", "Wales", "Northern Ireland"),
    "GR": ("EL", "Hellas"),
    "HK": ("Hong Kong SAR", "Hong Kong SAR China"),
    "HU": ("Magyarország",),
    "IE": ("Republic of Ireland", "Éire"),
    "IT": ("Italia",),
    "KP": ("DPRK", "Korea North"),
    "KR": ("Korea", "Korea South", "ROK"),
    "LA": ("Lao",),
    "MF": ("Saint Martin",),
    "MK": ("Macedonia", "FYROM", "Republic of North Macedonia"),
    "MM": ("Burma",),
    "MO": ("Macau", "Macau SAR"),
    "NL": ("Holland", "Nederland"),
    "NO": ("Norge",),
    "PL": ("Polska",),
    "PS": ("Palestine", "Palestinian Territories"),
    "RU": ("Russia",),
    "SE": ("Sverige",),
    "SX": ("Sint Maarten",),
    "SZ": ("Swaziland",),
    "TL": ("East Timor",),
    "TR": ("Turkey",),
    "US": ("U.S.", "America", "United States of America"),
    "VA": ("Vatican", "Vatican City"),
    "VG": ("British Virgin Islands",),
    "VI": ("US Virgin Islands", "U.S. Virgin Islands"),
}
"""Common names and abbreviations that aren't in ISO 3166-1: short forms, former names, parts of the United
Kingdom, some names in the country's own language, and the European Union's code for Greece."""


@lru_cache(maxsize=1_000)
def country(value: str, _: str | None) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of a country, in lower case; None for an unknown text."""
    found = _names().get(_folded(value))
    return found and found.lower()


def country_upper(value: str, region: str | None) -> str | None:
    """Return `country` in upper case."""
    found = country(value, region)
    return found and found.upper()


@cache
def _names() -> dict[str, str]:
    """Folded code or name to alpha-2 code."""
    import pycountry

    found: dict[str, str] = {}
    for each in pycountry.countries:
        given = (getattr(each, name, None) for name in ("alpha_2", "alpha_3", "numeric", "name"))
        more = (getattr(each, name, None) for name in ("common_name", "official_name"))
        for text in filter(None, (*given, *more)):
            found.setdefault(_folded(text), each.alpha_2)
            head, comma, tail = text.partition(", ")
            if comma:
                # "Korea, Republic of" is also "Republic of Korea".
                found.setdefault(_folded(f"{tail} {head}"), each.alpha_2)
    for letters, texts in _COMMON.items():
        found |= {_folded(text): letters for text in texts}
    return found


def _folded(text: str) -> str:
    """Normalize a name: without case, accents, punctuation and article; `&` as "and", `St.` as "saint"."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    plain = plain.casefold().replace("&", " and ").replace("ı", "i")  # noqa: RUF001  of Türkçe
    plain = re.sub(r"[.'’`]", "", plain)  # noqa: RUF001  the apostrophe of a text
    words = re.sub(r"[^\w]+", " ", plain).split()
    words = ["saint" if word == "st" else word for word in words]
    return " ".join(words[1:] if words[:1] == ["the"] else words)
