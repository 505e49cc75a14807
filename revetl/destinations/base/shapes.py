"""Adjusts fields to what an API accepts: unsupported values are changed field by field, and reported.

Event properties are arbitrary user input: one unsupported property must not cost the whole event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

RENAMED, FLATTENED, AS_TEXT, CUT, LEFT_OUT = "renamed", "flattened", "sent as JSON text", "cut", "left out"


@dataclass(frozen=True)
class Shape:
    """The fields that an API accepts. `name` is the pattern of valid names, or None; invalid characters
    become `_`. `objects` and `lists` (of scalars) say whether such values are accepted; lists of objects
    never are. `longest` is the maximum text length of a field; `most` and `most_bytes` limit all fields
    together. `reserved` matches names reserved by the API; `own` lists fields that are left unchanged."""

    name: re.Pattern[str] | None = None
    objects: bool = False
    lists: bool = False
    longest: Callable[[str], int | None] = lambda _: None
    most: int | None = None
    most_bytes: int | None = None
    reserved: Callable[[str], bool] = lambda _: False
    own: Container[str] = frozenset()

    def fitted(self, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the adjusted fields, and by name how they were changed."""
        if all(self._fits(name, value) for name, value in fields.items()) and not self._is_full(fields):
            return dict(fields), {}
        made: dict[str, Any] = {}
        how: dict[str, str] = {}
        for name, value in fields.items():
            if name in self.own:
                made[name] = value
                continue
            for inner, each in self._flat(name, value):
                named = self._named(inner)
                taken = named is None or self.reserved(named) or named in made
                if named is None or taken or (named != inner and named in fields):
                    how[name] = LEFT_OUT
                    continue
                worded, done = self._worded(named, each)
                full = self._is_full({**made, named: worded})
                if full:
                    how[name] = LEFT_OUT
                    continue
                made[named] = worded
                if done or named != name:
                    how.setdefault(name, done or (RENAMED if inner == name else FLATTENED))
        return made, how

    def _fits(self, name: str, value: Any) -> bool:
        if name in self.own:
            return True
        right = self.name is None or self.name.fullmatch(name) is not None
        return right and not self.reserved(name) and self._worded(name, value) == (value, None)

    def _is_full(self, fields: Mapping[str, Any]) -> bool:
        own = {name: value for name, value in fields.items() if name not in self.own}
        if self.most is not None and len(fields) > self.most:
            return True
        return self.most_bytes is not None and len(orjson.dumps(own)) > self.most_bytes

    def _named(self, name: str) -> str | None:
        if self.name is None or self.name.fullmatch(name):
            return name
        repaired = re.sub(r"[^A-Za-z0-9_]+", "_", name.strip())
        return repaired if self.name.fullmatch(repaired) else None

    def _flat(self, name: str, value: Any) -> Iterator[tuple[str, Any]]:
        if not isinstance(value, Mapping) or self.objects or not value:
            yield name, value
            return
        for inner, each in value.items():
            yield from self._flat(f"{name}_{inner}", each)

    def _worded(self, name: str, value: Any) -> tuple[Any, str | None]:
        """Return a value in an accepted form, and how it was changed."""
        done = None
        if isinstance(value, Mapping) and self.objects:
            inner = {self._named(each) or each: self._worded(each, item)[0] for each, item in value.items()}
            return inner, None if inner == value else RENAMED
        if isinstance(value, list) and self.lists:
            texts = [as_text(item) if isinstance(item, list | Mapping) else item for item in value]
            return texts, None if texts == value else AS_TEXT
        if isinstance(value, list | Mapping):
            value, done = as_text(value), AS_TEXT
        most = self.longest(name)
        if isinstance(value, str) and most is not None and len(value) > most:
            return value[:most], CUT
        return value, done


def as_text(value: Any) -> str:
    """Return a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
