"""Normalize phone numbers to ITU-T E.164.

The same digits can be a national number in one country and an international number elsewhere. The first valid
interpretation wins:

1. with a `+`, or after the region's international prefix (`00`, `011`): international;
2. starting with the region's calling code, and valid after a `+`: international;
3. valid as a national number of the region, with or without its trunk prefix: national;
4. valid after a `+`, or with a `+` instead of `00`: international.

A number is valid if it is in an assigned range, by the metadata of Google's libphonenumber. A possible length
isn't enough: any nine digits are possible somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version

RULES_VERSION = 2
"""Increment when the module returns a different number for the same text."""

LONG_END, SHORT_END = 6, 4
"""The number of digits that `phone_end` returns."""
_SHORT = 10

_PLUS = "+＋"  # noqa: RUF001  what Japanese keyboards type
_LABEL = re.compile(rf"^[^0-9{_PLUS}(]*(?=[({_PLUS}]*[0-9])|^\s+", re.ASCII)
_OF_A_FLOAT = re.compile(r"([0-9]{7,15})\.0+")
_SCIENTIFIC = re.compile(r"[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+")
_MEXICO, _OLD_MOBILE = 52, re.compile("1[0-9]{10}")


def phones_version() -> str:
    """Return the version of these rules and of the library's metadata."""
    return f"{RULES_VERSION}/{version('phonenumbers')}"


def e164(value: str, region: str | None) -> str | None:
    """Normalize a text to E.164. None if it isn't a valid number, or is a national one and there is no
    region."""
    text = value.strip()
    if _SCIENTIFIC.fullmatch(text):
        # Scientific notation of a spreadsheet, which has lost digits.
        return None
    if found := _OF_A_FLOAT.fullmatch(text):
        text = found[1]
    return next(filter(None, _readings(text, region)), None)


def e164_digits(value: str, region: str | None) -> str | None:
    """Return `e164` without its +."""
    found = e164(value, region)
    return found and found[1:]


def phone_end(number: str) -> str:
    """Return the last digits of an E.164 number, which every text of the number ends with: normalization only
    changes digits before them (trunk and carrier prefixes, the 15 of Argentina's mobiles). Six digits, or
    four of a short number, whose last six may include the calling code."""
    digits = number.removeprefix("+")
    return digits[-LONG_END:] if len(digits) >= _SHORT else digits[-SHORT_END:]


def _readings(text: str, region: str | None) -> Iterator[str | None]:
    """Yield the interpretations of a text, in order; None for an invalid one."""
    import phonenumbers

    bare = _LABEL.sub("", text)
    typed_plus = bare.lstrip("(")[:1] in [*_PLUS]
    if typed_plus:
        digits = bare.lstrip("(").lstrip(_PLUS + " ")
        yield _valid("+" + digits.removeprefix("00"), None)
        return
    own = phonenumbers.country_code_for_region(region) if region else 0
    if own:
        yield _valid(f"+{bare}", None, code=own)
        yield _valid(bare, region)
    yield _valid(f"+{bare}", None)
    if bare.startswith("00"):
        yield _valid("+" + bare.removeprefix("00"), None)


def _valid(text: str, region: str | None, code: int | None = None) -> str | None:
    """Parse a number. None if it is invalid, or doesn't have the calling code `code`, if given."""
    import phonenumbers

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    national = str(number.national_number)
    if number.country_code == _MEXICO and _OLD_MOBILE.fullmatch(national):
        # Until 2019, mobile numbers had a 1 after the country code. Metadata before 8.13.38 accepts both.
        number.national_number = int(national[1:])
    if code not in (None, number.country_code) or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
