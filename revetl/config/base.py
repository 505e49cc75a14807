"""Configuration as pydantic models: every error is one sentence with the file, the key, and a way out."""

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
_KEY = "[key]"
"""What pydantic ends the location with of a key that is wrong itself."""


class Checked(BaseModel):
    """A piece of configuration: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _words(cls, data: Any) -> Any:
        """YAML 1.1 reads the key `on` as true, and `null` as nothing at all."""
        if not isinstance(data, Mapping):
            return data
        words = {True: "on", None: "null"}
        return {words[key] if key is True or key is None else key: value for key, value in data.items()}

    @field_validator("*", mode="before")
    @classmethod
    def _trimmed_secret(cls, value: Any, info: ValidationInfo) -> Any:
        """A secret that was read from a file or pasted ends with a line break, which is none of it."""
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
    """The document in a YAML file. Raises UsageError with the line that could not be read, with both lines
    of a key that is there twice (without `unique` the last one stands, as dbt has it), and for anchors (`&`,
    `*`) that make a small file a large document."""
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
        # Of what looks like a date or a number, and is none.
        raise UsageError(f"{path.name}: {error}. Put the value in quotes.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "is not YAML"
        raise UsageError(f"{path.name}{line}: {problem}. Correct the YAML there.") from None


def _check_nodes(root: yaml.Node, name: str, *, unique: bool) -> None:
    """Raises UsageError for a key that a mapping has twice, and for a document that is too deep, or too
    large with every alias (`*`) written out; a shared node is looked at once and counted at each use."""
    sizes: dict[int, int] = {}

    def size_of(node: yaml.Node, above: tuple[int, ...]) -> int:
        if id(node) in above:
            line = node.start_mark.line + 1
            raise UsageError(f"{name}, line {line}: an anchor (&) contains itself. Write it out instead.")
        if id(node) in sizes:
            return sizes[id(node)]
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            if unique:
                _check_keys(node, name)
            inner = [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        size = 1 + sum(size_of(each, (*above, id(node))) for each in inner)
        if size > _MOST_NODES:
            line = node.start_mark.line + 1
            raise UsageError(
                f"{name}, line {line}: with its aliases (*) written out, this has more than {_MOST_NODES:,} "
                "values. Use fewer aliases."
            )
        sizes[id(node)] = size
        return size

    size_of(root, ())


def _check_keys(node: yaml.MappingNode, name: str) -> None:
    seen: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in node.value:
        # Whoever merges (`<<`) several mappings overrides some on purpose.
        if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
            continue
        first = seen.setdefault((key.tag, key.value), key)
        if first is not key:
            raise UsageError(
                f"{name}: the key '{key.value}' is there twice, in line {first.start_mark.line + 1} and in "
                f"line {key.start_mark.line + 1}. Keep one of them."
            )


def _too_deep(name: str) -> UsageError:
    return UsageError(f"{name}: it is nested more than {_DEEPEST} levels deep. Write it flatter.")


def check(model: type[Model], data: Any, place: str) -> Model:
    """`data` as `model`. Raises UsageError: `place`, the key, what was expected, the nearest valid name."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UsageError(_sentences(model, data, place, error)[0][1]) from None


def problems(model: type[BaseModel], data: Any, place: str) -> list[tuple[Location, str]]:
    """Everything for which `check` would refuse `data`: where in it, and the sentence; none when it is right.
    What keys may not say together is found once each of them is right."""
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
        # A value that is of none of several types is told of once for each of them.
        value = location[:-1] if location and location[-1] in _BRANCHES else location
        found.setdefault(value, _sentences_of(model, data, place, dict(each)))
    return [(location, sentence) for location, sentences in found.items() for sentence in sentences]


def _sentences_of(model: type[BaseModel], data: Any, place: str, error: dict[str, Any]) -> list[str]:
    *parents, last = error["loc"] or ("",)
    key = ".".join(str(part) for part in error["loc"] if part != _KEY)
    match error["type"]:
        case "extra_forbidden":
            valid = _keys(model, parents)
            return [f"{place}: {key}: there is no key '{last}' here. {nearest(str(last), valid)}"]
        case "missing":
            return [f"{place}: {key} is missing. Add it."]
        case "literal_error":
            wrong = parents[-1] if last == _KEY else _at(data, error["loc"])
            valid = [word.strip("'") for word in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
            return [f"{place}: {key}: '{wrong}' is not known. {nearest(str(wrong), valid)}"]
        case _:
            at = f"{place}: {key}" if key else place
            lines = error["msg"].removeprefix("Value error, ").splitlines()
            return [f"{at}: {line if line.endswith('?') else line.rstrip('.') + '.'}" for line in lines]


def _keys(model: type[BaseModel], parents: list[Any]) -> list[str]:
    """The keys `model` has at the end of a path of parents."""
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
    """The name users write a field by: the first of its aliases."""
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def _at(data: Any, location: tuple[Any, ...]) -> Any:
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return data
    return data


def line_of(path: Path, location: Location) -> int:
    """The line of a key in a YAML file, or of the nearest one above it that is written."""
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
    """A YAML file as `model`; an empty one is an empty mapping. Raises UsageError with the file, the line,
    the key and what was expected."""
    document = read_yaml(path)
    if document is None:
        document = {}
    for location, sentence in problems(model, document, path.name):
        line = line_of(path, location)
        raise UsageError(f"{path.name}, line {line}:{sentence.removeprefix(f'{path.name}:')}")
    return model.model_validate(document)
