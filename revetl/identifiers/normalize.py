"""Normalize identifiers before they are hashed or sent.

Rules run as SQL in the warehouse (`sql`). Those that need a library, such as phone numbers, finish on the
runner (`late`), when records are read from the spool, and are hashed there.
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
"""Normalizes a value, with a default region (ISO 3166-1); None for an invalid value."""


@dataclass(frozen=True)
class Format:
    """The format of a normalized value: regular expressions that it must and must not match, and a maximum
    length."""

    matches: str
    never: str | None = None
    length: int | None = None


@dataclass(frozen=True)
class TextEnding:
    """Compares texts with a normalized value by their ends, for rules with a `late` part.

    `sql`, over `:text`, returns what to take the end of; null for a text that must be normalized first.
    `end_of` returns the end of a normalized value.
    """

    sql: str
    end_of: Callable[[str], str]


@dataclass(frozen=True)
class NormalizationRule:
    """A normalization rule.

    `sql` is over `:value`, which is trimmed; `words` describes it. `late` finishes on the runner, and
    `version` changes when its results may change. `valid` is the required format of the SQL's result, and
    `kind` the kind of value, for errors. `literals`: `NO_VALUES` are invalid. `ends` excludes cheaply texts
    that can't have a given normalized value.
    """

    sql: str
    words: str
    late: Late | None = None
    version: Callable[[], str] | None = None
    valid: Format | None = None
    kind: str = "identifier"
    literals: bool = False
    ends: TextEnding | None = None


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
"""Texts that JavaScript, Python, SQL and spreadsheets write for missing values, in their exact case. They
aren't valid identifiers, unless the rule has its own format."""

# ASCII characters of RFC 5322 without quotes; beyond ASCII, everything except spaces.
_OTHER = "\u00a1-\u1fff\u2070-\u2fff\u3003-\ud7ff\uf900-\ufefe\U00010000-\U0010ffff"
_ATOM = f"[a-z0-9!#$%&'*+/=?^_`{{|}}~{_OTHER}-]+"
_END, _MIDDLE, _LETTER = f"[a-z0-9{_OTHER}]", f"[a-z0-9{_OTHER}-]*", f"[a-z{_OTHER}]"
_LABEL = f"{_END}({_MIDDLE}{_END})?"
_EMAIL = f"^{_ATOM}([.]{_ATOM})*@({_LABEL}[.])+({_END}{_MIDDLE})?{_LETTER}$"
_NOWHERE = "[@.](arpa|invalid|local|localhost|onion)$"


EMAIL = Format(_EMAIL, _NOWHERE, length=254)
"""An address that `email-validator` accepts without DNS, in lower case. Rare errors are left to the
destination: labels of more than 63 characters, and encodings of other scripts. Test domains (example.com,
.test, .example) are valid."""

PHONE_ENDS = TextEnding(
    "case when regexp_like(:text, '^[-0-9 +()/.]*$') and not regexp_like(:text, '[.]0+$') "
    "then regexp_replace(:text, '[^0-9]', '', 'g') end",
    phone_end,
)
"""Only the library can read extensions, letters, digits of other scripts and the .0 of a float."""

_PUNCTUATION = "!-/:-@\\[-`{-~"
_NAME = f"regexp_replace(lower(:value), '[{_PUNCTUATION}]', '', 'g')"
_LETTERS = f"regexp_replace(lower(:value), '[{_PUNCTUATION} ]', '', 'g')"

RULES = {
    "email": NormalizationRule("lower(:value)", "trimmed, lower case", valid=EMAIL, kind="email address"),
    "gmail": NormalizationRule(
        "case when regexp_like(lower(:value), '@(gmail|googlemail)[.]com$') then concat("
        "replace(regexp_replace(lower(:value), '[+@].*$', ''), '.', ''), "
        "regexp_replace(lower(:value), '^.*@', '@')) else lower(:value) end",
        "trimmed, lower case, without the dots and the +suffix before @gmail.com",
        valid=EMAIL,
        kind="email address",
    ),
    "phone": NormalizationRule(
        "regexp_replace(:value, '[^0-9]', '', 'g')", "digits only", kind="phone number"
    ),
    "e164": NormalizationRule(
        ":value", "E.164 with its +", e164, _phones, kind="phone number", ends=PHONE_ENDS
    ),
    "e164_digits": NormalizationRule(
        ":value", "E.164 without its +", e164_digits, _phones, kind="phone number", ends=PHONE_ENDS
    ),
    "text": NormalizationRule(":value", "trimmed", literals=True),
    "lower": NormalizationRule("lower(:value)", "trimmed, lower case", literals=True),
    "upper": NormalizationRule("upper(:value)", "trimmed, upper case"),
    "handle": NormalizationRule(
        "regexp_replace(lower(:value), '^@', '', 'g')", "trimmed, lower case, without its @"
    ),
    "name": NormalizationRule(_NAME, "trimmed, lower case, without punctuation"),
    "letters": NormalizationRule(_LETTERS, "lower case, without spaces and punctuation"),
    "digits": NormalizationRule(
        "case when regexp_like(trim(:value), '^[0-9]+([.]0+)?$') "
        "then regexp_replace(trim(:value), '[.]0+$', '', 'g') end",
        "whole numbers only",
    ),
    "gender": NormalizationRule(demographics.GENDER, "f or m, from common words only"),
    "birth_year": NormalizationRule(demographics.YEAR, "four digits, from a year or date"),
    "birth_month": NormalizationRule(
        demographics.MONTH, "two digits, from a number, the name of a month or a date"
    ),
    "birth_day": NormalizationRule(demographics.DAY, "two digits, from a number or date"),
    "birth_date": NormalizationRule(demographics.BIRTH_DATE, "YYYYMMDD, from a date"),
    "sha512_email": NormalizationRule(
        "trim(:value)", "SHA-512 of an email address, or a SHA-512", sha512_of_email
    ),
    "zip": NormalizationRule(
        "regexp_replace(regexp_replace(lower(:value), '[- ]', '', 'g'), '^([0-9]{5})[0-9]{4}$', '\\1')",
        "lower case, without spaces and dashes; United States ZIP codes to five digits",
    ),
    "country": NormalizationRule(
        ":value", "ISO 3166-1 alpha-2, lower case", country, _countries, kind="country"
    ),
    "COUNTRY": NormalizationRule(
        ":value", "ISO 3166-1 alpha-2, upper case", country_upper, _countries, kind="country"
    ),
}
"""The rules for `Identifier.hashed` and `Identifier.normalised`. The hash is SHA-256 in lowercase
hexadecimal. Values that are already hashed are sent unchanged, because a hash of a hash never matches."""


def finish(rule: str, value: str, region: str | None, *, hashed: bool) -> str | None:
    """Finish a value from the warehouse by a rule with a `late` part, and hash it if `hashed`. None if it
    can't be normalized."""
    late = RULES[rule].late
    assert late is not None
    if hashed and _HASHED.fullmatch(value):
        return value.lower()
    made = late(value, region)
    return hashlib.sha256(made.encode()).hexdigest() if made and hashed else made
