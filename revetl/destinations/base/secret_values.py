"""Finds the secrets in a configuration, for redaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from pydantic import BaseModel, SecretStr

from revetl.local.redaction import SENSITIVE

__all__ = ["SENSITIVE", "names_of_secrets", "secrets_in"]


def names_of_secrets(model: type[BaseModel]) -> list[str]:
    """Return the configuration keys that are secrets, as dotted paths."""
    found = []
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if kind is SecretStr:
                found.append(name)
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                found += [f"{name}.{inner}" for inner in names_of_secrets(kind)]
    return found


def secrets_in(value: object) -> Iterator[str]:
    """Yield values declared as secrets, and values whose user-chosen names suggest a secret."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in value.__class__.model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            is_text = isinstance(inner, str | int) and not isinstance(inner, bool)
            if is_text and SENSITIVE.search(str(name)) and "${" not in str(inner):
                yield str(inner)
            yield from secrets_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from secrets_in(inner)
