"""`transformations.yaml`, read and checked: how messages are put right, and what of people is hidden.

Every error is one sentence with the file, the line, the key and a way out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field, StrictStr, model_validator

from revetl.config.base import Checked, read_checked
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
        raise ValueError("a derived property is SQL; write it in quotes, as a comma or colon ends it else")
    return {"sql": value} if isinstance(value, str) else value


class Derived(Checked):
    """A property that is computed: SQL over the others, and the type of what it gives where that cannot be
    told from the SQL."""

    sql: StrictStr
    type: Literal["string", "number", "boolean"] | None = None


class Transformation(Checked):
    """What is done to the messages of events, or of a type; docs/how-to/tracking-plan.md has every key."""

    event: StrictStr | None = None
    events: Annotated[tuple[StrictStr, ...], BeforeValidator(_list_of)] = ()
    type: MessageType | None = None
    source: StrictStr | None = None
    rename_event: StrictStr | None = None
    rename: dict[StrictStr, StrictStr] = Field(default={})
    cast: dict[StrictStr, Cast] = Field(default={})
    drop: Annotated[tuple[StrictStr, ...], BeforeValidator(_list_of)] = ()
    derive: dict[StrictStr, Annotated[Derived, BeforeValidator(_sql)]] = Field(default={})

    @property
    def message_type(self) -> str:
        """The type of the messages."""
        return self.type or "track"

    @property
    def named(self) -> tuple[str, ...]:
        """The events, as they are sent; none where it is for all messages of the type."""
        return (self.event, *self.events) if self.event is not None else self.events

    def is_of(self, message_type: str, event: str | None, source: str | None) -> bool:
        """Whether a message is transformed by this."""
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
            yield "say of which messages it is: event: NAME, events: [NAMES], or type: identify and the like"
        if not (self.rename_event or self.rename or self.cast or self.drop or self.derive):
            yield "nothing is done: say rename_event, rename, cast, drop or derive"
        if self.rename_event is not None and not self.named:
            yield "rename_event: is for an event: name the event"
        if self.rename_event is not None and self.rename_event.strip() in ("", *self.named):
            yield f"rename_event: '{self.rename_event}' is no new name"

    def _wrong_paths(self) -> Iterator[str]:
        for path in (*self.rename, *self.rename.values(), *self.cast, *self.drop, *self.derive):
            if not all(path.split(".")) or _CONTROL.search(path) or re.search(r'["\\]', path):
                yield (
                    f"'{path}' is no path of a property: write names with dots between them, without \" or \\"
                )
        for path, name in self.rename.items():
            if "." in name and name.rpartition(".")[0] != path.rpartition(".")[0]:
                yield (
                    f"rename: '{path}' cannot become '{name}': a new name is one in the same object, or has "
                    "no dot"
                )
        moved = [
            *self.rename,
            *self.rename.values(),
            *(each for each in self.cast if each not in self.renamed),
        ]
        for path in moved:
            if moved.count(path) > 1:
                yield f"'{path}' is named twice; keep one"
            for other in moved:
                if other.startswith(f"{path}."):
                    yield f"'{other}' is inside of '{path}', and one transformation cannot change both"
        for path in self.drop:
            if outer := next((each for each in moved if path.startswith(f"{each}.")), None):
                yield f"'{path}' is inside of '{outer}', and one transformation cannot change both"
        for name in self.derive:
            if "." in name:
                yield f"derive: '{name}' is inside of an object; a derived property has a plain name"
        for name in self.drop:
            if name in self.derive:
                yield f"drop: '{name}' is derived; keep one of the two"

    def _wrong_sql(self) -> Iterator[str]:
        for name, derived in self.derive.items():
            try:
                parse_scalar(derived.sql, f"derive.{name}")
            except UsageError as error:
                yield (
                    str(error)
                    .replace("Put a query into the model.", "It may name properties only.")
                    .replace("Put it into the model.", "It may be of one message only.")
                )

    @property
    def renamed(self) -> dict[str, str]:
        """New name to old one."""
        return {name: path for path, name in self.rename.items()}


class PiiRule(Checked):
    """What is hidden of people, where; docs/how-to/pii.md says what each key means."""

    match: StrictStr
    place: Annotated[
        Literal["properties", "traits", "context", "any"], Field(validation_alias=AliasChoices("in"))
    ] = "any"
    action: Literal["drop", "hash", "mask"]
    at: StrictStr = "load"

    @property
    def pattern(self) -> re.Pattern[str] | None:
        """The pattern of names, of a match between slashes."""
        is_pattern = len(self.match) > 2 and self.match.startswith("/") and self.match.endswith("/")
        return re.compile(self.match[1:-1]) if is_pattern else None

    @property
    def path(self) -> Names:
        """The names of a match that is a path, in lower case."""
        return tuple(self.match.lower().split("."))

    def is_of(self, path: Names) -> bool:
        """Whether a value is meant, by the names that lead to it: its name wherever it is, the whole path, or
        a pattern that is found in its name."""
        if (pattern := self.pattern) is not None:
            return pattern.search(path[-1]) is not None
        lowered = tuple(name.lower() for name in path)
        return lowered[-1:] == self.path or lowered == self.path

    @model_validator(mode="after")
    def _agrees(self) -> PiiRule:
        try:
            _ = self.pattern
        except re.error as error:
            raise ValueError(f"match: {self.match} is no regular expression ({error})") from None
        if not all(self.match.split(".")):
            raise ValueError(f"match: '{self.match}' is no name, path or /pattern/ of names")
        if self.at != "load" and "place" in self.model_fields_set:
            raise ValueError(f"in: is for messages, and {self.at} is sent fields; leave it out")
        return self


class TransformationsFile(Checked):
    """All of `transformations.yaml`. The salt stays unrendered until it is used."""

    transformations: tuple[Transformation, ...] = ()
    pii: tuple[PiiRule, ...] = ()
    salt: StrictStr | None = None

    @model_validator(mode="after")
    def _is_salted(self) -> TransformationsFile:
        way = "write salt: \"{{ env_var('REVETL_PII_SALT') }}\" and export it"
        if self.salt is None and any(rule.action == "hash" for rule in self.pii):
            raise ValueError(f"salt is missing, and a rule of pii hashes; {way}")
        if self.salt is not None and "env_var" not in self.salt:
            raise ValueError(f"salt is a secret written in a file; {way}")
        return self


def read_transformations(root: Path) -> TransformationsFile:
    """`transformations.yaml` of a project; an empty one where there is none. Raises UsageError with the file,
    the line, the key and what was expected."""
    path = root / TRANSFORMATIONS_FILE
    return read_checked(TransformationsFile, path) if path.is_file() else TransformationsFile()


def first_of(
    transformations: tuple[Transformation, ...], message_type: str, event: str | None, source: str | None
) -> Transformation | None:
    """The transformation of a message: the first that is of it."""
    return next((each for each in transformations if each.is_of(message_type, event, source)), None)


def at_path(document: Any, names: Names) -> Any:
    """The value that names lead to in a document; `...` where there is none."""
    for name in names:
        if not isinstance(document, Mapping) or name not in document:
            return ...
        document = document[name]
    return document
