"""YAML values with `env_var` in them, as dbt renders its profiles."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml
from jinja2 import TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from revetl.errors import UsageError


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
