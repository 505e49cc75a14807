"""Map events of syncs with `event_column`: the columns to read, and the name and fields to send per event.

By default, an event's properties are its fields, and the page, screen and e-commerce events of Segment's spec
are mapped to the destination's equivalents (`standard_events.yml`). `events:` of a sync overrides that.
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
"""The column with the properties of a track call."""

ROW = "$row."
"""The prefix of an event's columns among the fields of a spooled record."""

Hide = Callable[[str, Any], Any]


PAGE, SCREEN = "$page", "$screen"
"""The names of page and screen calls in rules, independent of the page's name."""

CALLS = {"page": PAGE, "screen": SCREEN}
TRACK = "track"
MESSAGE_TYPE = "message_type"
"""The column with the call of each row, if a model has it."""

OF_ALL = "*"
"""The key of `standard_events.yml` for all types of destination."""


@cache
def standard_events(kind: str) -> Mapping[str, EventRule]:
    """Return a destination type's rules for the page, screen and e-commerce events of Segment's spec, by
    name. A type that accepts these events unchanged only has rules for unnamed pages and screens."""
    known: dict[str, dict[str, Any]] = read_package_yaml(Path(__file__).with_name("standard_events.yml"))
    rules = {**known[OF_ALL], **(known.get(kind) or {})}
    return {
        name: check(EventRule, {"any_spelling": True, **rule}, f"standard_events.yml: {kind}.{name}")
        for name, rule in rules.items()
    }


@dataclass(frozen=True)
class EventMapping:
    """The event mapping of a sync.

    `column` has the names of events, as sent or in snake_case. `call` is the call of all events, or the
    column that contains it. `spread`: an event's properties are its fields. `hide` applies PII rules to a
    column's value. `own` lists the rules that the sync itself defines.
    """

    column: str
    rules: Mapping[str, EventRule] = field(default_factory=dict)
    spread: bool = True
    casing: Casing = field(default_factory=Casing)
    hide: Hide = lambda _, value: value
    call: str = MESSAGE_TYPE
    own: Collection[str] = ()

    @cached_property
    def _named(self) -> dict[str, EventRule]:
        """Event rules by name, and by the name in warehouses: `order_completed`."""
        named = {name: rule for name, rule in self.rules.items() if name not in CALLS.values()}
        return {cased(name, "snake_case"): rule for name, rule in named.items()} | named

    @cached_property
    def _named_by_own(self) -> dict[str, EventRule]:
        own = {name: rule for name, rule in self.rules.items() if name in self.own}
        return {cased(name, "snake_case"): rule for name, rule in own.items()} | own

    def named(self, there: Iterable[str]) -> tuple[str, ...]:
        """Return the columns of `there` that the mapping reads. Rules can't read other columns."""
        known = {name.lower() for name in there}
        has_calls = self.call in CALLS or (self.call != TRACK and self.call.lower() in known)
        rules = [rule for name, rule in self.rules.items() if has_calls or name not in CALLS.values()]
        read_of = {self.column, PROPERTIES, *(name for rule in rules for name in rule.columns())}
        read_of |= {self.call, "name", "category"} if has_calls else set()
        return tuple(sorted(name for name in read_of if name.lower() in known))

    def made(self, row: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Return the name of an event at the destination (None if its row has no name) and its fields, from
        its row and the sync's `fields`. A model without a column of properties has them in `fields`."""
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
        """Return the rule of an event. Pages and screens use the rule for their call, unless the sync itself
        has a rule for their name."""
        call = self.call if self.call in (*CALLS, TRACK) else str(row.get(self.call)).strip().lower()
        rules = self._named_by_own if call in CALLS else self._named
        found = None if name is None else rules.get(name) or rules.get(cased(name, "snake_case"))
        return found or self.rules.get(CALLS.get(call, ""))


def event_mapping_of(sync: SyncConfig, kind: str, hide: Hide | None = None) -> EventMapping | None:
    """Return the event mapping of a sync to a type of destination; None without `event_column`."""
    if sync.event_column is None:
        return None
    rules = {**(standard_events(kind) if sync.standard_events else {}), **sync.events}
    call = sync.message_type or MESSAGE_TYPE
    made = EventMapping(
        sync.event_column, rules, sync.fields is None, sync.casing, call=call, own=sync.events
    )
    return made if hide is None else replace(made, hide=hide)
