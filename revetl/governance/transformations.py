"""Read and check `transformations.yaml`: message transformations and PII rules.

Every error names the file, the line and the key, and says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, StrictStr, model_validator

from revetl.config.base import ConfigModel, read_checked
from revetl.errors import UsageError
from revetl.warehouse.templates import parse_scalar

TRANSFORMATIONS_FILE = "transformations.yaml"

MessageType = Literal["track", "identify", "group", "page", "screen"]
Cast = Literal["string", "number", "integer", "boolean"]
Names = tuple[str, ...]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _list_of(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _sql(value: object) -> object:
    if not isinstance(value, str | Mapping):
        raise ValueError("a derived property must be SQL; quote it, because YAML splits at commas and colons")
    return {"sql": value} if isinstance(value, str) else value


class DerivedProperty(ConfigModel):
    """A derived property: SQL over other properties, and its type if the SQL doesn't determine it."""

    sql: StrictStr
    type: Literal["string", "number", "boolean"] | None = None


class Transformation(ConfigModel):
    """How messages of some events, or of a type, are transformed. Keys: docs/how-to/tracking-plan.md."""

    event: StrictStr | None = None
    events: Annotated[tuple[StrictStr, ...], BeforeValidator(_list_of)] = ()
    type: MessageType | None = None
    source: StrictStr | None = None
    rename_event: StrictStr | None = None
    rename: dict[StrictStr, StrictStr] = Field(default={})
    cast: dict[StrictStr, Cast] = Field(default={})
    drop: Annotated[tuple[StrictStr, ...], BeforeValidator(_list_of)] = ()
    derive: dict[StrictStr, Annotated[DerivedProperty, BeforeValidator(_sql)]] = Field(default={})

    @property
    def message_type(self) -> str:
        """The type of the messages."""
        return self.type or "track"

    @property
    def named(self) -> tuple[str, ...]:
        """The names of the events as sent; empty if it applies to all messages of the type."""
        return (self.event, *self.events) if self.event is not None else self.events

    def is_of(self, message_type: str, event: str | None, source: str | None) -> bool:
        """Whether this transformation applies to a message."""
        return (
            message_type == self.message_type
            and (not self.named or event in self.named)
            and self.source in (None, source)
        )

    @model_validator(mode="after")
    def _agrees(self) -> Transformation:
        if wrong := [*self._wrong_keys(), *self._wrong_paths(), *self._wrong_sql()]:
            raise ValueError("\n".join(dict.fromkeys(wrong)))
        return self

    def _wrong_keys(self) -> Iterator[str]:
        if bool(self.named) == (self.type is not None):
            ways = "event: NAME, events: [NAMES] or type: MESSAGE_TYPE"
            yield f"selects {'messages twice; set only one of' if self.named else 'no messages; set'} {ways}"
        if not (self.rename_event or self.rename or self.cast or self.drop or self.derive):
            yield "has no effect; set rename_event, rename, cast, drop or derive"
        if self.rename_event is not None and not self.named:
            yield "rename_event: requires event: or events:"
        if self.rename_event is not None and self.rename_event.strip() in ("", *self.named):
            yield f"rename_event: '{self.rename_event}' is not a new name; use a different one"

    def _wrong_paths(self) -> Iterator[str]:
        for path in (*self.rename, *self.rename.values(), *self.cast, *self.drop, *self.derive):
            if not all(path.split(".")) or _CONTROL.search(path) or re.search(r'["\\]', path):
                yield f"'{path}' is not a valid property path; join names with dots, without \" or \\"
        for path, name in self.rename.items():
            if "." in name and name.rpartition(".")[0] != path.rpartition(".")[0]:
                yield (
                    f"rename: '{path}' cannot be renamed to '{name}'; use a path in the same object, or a "
                    "name without a dot"
                )
        moved = [
            *self.rename,
            *self.rename.values(),
            *(each for each in self.cast if each not in self.renamed),
        ]
        for path in moved:
            if moved.count(path) > 1:
                yield f"'{path}' is listed twice; keep one"
            for other in moved:
                if other.startswith(f"{path}."):
                    yield f"'{other}' is inside '{path}', and one transformation cannot change both"
        for path in self.drop:
            if outer := next((each for each in moved if path.startswith(f"{each}.")), None):
                yield f"'{path}' is inside '{outer}', and one transformation cannot change both"
        for name in self.derive:
            if "." in name:
                yield f"derive: '{name}' is inside an object; use a name without a dot"
        for name in self.drop:
            if name in self.derive:
                yield f"drop: '{name}' is also derived; keep one of the two"

    def _wrong_sql(self) -> Iterator[str]:
        for name, derived in self.derive.items():
            try:
                parse_scalar(derived.sql, f"derive.{name}")
            except UsageError as error:
                yield (
                    str(error)
                    .replace("Move queries into the model.", "Reference only properties.")
                    .replace("Move it into the model.", "Reference only the properties of one message.")
                )

    @property
    def renamed(self) -> dict[str, str]:
        """New name to old one."""
        return {name: path for path, name in self.rename.items()}


class PiiRule(ConfigModel):
    """A PII rule: which values to hide, and where. docs/how-to/pii.md documents the keys."""

    match: StrictStr
    place: Annotated[
        Literal["properties", "traits", "context", "any"], Field(validation_alias=AliasChoices("in"))
    ] = "any"
    action: Literal["drop", "hash", "mask"]
    at: StrictStr = "load"

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """The pattern of names, if `match` is between slashes."""
        is_pattern = len(self.match) > 2 and self.match.startswith("/") and self.match.endswith("/")
        return re.compile(self.match[1:-1]) if is_pattern else None

    @property
    def path(self) -> Names:
        """The names of `match` as a path, in lower case."""
        return tuple(self.match.lower().split("."))

    def is_of(self, path: Names) -> bool:
        """Whether the rule matches the value at a path: by its last name, its full path, or a pattern found
        in its last name."""
        if (pattern := self.pattern) is not None:
            return pattern.search(path[-1]) is not None
        lowered = tuple(name.lower() for name in path)
        return lowered[-1:] == self.path or lowered == self.path

    @model_validator(mode="after")
    def _agrees(self) -> PiiRule:
        try:
            _ = self.pattern
        except re.error as error:
            raise ValueError(f"match: {self.match} is not a valid regular expression ({error})") from None
        if not all(self.match.split(".")):
            raise ValueError(f"match: '{self.match}' is not a name, a path or a /pattern/ of names")
        if self.at != "load" and "place" in self.model_fields_set:
            raise ValueError(f"in: applies to messages only, and {self.at} receives fields; omit it")
        return self


class TransformationsFile(ConfigModel):
    """The content of `transformations.yaml`. The salt is rendered only when used."""

    transformations: tuple[Transformation, ...] = ()
    pii: tuple[PiiRule, ...] = ()
    salt: StrictStr | None = None

    @model_validator(mode="after")
    def _is_salted(self) -> TransformationsFile:
        way = "write salt: \"{{ env_var('REVETL_PII_SALT') }}\" and export the variable"
        if self.salt is None and any(rule.action == "hash" for rule in self.pii):
            raise ValueError(f"salt is missing, but a PII rule hashes; {way}")
        if self.salt is not None and "env_var" not in self.salt:
            raise ValueError(f"salt is an inline secret; {way}")
        return self


def read_transformations(root: Path) -> TransformationsFile:
    """Read a project's `transformations.yaml`; empty if it doesn't exist. Raises UsageError with the file,
    the line, the key and the expectation."""
    path = root / TRANSFORMATIONS_FILE
    return read_checked(TransformationsFile, path) if path.is_file() else TransformationsFile()


def first_of(
    transformations: tuple[Transformation, ...], message_type: str, event: str | None, source: str | None
) -> Transformation | None:
    """Return the first transformation that applies to a message."""
    return next((each for each in transformations if each.is_of(message_type, event, source)), None)


def at_path(document: Any, names: Names) -> Any:
    """Return the value at a path of names in a document; `...` if there is none."""
    for name in names:
        if not isinstance(document, Mapping) or name not in document:
            return ...
        document = document[name]
    return document
