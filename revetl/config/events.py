"""What a sync makes of each event: its name at the destination, and its fields, by small paths into its row.

A path names a column, then members of the JSON in it: `properties.category`, `properties.products[0].sku`. It
is looked up as the record is made; what it finds keeps its type.
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
from revetl.config.base import Checked

Constant = str | int | float | bool | None
Case = Literal["snake_case", "camelCase", "PascalCase", "Title Case", "lower case"]
ROW = "$"
"""What begins a path of the row where others are of an item."""

_STEP = re.compile(r'"([^"]+)"|\[([0-9]+)\]|([^."\[\]]+)')
_PATH = re.compile(r'(?:\$\.)?(?:"[^"]+"|[^."\[\]\s][^."\[\]]*)(?:\.(?:"[^"]+"|[^."\[\]]+)|\[[0-9]+\])*')
_BRACES = re.compile(r"\{([^{}]+)\}")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W_A-Z]+|[A-Z]+")


def _a_path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError(
            f"'{text}' is no path; write such as properties.category or properties.products[0].sku"
        )
    return text


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


Path = Annotated[str, BeforeValidator(_a_path)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_one_or_many), Field(min_length=1)]


class FieldRule(Checked):
    """A field's value: what the first of `from` finds, else the product of the numbers at `product_of` (of
    which the first has to be there), or `default`; multiplied by `times`, in `case`, as a
    `type`. With `each`, a list: an object of `fields` for every item of the first list there (an object is a
    list of one), whose paths are of the item, and of the row when they begin with `$.`."""

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
            raise ValueError("from: PATH, or each: PATH with fields:, says what the value is")
        if (self.each is None) != (not self.fields):
            raise ValueError("each: PATH and fields: go together: a list, and what becomes of an item")
        return self

    @property
    def own(self) -> tuple[str, ...]:
        """Its paths of the row, but for those inside `each`."""
        return (*(self.paths or ()), *(self.product_of or ()), *(self.each or ()))

    def columns(self) -> Iterator[str]:
        """The columns of the row that it reads."""
        for path in self.own:
            yield steps_of(path)[0]
        for rule in self.fields.values():
            yield from (in_row(path)[0] for path in rule.own if path.startswith(f"{ROW}."))

    def value_of(self, row: Mapping[str, Any], scope: Mapping[str, Any]) -> Any:
        """The value in a row, its paths taken from `scope`; None where there is none."""
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
                # What is no number is for the destination to refuse, with its own words.
                return value
            value = plain(float(math.trunc(number)) if self.type == "integer" else round(number, 10))
        if self.case is not None and isinstance(value, str):
            value = value.lower() if self.case == "lower" else value.upper()
        return value


def _first(row: Mapping[str, Any], scope: Mapping[str, Any], paths: Sequence[str]) -> Any:
    """The first value at any of the paths, a blank or empty one only where there is no other; None where
    there is none."""
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
    """The product of numbers, without those that are not there; None without the first."""
    numbers = [finite(each) for each in values if each is not None]
    if values[0] is None or None in numbers:
        return None
    return finite(math.prod(each for each in numbers if each is not None))


def rules_of(value: object) -> object:
    """Rules of fields, of which the short form is a path."""
    if not isinstance(value, Mapping):
        return value
    return {name: {"from": rule} if isinstance(rule, str | list) else rule for name, rule in value.items()}


class EventRule(Checked):
    """What becomes of an event: its name there, fields by paths, constants. With `all_properties`, its
    properties go along under their own names; with `others`, those that no field is made of.

    `event_template` is a name with paths in braces (`Viewed {name}`), and `event` is used where a path finds
    nothing. `any_spelling`: members of documents are found by their names in snake_case, so that
    `product_id` is `productId` and `Product ID` too.
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
        """The columns of the row that its name and its fields read."""
        named = {steps_of(path)[0] for path in _BRACES.findall(self.event_template or "")}
        return named | {name for rule in self.fields.values() for name in rule.columns()}

    def name_of(self, row: Mapping[str, Any]) -> str | None:
        """What it is called there; None where the rule does not say."""
        if self.event_template is None:
            return self.event
        found = {path: found_at(row, row, path) for path in _BRACES.findall(self.event_template)}
        if any(value is None or not str(value).strip() for value in found.values()):
            return self.event
        return _BRACES.sub(lambda match: str(found[match[1]]).strip(), self.event_template)

    def made(self, row: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an event in its row, of the properties that it has."""
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
        """The properties that a field is made of, in snake_case."""
        steps = (steps_of(path) for rule in self.fields.values() for path in rule.own)
        return frozenset(step[1] for step in steps if len(step) > 1 and step[0] == "properties")


class Casing(Checked):
    """How names are spelled that no mapping spells: those of events, and those of fields."""

    events: Case | None = None
    """Casing of event names."""
    fields: Case | None = None
    """Casing of field names."""


def values_of(
    rules: Mapping[str, FieldRule], row: Mapping[str, Any], scope: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of rules, without those that are not there."""
    made = {name: rule.value_of(row, scope) for name, rule in rules.items()}
    return {name: value for name, value in made.items() if value is not None}


@lru_cache(maxsize=4096)
def steps_of(path: str) -> tuple[str, ...]:
    """The steps of a path: names, and the numbers of items."""
    return tuple("".join(found) for found in _STEP.findall(path))


def in_row(path: str) -> tuple[str, ...]:
    """The steps of a path of the row."""
    return steps_of(path.removeprefix(f"{ROW}."))


def found_at(row: Mapping[str, Any], scope: Mapping[str, Any], path: str) -> Any:
    """What is at a path of `scope`, or of the row where it begins with `$.`; None where there is nothing.
    JSON that an engine keeps as text is read."""
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
    """A value; the document in it, where it is the text of one."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def cased(name: str, case: Case | None) -> str:
    """A name spelled in a case: `Order Completed` is order_completed, orderCompleted, OrderCompleted."""
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
    """A name in snake_case, however it is spelled."""
    return cased(name, "snake_case")


def respelled(value: Any) -> Any:
    """A document with the names of its members in snake_case; of two that are the same so, the one that is
    spelled in snake_case is kept."""
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
