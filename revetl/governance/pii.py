"""PII rules: `pii:` in transformations.yaml, which hashes, masks or drops personal data.

Message values are hidden here, in Python. Values sent to a destination are hidden in the warehouse, by
`revetl.mapping`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from revetl.config.base import line_of
from revetl.config.jinja import render
from revetl.errors import UsageError, nearest
from revetl.governance.transformations import TRANSFORMATIONS_FILE, PiiRule, read_transformations

AT_LOAD = "load"
COLUMNS = {
    "userId": "user_id",
    "anonymousId": "anonymous_id",
    "groupId": "group_id",
    "previousId": "previous_id",
}
"""Identifying fields of a message, and the raw columns they are loaded into."""

MASK = "***"
_FEWEST_DIGITS = 5
"""The last two digits would identify a shorter number."""


@dataclass(frozen=True)
class Hider:
    """The PII rules of one stage, `load` or a destination, and their salt."""

    rules: tuple[PiiRule, ...]
    salt: str = field(default="", repr=False)

    @property
    def hashes(self) -> bool:
        """Whether any rule hashes, which requires the salt."""
        return any(rule.action == "hash" for rule in self.rules)

    def rule_of(self, *names: str) -> PiiRule | None:
        """Return the first rule that matches one of the names."""
        return next((rule for rule in self.rules if any(rule.is_of((name,)) for name in names)), None)

    def column_rule(self, name: str) -> PiiRule | None:
        """Return the rule for an identifying field of a message, by its name or its column's."""
        own = [rule for rule in self.rules if rule.place == "any" and rule.pattern is None]
        return Hider(tuple(own)).rule_of(name, COLUMNS[name])

    def is_of(self, place: str) -> bool:
        """Whether any rule applies to `properties`, `traits` or `context`."""
        return bool(self._of(place))

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """The last names of the paths to hide in documents; None if any rule has a pattern."""
        if any(rule.pattern is not None for rule in self.rules):
            return None
        return tuple(rule.path[-1] for rule in self.rules)

    def document(self, place: str, text: str) -> str:
        """Apply the rules to the JSON text of a message's `properties`, `traits` or `context`. The text is
        unchanged if no rule matches."""
        value = json.loads(text, parse_float=_number)
        made = _hidden(value, (), self._of(place), self)
        return text if made == value else json.dumps(made, ensure_ascii=False, separators=(",", ":"))

    def value(self, place: str, value: Any) -> Any:
        """Apply the rules to the value of a JSON column named `place`."""
        return _hidden(value, (), self._of(place), self)

    def text(self, action: str, text: str) -> str | None:
        """Return the replacement of a text; None if it is dropped."""
        match action:
            case "hash":
                return hashlib.sha256((self.salt + text).encode()).hexdigest()
            case "mask":
                return masked(text)
            case _:
                return None

    def _of(self, place: str) -> tuple[PiiRule, ...]:
        return tuple(rule for rule in self.rules if rule.place in ("any", place))


def hider_of(root: Path, at: str, *, placeholders: bool = False) -> Hider | None:
    """Return the project's PII rules at `load` or for a destination; None if there are none. Raises
    UsageError for an invalid file, and for a salt whose environment variable isn't set, unless
    `placeholders`."""
    file = read_transformations(root)
    rules = tuple(rule for rule in file.pii if rule.at == at)
    if not rules:
        return None
    hider = Hider(rules)
    if not hider.hashes:
        return hider
    salt = render(file.salt, f"{TRANSFORMATIONS_FILE}: salt", placeholders=placeholders)
    return Hider(rules, str(salt))


def pii_errors(root: Path, destinations: Iterable[str], *, secrets: bool) -> list[str]:
    """Return the errors in a project's PII rules, one sentence each: unknown destinations and, with
    `secrets`, a missing salt. Empty if the file itself is invalid."""
    path = root / TRANSFORMATIONS_FILE
    try:
        rules = read_transformations(root).pii
    except UsageError:
        return []
    names = [*destinations]
    errors = [
        f"{path.name}, line {line_of(path, ('pii', index, 'at'))}: pii.{index}.at: revetl.yml has no "
        f"destination '{rule.at}'. {nearest(rule.at, [AT_LOAD, *names])}"
        for index, rule in enumerate(rules)
        if rule.at not in (AT_LOAD, *names)
    ]
    if secrets:
        for at in dict.fromkeys(rule.at for rule in rules):
            try:
                hider_of(root, at)
            except UsageError as error:
                errors.append(str(error))
    return [*dict.fromkeys(errors)]


def masked(text: str) -> str:
    """Mask a text, keeping the first character and domain of an email or the last two digits of a number."""
    name, at, domain = text.rpartition("@")
    if at:
        return f"{name[:1]}{MASK}@{domain}"
    digits = re.sub(r"[^0-9]", "", text)
    return MASK + (digits[-2:] if len(digits) >= _FEWEST_DIGITS else "")


def _number(text: str) -> float | str:
    """Parse a JSON number; one outside a float stays text."""
    number = float(text)
    return number if abs(number) != float("inf") else text


def _hidden(value: Any, path: tuple[str, ...], rules: Iterable[PiiRule], hider: Hider) -> Any:
    if isinstance(value, list):
        return [_hidden(each, path, rules, hider) for each in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for name, each in value.items():
        inside = (*path, name)
        rule = next((rule for rule in rules if rule.is_of(inside)), None)
        if rule is None:
            made[name] = _hidden(each, inside, rules, hider)
        elif rule.action != "drop":
            made[name] = _leaves(each, rule.action, hider)
    return made


def _leaves(value: Any, action: str, hider: Hider) -> Any:
    """Hide each text and number in a value."""
    if isinstance(value, list):
        return [_leaves(each, action, hider) for each in value]
    if isinstance(value, dict):
        return {name: _leaves(each, action, hider) for name, each in value.items()}
    if value is None:
        return None
    return hider.text(action, value if isinstance(value, str) else json.dumps(value))
