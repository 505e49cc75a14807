"""Render Jinja in YAML values: `env_var` as in dbt, `file` and `keyring`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from revetl.errors import UsageError
from revetl.local.redaction import SENSITIVE

_TEMPLATE = re.compile(r"\.(?:body|bodies|record|url|urls)\b")


@dataclass(frozen=True)
class RenderedValue:
    """A value that was filled in from outside the file. `is_secret`: it is from a file or the keyring, or
    from a variable whose name indicates a secret."""

    value: str
    is_secret: bool


class MissingValue(Exception):
    """A referenced value doesn't exist and has no default. The message ends with what to do."""


def render(
    value: Any,
    place: str,
    *,
    placeholders: bool = False,
    way_out: str = "",
    filled_in: set[RenderedValue] | None = None,
    known: Mapping[str, Any] | None = None,
) -> Any:
    """Render the Jinja in a YAML value, recursively.

    Available are `env_var(name, default)` as in dbt, `file(path)` for the content of a file,
    `keyring(service, name)` for a secret in the system's keyring, and the names in `known`. With
    `placeholders`, missing values become `<NAME>`, so that requests can be shown without credentials. Values
    found are added to `filled_in`. Raises UsageError with `place`, the key and what is missing; `way_out` is
    appended to its message.
    """
    options: dict[str, Any] = {"placeholders": placeholders, "way_out": way_out, "filled_in": filled_in}
    options["known"] = known
    if isinstance(value, Mapping):
        return {key: render(inner, f"{place}.{key}", **options) for key, inner in value.items()}
    if isinstance(value, list):
        return [render(inner, f"{place}.{index}", **options) for index, inner in enumerate(value)]
    if not isinstance(value, str) or "{" not in value:
        return value

    def env_var(name: str, default: str | None = None) -> str:
        if (found := os.environ.get(name)) is not None:
            # Unlike `$(cat file)`, some ways to set a variable keep the line break of the file.
            return noted(found.rstrip("\r\n"), bool(SENSITIVE.search(name)))
        if default is not None:
            return default
        return missing(name, f"environment variable {name} is not set. Export it")

    def file(path: str) -> str:
        try:
            return noted(Path(path).expanduser().read_text(encoding="utf-8").strip(), True)
        except (OSError, UnicodeDecodeError) as error:
            return missing(Path(path).name, f"cannot read {path} ({error}). Store the secret there")

    def keyring(service: str, name: str) -> str:
        found = _from_keyring(service, name)
        how = f"the keyring has no '{name}' for '{service}'. Run `keyring set {service} {name}`"
        return missing(name, how) if found is None else noted(found.rstrip("\r\n"), True)

    def noted(found: str, is_secret: bool) -> str:
        if filled_in is not None and found.strip():
            filled_in.add(RenderedValue(found.strip(), is_secret))
        return found

    def missing(name: str, sentence: str) -> str:
        if not placeholders:
            raise MissingValue(sentence)
        # The placeholder of a URL must be a valid URL.
        return f"https://{name}.invalid" if place.endswith(("url", "endpoint")) else f"<{name}>"

    from jinja2 import TemplateError, Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Strict(Undefined):
        """A name that is not known fails at once, even where Jinja would print an empty string."""

        __str__ = __iter__ = __call__ = __bool__ = Undefined._fail_with_undefined_error

    environment = ImmutableSandboxedEnvironment(undefined=Strict)
    environment.globals = {"env_var": env_var, "file": file, "keyring": keyring, **(known or {})}
    environment.filters.update(as_number=_as_number, as_bool=_as_bool, as_native=yaml.safe_load, as_text=str)
    try:
        return environment.from_string(value).render()
    except MissingValue as error:
        raise UsageError(f"{place}: {error}{way_out}.") from None
    except TemplateError as error:
        raise UsageError(
            f"{place}: {error.message}. Only env_var('NAME'), file('PATH') and keyring('SERVICE', 'NAME') "
            f"are available here.{_filled_later(place)}"
        ) from None


def _filled_later(place: str) -> str:
    """Return a hint for keys in which the destination fills in fields per record."""
    is_template = _TEMPLATE.search(place)
    return " Write ${fields.NAME} for a field of the record." if is_template else ""


def _from_keyring(service: str, name: str) -> str | None:
    try:
        import keyring
    except ImportError:
        raise MissingValue("keyring() requires an extra. Run `pip install 'revetl[keyring]'`") from None
    try:
        return keyring.get_password(service, name)
    except keyring.errors.KeyringError as error:
        raise MissingValue(f"cannot read the keyring ({error}). Unlock it, or use env_var or file") from None


def _as_number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _as_bool(text: str) -> bool:
    return text.strip().lower() == "true"
