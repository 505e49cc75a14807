"""Phone numbers as destinations take them: ITU-T E.164."""

from __future__ import annotations


def e164(value: str, region: str | None) -> str | None:
    """`+` and digits (ITU-T E.164). None for what can be no number, or is a national one of no region."""
    import phonenumbers

    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def e164_digits(value: str, region: str | None) -> str | None:
    """The digits of `e164`."""
    found = e164(value, region)
    return found and found[1:]
