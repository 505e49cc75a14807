"""Converts another tool's sync to an entry of `sync:`, and its destination to one of revetl.yml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import AliasChoices

from revetl.destinations import destination_class
from revetl.destinations.base.destination import Destination, Identifier
from revetl.importers.found import (
    Export,
    FoundSync,
    is_template,
    named,
)
from revetl.importers.kinds import (
    ALSO,
    EXACT,
    LOOKUPS,
    MODES,
    OBJECTS,
    letters,
    type_of,
)

PEOPLE = frozenset({"user", "users", "userdata", "contact", "contacts", "profile", "people", "customer"})


@dataclass
class Destinations:
    """The destinations of revetl.yml: existing ones (`taken`), and `new` ones."""

    taken: Mapping[str, Any]
    new: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, name: str, config: dict[str, Any]) -> str:
        """Return the name of a destination with that configuration: an existing one with the same values,
        ignoring those from the environment, else a new one."""
        about = {key: value for key, value in config.items() if not is_template(value)}
        things = [f"{name}_{named(str(about[key]))}" for key in OBJECTS.values() if key in about]
        for each in (name, *things, *(f"{name}_{number}" for number in range(2, 1_000))):
            there = self.taken.get(each, self.new.get(each))
            if there is None:
                self.new[each] = config
                return each
            if all(there.get(key) == value for key, value in about.items()):
                return each
        raise AssertionError("more than a thousand destinations with the same name")


def as_sync(sync: FoundSync, destinations: Destinations, found: Export) -> dict[str, Any] | None:
    """Return the entry of a sync; None, with a note, if it can't be converted."""
    kind, is_guess = type_of(sync.kind, sync.to)
    if kind is None:
        said = f"of type '{sync.kind}', which revetl does not support" if sync.kind else "of unknown type"
        found.note(sync.source, "destination", f"'{sync.to}' is {said}; its syncs are skipped")
        return None
    if is_guess:
        found.note(sync.source, "destination", f"'{sync.to}' is assumed to be {kind} because of its name")
    made = destination_class(kind, sync.to)
    entry: dict[str, Any] = {"to": destinations.add(sync.to, _config(kind, made, sync, found))}
    entry["mode"] = _mode(sync, made, kind, found)
    if entry["mode"] == "events":
        if sync.event is None:
            found.note(sync.source, "mode", "events without an event name; the sync is skipped")
            return None
        entry["event"] = sync.event
        if sync.timestamp is not None:
            entry["timestamp"] = sync.timestamp
    identifiers, fields = _identifiers(sync, made, kind, found)
    if identifiers:
        entry["identifiers"] = identifiers
    if not sync.takes_all_columns and made.takes_other_fields:
        entry["fields"] = fields
    elif fields and not made.takes_other_fields:
        found.note(sync.source, "mappings", f"{kind} does not accept {', '.join(fields)}")
    if sync.constants and made.takes_other_fields:
        entry["constants"] = sync.constants
    if sync.skips_nulls:
        entry["null"] = "skip"
    if sync.set_if_empty and made.can_set_if_empty:
        entry["set_if_empty"] = sync.set_if_empty
    elif sync.set_if_empty:
        found.note(sync.source, "preserve_values", f"{kind} does not report whether a field is empty")
    return entry


def _config(kind: str, made: type[Destination], sync: FoundSync, found: Export) -> dict[str, Any]:
    """Return the destination's entry: required keys, with values from the environment."""
    config: dict[str, Any] = {"type": kind}
    if kind in OBJECTS and sync.object is not None:
        config[OBJECTS[kind]] = sync.object
    elif sync.object is not None and letters(sync.object) not in (
        "user",
        "users",
        "contact",
        "contacts",
        "profile",
    ):
        found.note(sync.source, "object", f"'{sync.object}': {kind} only supports people")
    if kind in LOOKUPS and sync.identifiers:
        config[LOOKUPS[kind]] = next(iter(sync.identifiers))
    needed = [name for name, about in made.model_fields.items() if about.is_required()]
    for name in dict.fromkeys((*needed, *ALSO.get(kind, ()))):
        alias = made.model_fields[name].validation_alias
        shown = str(alias.choices[0]) if isinstance(alias, AliasChoices) else name
        variable = f"{sync.to}_{shown}".upper()
        config.setdefault(shown, f"{{{{ env_var('{variable}') }}}}")
    return config


def _mode(sync: FoundSync, made: type[Destination], kind: str, found: Export) -> str:
    theirs = re.sub(r"[^a-z]", "", sync.mode.lower())
    mode = MODES.get(theirs, "upsert")
    if mode not in made.modes():
        found.note(sync.source, "mode", f"'{sync.mode}': {kind} has no mode '{mode}'; using 'upsert'")
        return "upsert"
    if not made.takes_other_fields and mode == "upsert":
        # Such a destination only has membership.
        mode = "mirror"
    if theirs not in EXACT:
        found.note(
            sync.source, "mode", f"'{sync.mode}' was converted to '{mode}'; check whether that is right"
        )
    return mode


def _identifiers(
    sync: FoundSync, made: type[Destination], kind: str, found: Export
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the identifiers by revetl's names, and the remaining fields."""
    identifiers, fields = {}, dict(sync.fields)
    for to, source in sync.identifiers.items():
        known = to if kind in LOOKUPS else _known_as(to, made.identifiers)
        if known is None:
            names = ", ".join(each.name for each in made.identifiers)
            found.note(sync.source, "identifier", f"'{to}' is not one of {kind}'s ({names}); the key is used")
        else:
            identifiers[known] = source
    if made.matches_by_all:
        for to, source in sync.fields.items():
            if (known := _known_as(to, made.identifiers)) is not None:
                identifiers[known] = source
                del fields[to]
    return identifiers, fields


def _known_as(name: str, identifiers: tuple[Identifier, ...]) -> str | None:
    """Return revetl's name of an identifier, given the tool's name or column in any spelling."""
    plain = letters(name)
    for each in identifiers:
        if plain in (letters(each.name), letters(each.column)):
            return each.name
    return None
