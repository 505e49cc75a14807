"""Events that have names of their own: what a sync reads of their rows, and what is sent of each.

By default an event's properties are its fields, and the e-commerce events of Segment's spec become what the
destination has for them (`standard_events.yml`); `events:` of a sync says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import yaml

from revetl.checking import check
from revetl.config import SyncConfig
from revetl.event_rules import Casing, EventRule, cased, read

PROPERTIES = "properties"
"""The column of the properties of a track call."""

ROW = "$row."
"""What begins the names of an event's columns among the fields of a spooled record."""

Hide = Callable[[str, Any], Any]


@cache
def standard_events(kind: str) -> Mapping[str, EventRule]:
    """What a type of destination has for the e-commerce events of Segment's spec, by their names; none for
    one that takes them as they are."""
    text = files("revetl").joinpath("standard_events.yml").read_text(encoding="utf-8")
    rules: dict[str, Any] = yaml.safe_load(text).get(kind) or {}
    return {
        name: check(EventRule, rule, f"standard_events.yml: {kind}.{name}") for name, rule in rules.items()
    }


@dataclass(frozen=True)
class EventMapping:
    """What a sync makes of its events. `column` has their names, as they were sent or in snake_case;
    `spread`: an event's properties are its fields; `hide` is what hides people in a column's value."""

    column: str
    rules: Mapping[str, EventRule] = field(default_factory=dict)
    spread: bool = True
    casing: Casing = field(default_factory=Casing)
    hide: Hide = lambda _, value: value

    @cached_property
    def _by_snake_case(self) -> dict[str, EventRule]:
        """The rules by the names that warehouses have of events: `order_completed`."""
        return {cased(name, "snake_case"): rule for name, rule in self.rules.items()}

    def named(self, there: Iterable[str]) -> tuple[str, ...]:
        """The columns it reads, of those that are `there`: the rules of a sync name no other."""
        read_of = {
            self.column,
            PROPERTIES,
            *(name for rule in self.rules.values() for name in rule.columns()),
        }
        known = {name.lower() for name in there}
        return tuple(sorted(name for name in read_of if name.lower() in known))

    def made(self, row: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """What an event is called there, None where its row has no name for it; and its fields, of its row
        and of the `fields` that the sync sends of each. A model without a column of properties has them in
        those."""
        name = row.get(self.column)
        if not isinstance(name, str) or not name.strip():
            return None, dict(fields)
        seen = {column: self.hide(column, read(value)) for column, value in row.items()}
        if not isinstance(seen.get(PROPERTIES), Mapping):
            seen[PROPERTIES] = fields
        others = {cased(each, self.casing.fields): value for each, value in seen[PROPERTIES].items()}
        if (rule := self.rules.get(name) or self._by_snake_case.get(cased(name, "snake_case"))) is None:
            return cased(name, self.casing.events), {**(others if self.spread else {}), **fields}
        sent = rule.event or cased(name, self.casing.events)
        own = {} if seen[PROPERTIES] is fields else fields
        return sent, {**rule.made(seen, others), **own}


def event_mapping_of(sync: SyncConfig, kind: str, hide: Hide | None = None) -> EventMapping | None:
    """What a sync to a type of destination makes of its events; None where they have one name."""
    if sync.event_column is None:
        return None
    rules = {**(standard_events(kind) if sync.standard_events else {}), **sync.events}
    made = EventMapping(sync.event_column, rules, sync.fields is None, sync.casing)
    return made if hide is None else EventMapping(made.column, rules, made.spread, made.casing, hide)
