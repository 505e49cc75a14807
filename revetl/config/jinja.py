"""YAML values with what is kept elsewhere in them: `env_var` as dbt has it, `file`, `keyring`."""

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
class FilledIn:
    """A value that is not written in the file that names it. `is_secret`: it is of a file or a keyring, or of
    a variable whose name says so."""

    value: str
    is_secret: bool


class Missing(Exception):
    """What was asked for is not there, and has no default. The sentence ends with what to do."""


def render(
    value: Any,
    place: str,
    *,
    placeholders: bool = False,
    way_out: str = "",
    filled_in: set[FilledIn] | None = None,
    known: Mapping[str, Any] | None = None,
) -> Any:
    """A YAML value with its Jinja rendered: `env_var(name, default)` as dbt has it, `file(path)` for what a
    file holds, `keyring(service, name)` for what the system's keyring does.

    With `placeholders` what is not there becomes `<NAME>`, so that requests can be shown without
    credentials. `filled_in` is added what was found; `known` are further names. Raises UsageError naming
    `place`, the key and what is missing; `way_out` ends its sentence.
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
            # A secret that `$(cat file)` did not make has the line break of its file.
            return noted(found.rstrip("\r\n"), bool(SENSITIVE.search(name)))
        if default is not None:
            return default
        return missing(name, f"environment variable {name} is not set. Export it")

    def file(path: str) -> str:
        try:
            return noted(Path(path).expanduser().read_text(encoding="utf-8").strip(), True)
        except (OSError, UnicodeDecodeError) as error:
            return missing(Path(path).name, f"{path} cannot be read ({error}). Put the secret there")

    def keyring(service: str, name: str) -> str:
        found = _from_keyring(service, name)
        how = f"the keyring has no '{name}' of '{service}'. Run `keyring set {service} {name}`"
        return missing(name, how) if found is None else noted(found.rstrip("\r\n"), True)

    def noted(found: str, is_secret: bool) -> str:
        if filled_in is not None and found.strip():
            filled_in.add(FilledIn(found.strip(), is_secret))
        return found

    def missing(name: str, sentence: str) -> str:
        if not placeholders:
            raise Missing(sentence)
        # A URL has to look like one to pass for a URL.
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
    except Missing as error:
        raise UsageError(f"{place}: {error}{way_out}.") from None
    except TemplateError as error:
        raise UsageError(
            f"{place}: {error.message}. Only env_var('NAME'), file('PATH') and keyring('SERVICE', 'NAME') "
            f"are known here.{_filled_later(place)}"
        ) from None


def _filled_later(place: str) -> str:
    """What to write where a destination fills in what it knows of people, in the keys that it does it in."""
    is_template = _TEMPLATE.search(place)
    return " What is filled in for each person is written ${fields.NAME}." if is_template else ""


def _from_keyring(service: str, name: str) -> str | None:
    try:
        import keyring
    except ImportError:
        raise Missing("keyring() needs a library. Run `pip install 'revetl[keyring]'`") from None
    try:
        return keyring.get_password(service, name)
    except keyring.errors.KeyringError as error:
        raise Missing(f"the keyring cannot be read ({error}). Unlock it, or use env_var or file") from None


def _as_number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _as_bool(text: str) -> bool:
    return text.strip().lower() == "true"
