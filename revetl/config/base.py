"""Configuration as pydantic models. Every error names the file and the key, and says what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from yaml.constructor import SafeConstructor

from revetl.errors import UsageError, nearest
from revetl.local.package_yaml import SAFE_LOADER

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]
_BRANCHES = {"str", "int", "float", "bool", "none"}
_DEEPEST = 100
_MOST_NODES = 100_000
_BOOLEAN, _TEXT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:str"
_KEY = "[key]"
"""The last part of pydantic's location when the key itself is invalid."""


class ConfigModel(BaseModel):
    """A section of configuration: immutable, and unknown keys are errors."""

    # A command validates few of the models that it imports, and building one takes milliseconds.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _words(cls, data: Any) -> Any:
        """Restore the keys `on` and `null`, which YAML 1.1 reads as true and as no value; dbt's manifest has
        `on` as the text 'true'."""
        if not isinstance(data, Mapping):
            return data
        words: dict[Any, str] = {True: "on", None: "null"}
        if "on" in cls.model_fields and "on" not in data:
            words["true"] = "on"
        return {words.get(key, key): value for key, value in data.items()}

    @field_validator("*", mode="before")
    @classmethod
    def _trimmed_secret(cls, value: Any, info: ValidationInfo) -> Any:
        """Strip secrets: those read from a file or pasted often end with a line break."""
        field = cls.model_fields.get(info.field_name or "")
        is_secret = field is not None and SecretStr in (field.annotation, *get_args(field.annotation))
        return value.strip() if is_secret and isinstance(value, str) else value


class _TooDeep(Exception):
    pass


def _composed(text: str) -> yaml.Node | None:
    """The document of a text as nodes. Raises _TooDeep at a depth that nobody writes by hand; composing takes
    time in its square, and the stack."""
    try:
        return _composed_by(SAFE_LOADER, text)
    except yaml.YAMLError:
        # LibYAML has fewer words for what is wrong.
        return _composed_by(yaml.SafeLoader, text)


def _composed_by(loader: Any, text: str) -> yaml.Node | None:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth >= _DEEPEST:
                raise _TooDeep
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return yaml.compose(text, Loader=loader)


def read_yaml(path: Path, *, unique: bool = True) -> Any:
    """Read the document in a YAML file.

    With `unique`, a duplicate key is an error; without, the last one wins, as in dbt. Raises UsageError with
    the line of a syntax error, with both lines of a duplicate key, and for anchors (`&`, `*`) that expand a
    small file into a large document.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = _composed(text)
        if node is None:
            return None
        _check_nodes(node, path.name, unique=unique)
        return SafeConstructor().construct_document(node)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}).") from None
    except _TooDeep:
        raise _too_deep(path.name) from None
    except (ValueError, OverflowError) as error:
        # A value that looks like a date or number but isn't one.
        raise UsageError(f"{path.name}: {error}. Quote the value.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "is not valid YAML"
        raise UsageError(f"{path.name}{line}: {problem}. Fix the YAML.") from None


def _check_nodes(root: yaml.Node, name: str, *, unique: bool) -> None:
    """Raise UsageError for a duplicate key, and for a document that is too deep or, with every alias (`*`)
    expanded, too large. Shared nodes are visited once and counted at each use."""
    sizes: dict[int, int] = {}

    def size_of(node: yaml.Node, above: tuple[int, ...]) -> int:
        if id(node) in above:
            line = node.start_mark.line + 1
            raise UsageError(f"{name}, line {line}: the anchor (&) contains itself. Write its content out.")
        if id(node) in sizes:
            return sizes[id(node)]
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            for key, _ in node.value:
                if key.tag == _BOOLEAN:
                    key.tag = _TEXT  # on, off, yes and no are words here, as they are in YAML 1.2
            if unique:
                _check_keys(node, name)
            inner = [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        size = 1 + sum(size_of(each, (*above, id(node))) for each in inner)
        if size > _MOST_NODES:
            line = node.start_mark.line + 1
            raise UsageError(
                f"{name}, line {line}: expands to more than {_MOST_NODES:,} values because of its aliases "
                "(*). Use fewer aliases."
            )
        sizes[id(node)] = size
        return size

    size_of(root, ())


def _check_keys(node: yaml.MappingNode, name: str) -> None:
    seen: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in node.value:
        # Merge keys (`<<`) may repeat: overriding is their purpose.
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        first = seen.setdefault((key.tag, key.value), key)
        if first is not key:
            raise UsageError(
                f"{name}: duplicate key '{key.value}' on lines {first.start_mark.line + 1} and "
                f"{key.start_mark.line + 1}. Remove one of them."
            )


def _too_deep(name: str) -> UsageError:
    return UsageError(f"{name}: is nested more than {_DEEPEST} levels deep. Reduce the nesting.")


def check(model: type[Model], data: Any, place: str) -> Model:
    """Validate `data` as a `model`. Raises UsageError with `place`, the key, the expectation and the nearest
    valid name."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UsageError(_sentences(model, data, place, error)[0][1]) from None


def problems(model: type[BaseModel], data: Any, place: str) -> list[tuple[Location, str]]:
    """Return every error `check` would raise for `data`, with its location; an empty list if it is valid.
    Conflicts between keys are reported only when each key is valid by itself."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        return _sentences(model, data, place, error)
    return []


def _sentences(
    model: type[BaseModel], data: Any, place: str, error: ValidationError
) -> list[tuple[Location, str]]:
    found: dict[Location, list[str]] = {}
    for each in error.errors(include_input=False, include_url=False):
        location = each["loc"]
        # pydantic reports a value of a union once per member of the union.
        value = location[:-1] if location and location[-1] in _BRANCHES else location
        found.setdefault(value, _sentences_of(model, data, place, dict(each)))
    return [(location, sentence) for location, sentences in found.items() for sentence in sentences]


def _sentences_of(model: type[BaseModel], data: Any, place: str, error: dict[str, Any]) -> list[str]:
    *parents, last = error["loc"] or ("",)
    key = ".".join(str(part) for part in error["loc"] if part != _KEY)
    match error["type"]:
        case "extra_forbidden":
            valid = _keys(model, parents)
            return [f"{place}: {key}: unknown key '{last}'. {nearest(str(last), valid)}"]
        case "missing":
            return [f"{place}: {key} is missing. Add it."]
        case "literal_error":
            wrong = parents[-1] if last == _KEY else _at(data, error["loc"])
            valid = [word.strip("'") for word in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
            return [f"{place}: {key}: '{wrong}' is not known. {nearest(str(wrong), valid)}"]
        case kind if (expected := _expectation(kind, error.get("ctx") or {})) is not None:
            at = f"{place}: {key}" if key else place
            value = _at(data, error["loc"])
            # Text may be a secret, and isn't shown.
            shown = f"{value} is not valid. It " if isinstance(value, int | float) else ""
            return [f"{at}: {shown}{expected if shown else expected[0].upper() + expected[1:]}."]
        case _:
            at = f"{place}: {key}" if key else place
            lines = error["msg"].removeprefix("Value error, ").splitlines()
            return [f"{at}: {line if line.endswith('?') else line.rstrip('.') + '.'}" for line in lines]


_EXPECTED = {
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "finite_number": "must be a number",
    "string": "must be text; quote the value",
    "dict": "must be a mapping, such as {name: value}",
    "mapping": "must be a mapping, such as {name: value}",
    "model": "must be a mapping, such as {name: value}",
    "tuple": "must be a list, such as [a, b]",
    "list": "must be a list, such as [a, b]",
    "set": "must be a list, such as [a, b]",
    "frozen_set": "must be a list, such as [a, b]",
    "date": "must be a date, such as 2026-01-31",
    "date_from_datetime": "must be a date, such as 2026-01-31",
    "datetime": "must be a timestamp, such as 2026-01-31T12:00:00Z",
    "url": "must be a URL, such as https://example.com",
}
"""The beginning of pydantic's type of an error to what is expected."""
_BOUNDS = {
    "greater_than": ("gt", "must be greater than {}"),
    "greater_than_equal": ("ge", "must be {} or more"),
    "less_than": ("lt", "must be less than {}"),
    "less_than_equal": ("le", "must be {} or less"),
    "too_short": ("min_length", "must have at least {} entries"),
    "too_long": ("max_length", "must have at most {} entries"),
    "string_too_short": ("min_length", "must have at least {} characters"),
    "string_too_long": ("max_length", "must have at most {} characters"),
    "string_pattern_mismatch": ("pattern", "must match the pattern {}"),
}
"""Pydantic's type of an error to the bound in its context, and the sentence."""


def _expectation(kind: str, context: Mapping[str, Any]) -> str | None:
    """What a value has to be, for an error that pydantic finds by itself; None for our own."""
    if kind in _BOUNDS:
        name, sentence = _BOUNDS[kind]
        return sentence.format(context[name]).replace("at least 1 entries", "at least one entry")
    for ending in ("_type", "_parsing", "_from_float", "_parsing_size", "_attributes_type"):
        if (found := _EXPECTED.get(kind.removesuffix(ending))) is not None and kind.endswith(ending):
            return found
    return _EXPECTED.get(kind)


def _keys(model: type[BaseModel], parents: list[Any]) -> list[str]:
    """Return the keys of the model at the end of a path of parents."""
    for parent in parents:
        field = model.model_fields.get(str(parent))
        if field is None:
            continue
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
                break
    return [_name(name, field.validation_alias) for name, field in model.model_fields.items()]


def _name(name: str, alias: object) -> str:
    """Return the key users write for a field: its first alias."""
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def _at(data: Any, location: tuple[Any, ...]) -> Any:
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return data
    return data


def line_of(path: Path, location: Location) -> int:
    """Return the line of a key in a YAML file, or of its nearest parent in the file."""
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    for part in location:
        inner: Any = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            inner = node.value[part]
        if inner is None:
            break
        node = inner
    return 1 if node is None else int(node.start_mark.line) + 1


def read_checked(model: type[Model], path: Path) -> Model:
    """Read a YAML file as a `model`; an empty file is an empty mapping. Raises UsageError with the file, the
    line, the key and the expectation."""
    document = read_yaml(path)
    if document is None:
        document = {}
    for location, sentence in problems(model, document, path.name):
        line = line_of(path, location)
        raise UsageError(f"{path.name}, line {line}:{sentence.removeprefix(f'{path.name}:')}")
    return model.model_validate(document)
