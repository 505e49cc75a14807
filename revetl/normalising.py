"""How values that people are known by are made alike, before they are hashed or sent.

What SQL can do is done in the warehouse, by `sql`. What takes a library (phone numbers) is done to the
records as they are read from the spool, by `late`, and so is then the hashing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from revetl import demographics
from revetl.countries import RULES_VERSION, country, country_upper
from revetl.hashes import sha512_of_email
from revetl.phones import e164, e164_digits, phones_version

_HASHED = re.compile("[0-9a-fA-F]{64}")

Late = Callable[[str, str | None], str | None]
"""A value and the region (ISO 3166-1) of those that name none, to the value made alike; None for what is
none."""


@dataclass(frozen=True)
class Rule:
    """How values are normalized: as SQL over `:value`, in words, and what follows on the runner, by which
    `version`: another one may give another value of the same text."""

    sql: str
    words: str
    late: Late | None = None
    version: Callable[[], str] | None = None


def _phones() -> str:
    return f"phones {phones_version()}"


def _countries() -> str:
    return f"countries {RULES_VERSION}"


_PUNCTUATION = "!-/:-@\\[-`{-~"
_NAME = f"regexp_replace(lower(trim(:value)), '[{_PUNCTUATION}]', '', 'g')"
_LETTERS = f"regexp_replace(lower(:value), '[{_PUNCTUATION} ]', '', 'g')"

RULES = {
    "email": Rule("lower(trim(:value))", "trimmed, lower case"),
    "gmail": Rule(
        "case when regexp_like(lower(trim(:value)), '@(gmail|googlemail)[.]com$') then concat("
        "replace(regexp_replace(lower(trim(:value)), '[+@].*$', ''), '.', ''), "
        "regexp_replace(lower(trim(:value)), '^.*@', '@')) else lower(trim(:value)) end",
        "trimmed, lower case, without the dots and the +suffix before @gmail.com",
    ),
    "phone": Rule("regexp_replace(:value, '[^0-9]', '', 'g')", "digits only"),
    "e164": Rule("trim(:value)", "E.164 with its +", e164, _phones),
    "e164_digits": Rule("trim(:value)", "E.164 without its +", e164_digits, _phones),
    "text": Rule("trim(:value)", "trimmed"),
    "lower": Rule("lower(trim(:value))", "trimmed, lower case"),
    "upper": Rule("upper(trim(:value))", "trimmed, upper case"),
    "handle": Rule(
        "regexp_replace(lower(trim(:value)), '^@', '', 'g')", "trimmed, lower case, without its @"
    ),
    "name": Rule(_NAME, "trimmed, lower case, without punctuation"),
    "letters": Rule(_LETTERS, "lower case, without spaces and punctuation"),
    "digits": Rule(
        "case when regexp_like(trim(:value), '^[0-9]+([.]0+)?$') "
        "then regexp_replace(trim(:value), '[.]0+$', '', 'g') end",
        "a whole number; nothing for any other text",
    ),
    "gender": Rule(demographics.GENDER, "f or m, of the usual words; nothing for any other"),
    "birth_year": Rule(demographics.YEAR, "four digits, of a year or a date"),
    "birth_month": Rule(demographics.MONTH, "two digits, of a number, a month's name or a date"),
    "birth_day": Rule(demographics.DAY, "two digits, of a number or a date"),
    "birth_date": Rule(demographics.BIRTH_DATE, "YYYYMMDD, of a date"),
    "sha512_email": Rule("trim(:value)", "the SHA-512 of the address, or a SHA-512", sha512_of_email),
    "zip": Rule(
        "regexp_replace(regexp_replace(lower(:value), '[- ]', '', 'g'), '^([0-9]{5})[0-9]{4}$', '\\1')",
        "lower case, without spaces and dashes; the first five digits of a United States one",
    ),
    "country": Rule("trim(:value)", "two letters of ISO 3166-1, lower case", country, _countries),
    "COUNTRY": Rule("trim(:value)", "two letters of ISO 3166-1, upper case", country_upper, _countries),
}
"""What `Identifier.hashed` and `Identifier.normalised` may name. The hash is SHA-256 in lower-case
hexadecimal; a value that is one already is sent as it is, for a hash of a hash matches nobody."""


def finish(rule: str, value: str, region: str | None, *, hashed: bool) -> str | None:
    """What is sent of a value that the warehouse has read by a rule with a `late` part. None when it cannot
    be made alike."""
    late = RULES[rule].late
    assert late is not None
    if hashed and _HASHED.fullmatch(value):
        return value.lower()
    made = late(value, region)
    return hashlib.sha256(made.encode()).hexdigest() if made and hashed else made
