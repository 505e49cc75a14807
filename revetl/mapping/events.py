"""Events that have names of their own: what a sync reads of their rows, and what is sent of each.

By default an event's properties are its fields, and the page, screen and e-commerce events of Segment's spec
become what the destination has for them (`standard_events.yml`); `events:` of a sync says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from revetl.config.base import check
from revetl.config.events import (
    Casing,
    EventRule,
    cased,
    read,
)
from revetl.config.models import SyncConfig
from revetl.local.package_yaml import read_package_yaml

PROPERTIES = "properties"
"""The column of the properties of a track call."""

ROW = "$row."
"""What begins the names of an event's columns among the fields of a spooled record."""

Hide = Callable[[str, Any], Any]


PAGE, SCREEN = "$page", "$screen"
"""What rules call page and screen calls, whatever the names of their pages."""

CALLS = {"page": PAGE, "screen": SCREEN}
TRACK = "track"
MESSAGE_TYPE = "message_type"
"""The column that says which call each row is, where a model has it."""

OF_ALL = "*"
"""The types of destination that `standard_events.yml` does not list."""


@cache
def standard_events(kind: str) -> Mapping[str, EventRule]:
    """What a type of destination has for the page, screen and e-commerce events of Segment's spec, by their
    names; for one that takes them as they are, only names for pages and screens that have none."""
    known: dict[str, dict[str, Any]] = read_package_yaml(Path(__file__).with_name("standard_events.yml"))
    rules = {**known[OF_ALL], **(known.get(kind) or {})}
    return {
        name: check(EventRule, {"any_spelling": True, **rule}, f"standard_events.yml: {kind}.{name}")
        for name, rule in rules.items()
    }


@dataclass(frozen=True)
class EventMapping:
    """What a sync makes of its events. `column` has their names, as they were sent or in snake_case; `call`
    is the call that all of them are, or the column that says it; `spread`: an event's properties are its
    fields; `hide` is what hides people in a column's value. `own` are the rules that the sync itself has."""

    column: str
    rules: Mapping[str, EventRule] = field(default_factory=dict)
    spread: bool = True
    casing: Casing = field(default_factory=Casing)
    hide: Hide = lambda _, value: value
    call: str = MESSAGE_TYPE
    own: Collection[str] = ()

    @cached_property
    def _named(self) -> dict[str, EventRule]:
        """The rules of events by their names, and by those that warehouses give them: `order_completed`."""
        named = {name: rule for name, rule in self.rules.items() if name not in CALLS.values()}
        return {cased(name, "snake_case"): rule for name, rule in named.items()} | named

    @cached_property
    def _named_by_own(self) -> dict[str, EventRule]:
        own = {name: rule for name, rule in self.rules.items() if name in self.own}
        return {cased(name, "snake_case"): rule for name, rule in own.items()} | own

    def named(self, there: Iterable[str]) -> tuple[str, ...]:
        """The columns it reads, of those that are `there`: the rules of a sync name no other."""
        known = {name.lower() for name in there}
        has_calls = self.call in CALLS or (self.call != TRACK and self.call.lower() in known)
        rules = [rule for name, rule in self.rules.items() if has_calls or name not in CALLS.values()]
        read_of = {self.column, PROPERTIES, *(name for rule in rules for name in rule.columns())}
        read_of |= {self.call, "name", "category"} if has_calls else set()
        return tuple(sorted(name for name in read_of if name.lower() in known))

    def made(self, row: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """What an event is called there, None where its row has no name for it; and its fields, of its row
        and of the `fields` that the sync sends of each. A model without a column of properties has them in
        those."""
        name = row.get(self.column)
        name = name if isinstance(name, str) and name.strip() else None
        seen = {column: self.hide(column, read(value)) for column, value in row.items()}
        if (rule := self._rule_of(name, row)) is None and name is None:
            return None, dict(fields)
        if not isinstance(seen.get(PROPERTIES), Mapping):
            seen[PROPERTIES] = fields
        others = {cased(each, self.casing.fields): value for each, value in seen[PROPERTIES].items()}
        if rule is None:
            return self._cased(name), {**(others if self.spread else {}), **fields}
        seen = {"name": seen.get(self.column), **seen}
        if seen["name"] is not None:
            seen["full_name"] = " ".join(str(each) for each in (seen.get("category"), seen["name"]) if each)
        sent = rule.name_of(seen) or self._cased(name)
        own = {} if seen[PROPERTIES] is fields else fields
        return sent, {**rule.made(seen, others), **own}

    def _cased(self, name: str | None) -> str | None:
        return None if name is None else cased(name, self.casing.events)

    def _rule_of(self, name: str | None, row: Mapping[str, Any]) -> EventRule | None:
        """The rule of an event. A page or a screen has one without a name too, and one by its name where the
        sync itself has that."""
        call = self.call if self.call in (*CALLS, TRACK) else str(row.get(self.call)).strip().lower()
        rules = self._named_by_own if call in CALLS else self._named
        found = None if name is None else rules.get(name) or rules.get(cased(name, "snake_case"))
        return found or self.rules.get(CALLS.get(call, ""))


def event_mapping_of(sync: SyncConfig, kind: str, hide: Hide | None = None) -> EventMapping | None:
    """What a sync to a type of destination makes of its events; None where they have one name."""
    if sync.event_column is None:
        return None
    rules = {**(standard_events(kind) if sync.standard_events else {}), **sync.events}
    call = sync.message_type or MESSAGE_TYPE
    made = EventMapping(
        sync.event_column, rules, sync.fields is None, sync.casing, call=call, own=sync.events
    )
    return made if hide is None else replace(made, hide=hide)
