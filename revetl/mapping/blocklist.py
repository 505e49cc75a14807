"""Detect values that aren't identifiers, on the runner. The warehouse does the same in SQL (`fields`)."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any

from revetl.destinations.base.spec import Identifier
from revetl.identifiers.normalize import NO_VALUES, RULES
from revetl.identifiers.trimming import trimmed

_HASH = re.compile("[0-9a-fA-F]{64}")
_NONE = frozenset(NO_VALUES)


def is_blank(value: Any) -> bool:
    """Whether a value is empty: null, an invisible text, or a type that no identifier has (a boolean, an
    object, an array, NaN)."""
    if isinstance(value, str):
        return not trimmed(value)
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, bool | dict | list | None)


def none_of(value: Any, identifier: Identifier | None) -> str | None:
    """Return why a non-blank value isn't a valid identifier, quoting the value; None if it may be one."""
    rule = None
    if identifier is not None:
        rule = RULES.get(identifier.hashed or identifier.normalised or identifier.checked or "")
    text = trimmed(str(value))
    if rule is not None and rule.valid is not None:
        is_hash = identifier is not None and identifier.hashed is not None and _HASH.fullmatch(text)
        return None if is_hash or is_email(text) else f"'{value}' is not a valid {rule.kind}"
    is_alone = identifier is None or identifier.alone
    if is_alone and text in _NONE and (rule is None or rule.literals):
        return f"'{value}' is not a valid identifier"
    return None


@lru_cache(maxsize=10_000)
def is_email(text: str) -> bool:
    """Whether a text is a syntactically valid email address."""
    from email_validator import EmailNotValidError, validate_email

    try:
        validate_email(text, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return True
