"""What `pii:` in transformations.yaml hides of people: which values, and what takes their place.

Values of messages are hidden here, in Python; those of a destination in the warehouse, by `revetl.mapping`.
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
"""The identifying fields of a message, and the raw columns that they are landed in."""

MASK = "***"
_FEWEST_DIGITS = 5
"""A value of fewer digits would be told by its last two."""


@dataclass(frozen=True)
class Hider:
    """The rules of one place, `load` or a destination, and the salt of their hashes."""

    rules: tuple[PiiRule, ...]
    salt: str = field(default="", repr=False)

    @property
    def hashes(self) -> bool:
        """Whether any rule needs the salt."""
        return any(rule.action == "hash" for rule in self.rules)

    def rule_of(self, *names: str) -> PiiRule | None:
        """The first rule that one of these names is meant by."""
        return next((rule for rule in self.rules if any(rule.is_of((name,)) for name in names)), None)

    def column_rule(self, name: str) -> PiiRule | None:
        """The rule that names an identifying field of a message, by its own name or its column's."""
        own = [rule for rule in self.rules if rule.place == "any" and rule.pattern is None]
        return Hider(tuple(own)).rule_of(name, COLUMNS[name])

    def is_of(self, place: str) -> bool:
        """Whether any rule is of `properties`, `traits` or `context`."""
        return bool(self._of(place))

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """The last names of all that is hidden in documents; None where a pattern says which."""
        if any(rule.pattern is not None for rule in self.rules):
            return None
        return tuple(rule.path[-1] for rule in self.rules)

    def document(self, place: str, text: str) -> str:
        """The JSON text of a message's `properties`, `traits` or `context` with what is hidden hidden; the
        same text where nothing is."""
        value = json.loads(text, parse_float=_number)
        made = _hidden(value, (), self._of(place), self)
        return text if made == value else json.dumps(made, ensure_ascii=False, separators=(",", ":"))

    def value(self, place: str, value: Any) -> Any:
        """What is in a JSON column of the name `place`, with what is hidden hidden."""
        return _hidden(value, (), self._of(place), self)

    def text(self, action: str, text: str) -> str | None:
        """What takes the place of a text; None where it is dropped."""
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
    """What the project hides at `load`, or from a destination; None where it hides nothing there. Raises
    UsageError for a file that is wrong, and for a salt whose environment variable is not set (with
    `placeholders`, something stands in for it)."""
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
    """What is wrong with the rules of a project whose file can be read, one sentence each: places that are
    not there, and, with `secrets`, a salt that is not set."""
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
    """An email's first character and domain, the last two digits of a number, nothing of anything else."""
    name, at, domain = text.rpartition("@")
    if at:
        return f"{name[:1]}{MASK}@{domain}"
    digits = re.sub(r"[^0-9]", "", text)
    return MASK + (digits[-2:] if len(digits) >= _FEWEST_DIGITS else "")


def _number(text: str) -> float | str:
    """A number that no float holds stays as it was written, as a text."""
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
    """A value with each text and number in it hidden."""
    if isinstance(value, list):
        return [_leaves(each, action, hider) for each in value]
    if isinstance(value, dict):
        return {name: _leaves(each, action, hider) for name, each in value.items()}
    if value is None:
        return None
    return hider.text(action, value if isinstance(value, str) else json.dumps(value))
