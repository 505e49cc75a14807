"""Phone numbers as destinations take them: ITU-T E.164.

People type numbers in many ways, and the same digits can be a national number of one country and an
international one of another. The first of these readings that is valid is the number:

1. with a `+`, or after the region's own international prefix (`00`, `011`): international;
2. it begins with the region's own calling code, and is valid with a `+` before it: international;
3. valid as a national number of the region, with or without its trunk prefix: national;
4. valid with a `+` before it, or with a `+` for its `00`: international.

A number is valid when it is within a range that is in use, by the metadata of Google's libphonenumber. That
a number has a possible length says nothing: any nine digits are possible somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version

RULES_VERSION = 2
"""Counts up when this module gives another number for the same text."""

LONG_END, SHORT_END = 6, 4
"""How many digits `phone_end` takes."""
_SHORT = 10

_PLUS = "+＋"  # noqa: RUF001  what Japanese keyboards type
_LABEL = re.compile(rf"^[^0-9{_PLUS}(]*(?=[({_PLUS}]*[0-9])|^\s+", re.ASCII)
_OF_A_FLOAT = re.compile(r"([0-9]{7,15})\.0+")
_SCIENTIFIC = re.compile(r"[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+")
_MEXICO, _OLD_MOBILE = 52, re.compile("1[0-9]{10}")


def phones_version() -> str:
    """What decides how a text is read: these rules, and the metadata of the library."""
    return f"{RULES_VERSION}/{version('phonenumbers')}"


def e164(value: str, region: str | None) -> str | None:
    """`+` and digits (ITU-T E.164). None for what is not a valid number, or is a national one without a
    region."""
    text = value.strip()
    if _SCIENTIFIC.fullmatch(text):
        # A spreadsheet's, whose last digits are lost.
        return None
    if found := _OF_A_FLOAT.fullmatch(text):
        text = found[1]
    return next(filter(None, _readings(text, region)), None)


def e164_digits(value: str, region: str | None) -> str | None:
    """The digits of `e164`."""
    found = e164(value, region)
    return found and found[1:]


def phone_end(number: str) -> str:
    """The last digits of an E.164 number, which are the last digits of every text that is read as it: what
    is put in, left out or replaced on the way (trunk and carrier prefixes, the 15 of Argentina's mobiles) is
    before them. Six, or four of a short number, whose calling code may be among the last six."""
    digits = number.removeprefix("+")
    return digits[-LONG_END:] if len(digits) >= _SHORT else digits[-SHORT_END:]


def _readings(text: str, region: str | None) -> Iterator[str | None]:
    """The readings of a text in their order; None for one that is not valid."""
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
    """The number of a text, where it is valid and of the calling code, if one is named."""
    import phonenumbers

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    national = str(number.national_number)
    if number.country_code == _MEXICO and _OLD_MOBILE.fullmatch(national):
        # Until 2019 mobiles were called with a 1 after the country code. Metadata before 8.13.38 has both.
        number.national_number = int(national[1:])
    if code not in (None, number.country_code) or not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
