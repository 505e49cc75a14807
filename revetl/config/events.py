"""Event rules of a sync: the name of an event at the destination, and its fields as paths into its row.

A path is a column followed by members of its JSON: `properties.category`, `properties.products[0].sku`. Paths
are resolved when the record is built; values keep their types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

import orjson
from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from revetl.config.amounts import finite, plain
from revetl.config.base import ConfigModel

Constant = str | int | float | bool | None
Case = Literal["snake_case", "camelCase", "PascalCase", "Title Case", "lower case"]
ROW = "$"
"""The prefix of a path into the row, inside `each`, where other paths are into the item."""

_STEP = re.compile(r'"([^"]+)"|\[([0-9]+)\]|([^."\[\]]+)')
_PATH = re.compile(r'(?:\$\.)?(?:"[^"]+"|[^."\[\]\s][^."\[\]]*)(?:\.(?:"[^"]+"|[^."\[\]]+)|\[[0-9]+\])*')
_BRACES = re.compile(r"\{([^{}]+)\}")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W_A-Z]+|[A-Z]+")


def _a_path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError(
            f"'{text}' is not a valid path; use a form like properties.category or properties.products[0].sku"
        )
    return text


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Path = Annotated[str, BeforeValidator(_a_path)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_one_or_many), Field(min_length=1)]


class FieldRule(ConfigModel):
    """The value of a field.

    It is the first value found by `from`, else the product of the numbers at `product_of` (the first of
    which is required), else `default`; then multiplied by `times`, converted to `case` and to `type`. With
    `each`, it is a list: one object of `fields` per item of the first list found (an object counts as a list
    of one). Paths in `fields` are into the item, or into the row if they begin with `$.`.
    """

    paths: Annotated[Paths | None, Field(validation_alias=AliasChoices("from"))] = None
    """A path, or several of which the first with a value is used."""
    each: Paths | None = None
    """A path to a list: one object of `fields` per item."""
    fields: Annotated[Mapping[str, FieldRule], BeforeValidator(lambda value: rules_of(value))] = {}
    """With `each`: the fields of an item."""
    product_of: Annotated[Paths | None, Field(validation_alias=AliasChoices("product_of"))] = None
    """Paths to numbers that are multiplied, where `from` has no value."""
    default: Constant = None
    """The value where nothing is found."""
    times: float | None = None
    """Multiplies a number."""
    case: Literal["lower", "upper"] | None = None
    """Changes the case of a text."""
    type: Literal["string", "number", "integer"] | None = None
    """Converts the value."""

    @model_validator(mode="after")
    def _what_goes_together(self) -> FieldRule:
        if (self.paths is None) == (self.each is None):
            raise ValueError("set either from: PATH, or each: PATH with fields:")
        if (self.each is None) != (not self.fields):
            raise ValueError("each: PATH and fields: require each other: the list, and the fields of an item")
        return self

    @property
    def own(self) -> tuple[str, ...]:
        """Its paths into the row, without those inside `each`."""
        return (*(self.paths or ()), *(self.product_of or ()), *(self.each or ()))

    def columns(self) -> Iterator[str]:
        """Yield the columns of the row that the rule reads."""
        for path in self.own:
            yield steps_of(path)[0]
        for rule in self.fields.values():
            yield from (in_row(path)[0] for path in rule.own if path.startswith(f"{ROW}."))

    def value_of(self, row: Mapping[str, Any], scope: Mapping[str, Any]) -> Any:
        """Return the value in a row, with paths resolved in `scope`; None if there is none."""
        if self.each is not None:
            items = _first(row, scope, self.each)
            listed = items if isinstance(items, list) else [items] if isinstance(items, dict) else []
            return [values_of(self.fields, row, item) for item in listed if isinstance(item, dict)] or None
        found = _first(row, scope, self.paths or ())
        if found is None and self.product_of is not None:
            found = _product([found_at(row, scope, path) for path in self.product_of])
        found = self.default if found is None else found
        return self._worded(found)

    def _worded(self, value: Any) -> Any:
        if self.type == "string" and value is not None and not isinstance(value, str):
            value = orjson.dumps(value).decode()
        if (self.type in ("number", "integer") or self.times is not None) and value is not None:
            number = finite(value)
            number = finite(number * self.times) if number is not None and self.times is not None else number
            if number is None:
                # The destination rejects a value that isn't a number, with its own message.
                return value
            value = plain(float(math.trunc(number)) if self.type == "integer" else round(number, 10))
        if self.case is not None and isinstance(value, str):
            value = value.lower() if self.case == "lower" else value.upper()
        return value


def _first(row: Mapping[str, Any], scope: Mapping[str, Any], paths: Sequence[str]) -> Any:
    """Return the first non-blank value at the paths, else the first blank one, else None."""
    blank = None
    for path in paths:
        value = found_at(row, scope, path)
        if value is not None and not _is_blank(value):
            return value
        blank = value if blank is None else blank
    return blank


def _is_blank(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else isinstance(value, list | dict) and not value


def _product(values: Sequence[Any]) -> float | None:
    """Return the product of the numbers present; None if the first is missing or any isn't a number."""
    numbers = [finite(each) for each in values if each is not None]
    if values[0] is None or None in numbers:
        return None
    return finite(math.prod(each for each in numbers if each is not None))


def rules_of(value: object) -> object:
    """Expand field rules written in short form, as a path or a list of paths."""
    if not isinstance(value, Mapping):
        return value
    return {name: {"from": rule} if isinstance(rule, str | list) else rule for name, rule in value.items()}


class EventRule(ConfigModel):
    """The mapping of an event: its name at the destination, fields as paths, and constants.

    `all_properties: true` also sends all properties under their own names; `others` sends those that no field
    reads. `event_template` is a name with paths in braces (`Viewed {name}`); `event` is the fallback if a
    path finds nothing. `any_spelling` compares member names in snake_case, so that `product_id` also matches
    `productId` and `Product ID`.
    """

    event: Annotated[str | None, Field(min_length=1)] = None
    """The event's name at the destination."""
    event_template: Annotated[str | None, Field(min_length=1)] = None
    """A name with paths in braces, such as `Viewed {name}`."""
    fields: Annotated[Mapping[str, FieldRule], BeforeValidator(rules_of)] = {}
    """The destination's field to a path or rule."""
    constants: Mapping[str, Constant] = {}
    """The destination's field to a constant."""
    all_properties: bool | Literal["others"] = False
    """`true` sends all properties as well; `others` sends those that no field uses."""
    any_spelling: bool = False
    """Finds properties in any casing: `product_id`, `productId`, `Product ID`."""

    @field_validator("event_template")
    @classmethod
    def _paths_in_braces(cls, value: str | None) -> str | None:
        for path in _BRACES.findall(value or ""):
            _a_path(path)
        return value

    def columns(self) -> set[str]:
        """Return the columns of the row that the name and the fields read."""
        named = {steps_of(path)[0] for path in _BRACES.findall(self.event_template or "")}
        return named | {name for rule in self.fields.values() for name in rule.columns()}

    def name_of(self, row: Mapping[str, Any]) -> str | None:
        """Return the event's name at the destination; None if the rule sets none."""
        if self.event_template is None:
            return self.event
        found = {path: found_at(row, row, path) for path in _BRACES.findall(self.event_template)}
        if any(value is None or not str(value).strip() for value in found.values()):
            return self.event
        return _BRACES.sub(lambda match: str(found[match[1]]).strip(), self.event_template)

    def made(self, row: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of an event, from its row and its properties."""
        seen = respelled(row) if self.any_spelling else row
        fields = {**self.constants, **values_of(self.fields, seen, seen)}
        if not self.all_properties:
            return fields
        if self.all_properties == "others":
            used = self._used
            properties = {name: value for name, value in properties.items() if folded(name) not in used}
        return {**properties, **fields}

    @cached_property
    def _used(self) -> frozenset[str]:
        """The properties that the fields read, in snake_case."""
        steps = (steps_of(path) for rule in self.fields.values() for path in rule.own)
        return frozenset(step[1] for step in steps if len(step) > 1 and step[0] == "properties")


class Casing(ConfigModel):
    """The case of event and field names that no mapping sets."""

    events: Case | None = None
    """Casing of event names."""
    fields: Case | None = None
    """Casing of field names."""


def values_of(
    rules: Mapping[str, FieldRule], row: Mapping[str, Any], scope: Mapping[str, Any]
) -> dict[str, Any]:
    """Evaluate rules, leaving out fields without a value."""
    made = {name: rule.value_of(row, scope) for name, rule in rules.items()}
    return {name: value for name, value in made.items() if value is not None}


@lru_cache(maxsize=4096)
def steps_of(path: str) -> tuple[str, ...]:
    """Split a path into member names and item indexes."""
    return tuple("".join(found) for found in _STEP.findall(path))


def in_row(path: str) -> tuple[str, ...]:
    """Split a path into the row."""
    return steps_of(path.removeprefix(f"{ROW}."))


def found_at(row: Mapping[str, Any], scope: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path in `scope`, or in the row if the path begins with `$.`; None if there is
    none. JSON stored as text is parsed."""
    steps: Sequence[str] = steps_of(path)
    value: Any = scope
    if steps[0] == ROW:
        value, steps = row, steps[1:]
    for step in steps:
        value = read(value)
        if isinstance(value, list):
            value = value[int(step)] if step.isdecimal() and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return read(value)


def read(value: Any) -> Any:
    """Parse a text that is a JSON object or array; return any other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def cased(name: str, case: Case | None) -> str:
    """Convert a name to a case: `Order Completed` to order_completed, orderCompleted or OrderCompleted."""
    words = _WORD.findall(name)
    if case is None or not words:
        return name
    lower = [word.lower() for word in words]
    titled = [word.capitalize() for word in lower]
    return {
        "snake_case": "_".join(lower),
        "camelCase": "".join((lower[0], *titled[1:])),
        "PascalCase": "".join(titled),
        "Title Case": " ".join(titled),
        "lower case": " ".join(lower),
    }[case]


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """Convert a name to snake_case, to compare spellings."""
    return cased(name, "snake_case")


def respelled(value: Any) -> Any:
    """Convert the member names of a document to snake_case. If two collide, the one already in snake_case
    wins."""
    value = read(value)
    if isinstance(value, list):
        return [respelled(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    made: dict[str, Any] = {}
    for name, item in value.items():
        if (short := folded(name)) == name or short not in made:
            made[short] = respelled(item)
    return made
