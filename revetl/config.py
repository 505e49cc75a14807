"""What users write about syncs and destinations, checked: `revetl.yml` and `config.meta.revetl` of a model.

Both are read as pydantic models; every error is one sentence with the file, the key, and a way out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from jinja2 import TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from revetl.errors import UsageError, nearest

Mode = Literal["mirror", "upsert"]
MODES: tuple[str, ...] = get_args(Mode)
Model = TypeVar("Model", bound=BaseModel)


class Checked(BaseModel):
    """A piece of configuration: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SyncConfig(Checked):
    """One entry of `sync:` on a model. `fields` and `identifiers` map a destination's name to a column
    or a SQL expression over the model's columns; without `fields`, every column but the key is sent."""

    to: str
    mode: Mode = "mirror"
    fields: dict[str, str] | None = None
    identifiers: dict[str, str] = {}
    max_change: Annotated[float, Field(gt=0)] = 0.3

    @field_validator("fields", mode="before")
    @classmethod
    def _list_of_columns(cls, value: object) -> object:
        return {name: name for name in value} if isinstance(value, list) else value


class AudienceConfig(Checked):
    """`config.meta.revetl` of a model: the column that names a person, and where the audience goes."""

    key: str
    sync: tuple[SyncConfig, ...] = ()

    @field_validator("sync", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, Mapping) else value


class RevetlConfig(Checked):
    """`revetl.yml`. Destinations stay unrendered until they are used, so that a secret which is not
    set stops only the run that needs it."""

    destinations: dict[str, dict[str, Any]] = {}
    state_schema: str = "revetl"


def read_revetl_yml(root: Path) -> RevetlConfig:
    """`root/revetl.yml`, or the defaults when there is none. Raises UsageError naming file and key."""
    path = root / "revetl.yml"
    if not path.exists():
        return RevetlConfig()
    return check(RevetlConfig, read_yaml(path) or {}, path.name)


def read_yaml(path: Path) -> Any:
    """The document in a YAML file. Raises UsageError with the line that could not be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "is not YAML"
        raise UsageError(f"{path.name}{line}: {problem}. Correct the YAML there.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}).") from None


def check(model: type[Model], data: Any, place: str) -> Model:
    """`data` as `model`. Raises UsageError: `place`, the key, what was expected, the nearest valid name."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        *parents, last = first["loc"] or ("",)
        key = ".".join(str(part) for part in first["loc"])
        match first["type"]:
            case "extra_forbidden":
                valid = _keys(model, parents)
                sentence = f"{place}: {key}: there is no key '{last}' here. {nearest(str(last), valid)}"
            case "missing":
                sentence = f"{place}: {key} is missing. Add it."
            case "literal_error":
                wrong = _at(data, first["loc"])
                valid = [
                    word.strip("'") for word in first["ctx"]["expected"].replace(" or ", ", ").split(", ")
                ]
                sentence = f"{place}: {key}: '{wrong}' is not known. {nearest(str(wrong), valid)}"
            case _:
                sentence = f"{place}: {key}: {first['msg'].removeprefix('Value error, ').rstrip('.')}."
        raise UsageError(sentence) from None


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


class MissingVariable(Exception):
    """`env_var` was asked for a variable that is not set and has no default."""


def render(value: Any, place: str, *, placeholders: bool = False, way_out: str = "") -> Any:
    """A YAML value with its Jinja rendered, as dbt renders `profiles.yml`: `env_var(name, default)` only.

    With `placeholders` a variable that is not set becomes `<NAME>`, so that requests can be shown without
    credentials. Raises UsageError naming `place`, the key and the variable; `way_out` ends its sentence.
    """
    if isinstance(value, Mapping):
        return {
            key: render(inner, f"{place}.{key}", placeholders=placeholders, way_out=way_out)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [
            render(inner, f"{place}.{index}", placeholders=placeholders, way_out=way_out)
            for index, inner in enumerate(value)
        ]
    if not isinstance(value, str) or "{" not in value:
        return value

    def env_var(name: str, default: str | None = None) -> str:
        found = os.environ.get(name, default)
        if found is None:
            if placeholders:
                # A URL has to look like one to pass for a URL.
                return f"https://{name}.invalid" if place.endswith(("url", "endpoint")) else f"<{name}>"
            raise MissingVariable(name)
        return found

    environment = ImmutableSandboxedEnvironment(undefined=_Strict)
    environment.globals = {"env_var": env_var}
    environment.filters.update(as_number=_as_number, as_bool=_as_bool, as_native=yaml.safe_load, as_text=str)
    try:
        return environment.from_string(value).render()
    except MissingVariable as error:
        way_out = f" Export it{way_out}."
        raise UsageError(f"{place}: environment variable {error} is not set.{way_out}") from None
    except TemplateError as error:
        raise UsageError(f"{place}: {error.message}. Only env_var('NAME') is known here.") from None


class _Strict(Undefined):
    """A name that is not known fails at once, even where Jinja would print an empty string."""

    __str__ = __iter__ = __call__ = __bool__ = Undefined._fail_with_undefined_error


def _as_number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _as_bool(text: str) -> bool:
    return text.strip().lower() == "true"
