"""How values that people are known by are made alike, before they are hashed or sent.

What SQL can do is done in the warehouse, by `sql`. What takes a library (phone numbers) is done to the
records as they are read from the spool, by `late`, and so is then the hashing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from revetl.identifiers import demographics
from revetl.identifiers.countries import RULES_VERSION, country, country_upper
from revetl.identifiers.hashes import sha512_of_email
from revetl.identifiers.phones import (
    e164,
    e164_digits,
    phone_end,
    phones_version,
)

_HASHED = re.compile("[0-9a-fA-F]{64}")

Late = Callable[[str, str | None], str | None]
"""A value and the region (ISO 3166-1) of those that name none, to the value made alike; None for what is
none."""


@dataclass(frozen=True)
class Format:
    """What a normalized value has to look like: regular expressions that it matches, and does not match, and
    the longest it may be."""

    matches: str
    never: str | None = None
    length: int | None = None


@dataclass(frozen=True)
class Ends:
    """How a text ends that becomes a value of a rule with a `late` part: SQL over `:text` for what its ends
    are taken of, null for a text that has to be normalized to know it, and of a value, its end."""

    sql: str
    end_of: Callable[[str], str]


@dataclass(frozen=True)
class Rule:
    """How values are normalized: as SQL over `:value`, which is trimmed, in words, and what follows on the
    runner, by which `version`: another one may give another value of the same text. `valid` is what comes out
    of the SQL, else it is not a value, and `kind` what that is called; `literals`: no `NO_VALUES` is one.
    `ends` tells cheaply which texts cannot become a given value.
    """

    sql: str
    words: str
    late: Late | None = None
    version: Callable[[], str] | None = None
    valid: Format | None = None
    kind: str = "identifier"
    literals: bool = False
    ends: Ends | None = None


def _phones() -> str:
    return f"phones {phones_version()}"


def _countries() -> str:
    return f"countries {RULES_VERSION}"


NO_VALUES = (
    *("null", "NULL", "Null", "nil", "undefined", "none", "None", "<null>", "(null)", "<nil>", "<NA>"),
    *("NaN", "nan", "NAN", "NaT", "Infinity", "-Infinity", "inf", "-inf"),
    *("true", "True", "TRUE", "false", "False", "FALSE"),
    *("{}", "[]", "[object Object]", "[object Undefined]", "[object Null]", '""', "''"),
    *('"null"', '"undefined"', "'null'", "'None'", "N/A", "n/a"),
    *("#N/A", "#N/A!", "#NULL!", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!"),
)
"""Texts that JavaScript, Python, SQL and spreadsheets write where there is no value, case by case as they
write them. No identifier without a format of its own may be one of them."""

# ASCII as RFC 5322 has it without quotes; letters of other scripts, and no spaces, of the rest.
_OTHER = "\u00a1-\u1fff\u2070-\u2fff\u3003-\ud7ff\uf900-\ufefe\U00010000-\U0010ffff"
_ATOM = f"[a-z0-9!#$%&'*+/=?^_`{{|}}~{_OTHER}-]+"
_END, _MIDDLE, _LETTER = f"[a-z0-9{_OTHER}]", f"[a-z0-9{_OTHER}-]*", f"[a-z{_OTHER}]"
_LABEL = f"{_END}({_MIDDLE}{_END})?"
_EMAIL = f"^{_ATOM}([.]{_ATOM})*@({_LABEL}[.])+({_END}{_MIDDLE})?{_LETTER}$"
_NOWHERE = "[@.](arpa|invalid|local|localhost|onion)$"


EMAIL = Format(_EMAIL, _NOWHERE, length=254)
"""An address as `email-validator` accepts it without asking DNS, in lower case, but for what is rare enough
to be left to the destination: labels of more than 63 characters, and encodings of other scripts. Domains
for tests (example.com, .test, .example) are addresses."""

PHONE_ENDS = Ends(
    "case when regexp_like(:text, '^[-0-9 +()/.]*$') and not regexp_like(:text, '[.]0+$') "
    "then regexp_replace(:text, '[^0-9]', '', 'g') end",
    phone_end,
)
"""Extensions, letters and digits of other scripts are for the library to read; and the .0 of a float."""

_PUNCTUATION = "!-/:-@\\[-`{-~"
_NAME = f"regexp_replace(lower(:value), '[{_PUNCTUATION}]', '', 'g')"
_LETTERS = f"regexp_replace(lower(:value), '[{_PUNCTUATION} ]', '', 'g')"

RULES = {
    "email": Rule("lower(:value)", "trimmed, lower case", valid=EMAIL, kind="email address"),
    "gmail": Rule(
        "case when regexp_like(lower(:value), '@(gmail|googlemail)[.]com$') then concat("
        "replace(regexp_replace(lower(:value), '[+@].*$', ''), '.', ''), "
        "regexp_replace(lower(:value), '^.*@', '@')) else lower(:value) end",
        "trimmed, lower case, without the dots and the +suffix before @gmail.com",
        valid=EMAIL,
        kind="email address",
    ),
    "phone": Rule("regexp_replace(:value, '[^0-9]', '', 'g')", "digits only", kind="phone number"),
    "e164": Rule(":value", "E.164 with its +", e164, _phones, kind="phone number", ends=PHONE_ENDS),
    "e164_digits": Rule(
        ":value", "E.164 without its +", e164_digits, _phones, kind="phone number", ends=PHONE_ENDS
    ),
    "text": Rule(":value", "trimmed", literals=True),
    "lower": Rule("lower(:value)", "trimmed, lower case", literals=True),
    "upper": Rule("upper(:value)", "trimmed, upper case"),
    "handle": Rule("regexp_replace(lower(:value), '^@', '', 'g')", "trimmed, lower case, without its @"),
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
    "country": Rule(":value", "two letters of ISO 3166-1, lower case", country, _countries, kind="country"),
    "COUNTRY": Rule(
        ":value", "two letters of ISO 3166-1, upper case", country_upper, _countries, kind="country"
    ),
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
