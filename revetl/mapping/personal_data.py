"""Detect personal data in an event's properties, by common names.

Ad and analytics destinations receive complete `properties`, which may include an email or phone number.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

_ENDINGS = (
    *("email", "emailaddress", "phone", "phonenumber", "telephone", "mobilenumber", "mobilephone", "msisdn"),
    *("firstname", "lastname", "fullname", "surname", "givenname", "familyname", "middlename"),
    *("streetaddress", "addressline1", "addressline2", "postalcode", "zipcode", "postcode"),
    *("birthday", "birthdate", "dateofbirth", "ipaddress", "cardnumber", "socialsecuritynumber"),
    *("passportnumber", "password"),
)
"""Suffixes of names: `billing_email`, `userPhone`, `First Name`."""
_WHOLE = frozenset(
    [
        *("address", "address1", "address2", "creditcard", "dob", "fax", "iban", "mail", "mobile"),
        *("nationalid", "ssn", "street", "tel", "whatsapp", "zip"),
    ]
)
_ADDRESS = re.compile(r"[^@\s/:?&=]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")


def is_personal(name: str, value: Any) -> bool:
    """Whether a property is personal data: by its name, except for booleans (`has_email`), or because its
    value is an email address."""
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, str) and _ADDRESS.fullmatch(value.strip()):
        return True
    plain = folded(name)
    return plain in _WHOLE or plain.endswith(_ENDINGS)


def folded(name: str) -> str:
    """Normalize a name to lower case without separators."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def without_personal(
    properties: Mapping[str, Any], allowed: Collection[str], withheld: set[str], path: str = ""
) -> dict[str, Any]:
    """Return properties without personal data, including in nested objects and lists, except for `allowed`
    names (`folded`). The paths removed are added to `withheld`."""
    made = {}
    for name, value in properties.items():
        at = f"{path}.{name}" if path else name
        if folded(name) in allowed or folded(at) in allowed:
            made[name] = value
        elif is_personal(name, value):
            withheld.add(at)
        else:
            made[name] = _inside(name, value, allowed, withheld, at)
    return made


def _inside(name: str, value: Any, allowed: Collection[str], withheld: set[str], at: str) -> Any:
    if isinstance(value, Mapping):
        return without_personal(value, allowed, withheld, at)
    if isinstance(value, list):
        kept = []
        for each in value:
            if not isinstance(each, Mapping | list) and is_personal(name, each):
                withheld.add(at)
            else:
                kept.append(_inside(name, each, allowed, withheld, at))
        return kept
    return value
