"""Base class of destinations that take one person per request: searched first, then created or updated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import httpx

from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Flow,
    Record,
    Records,
    Result,
)
from revetl.destinations.base.field_check import check_fields
from revetl.destinations.base.records import SyncContext, nobody

Person = Mapping[str, Any]
"""A person's data in the destination, by its field names, with their `id`."""


class Field(NamedTuple):
    """A custom field: its name in the destination, and its value type (metadata.py)."""

    name: str
    kind: str | None


class PersonByPerson(HasAudiences):
    """A destination that searches for people and lists each person's audiences in one of their fields,
    `audience_field`. If a search finds several people, the first is updated, and all are removed from an
    audience."""

    batch: ClassVar[Batch] = Batch(records=1)
    can_set_if_empty: ClassVar[bool] = True

    joins_alone: ClassVar[bool] = False
    """Whether joining and leaving an audience doesn't need the person's other audiences."""

    audience_field: str

    def search(self, record: Record) -> Asking[list[Person]]:
        """Search for people by a record's identifiers; returns the data that the search provides."""
        raise NotImplementedError  # implemented by every connector

    def whole(self, person: Person) -> Asking[Person]:
        """Return all data of a person found by the search."""
        return person
        yield

    def created(self, record: Record, fields: Mapping[str, Any]) -> httpx.Request:
        """Return the request that creates a person."""
        raise NotImplementedError  # implemented by every connector

    def changed(self, person: Person, fields: Mapping[str, Any]) -> httpx.Request:
        """Return the request that updates a person; fields not in `fields` stay unchanged."""
        raise NotImplementedError  # implemented by every connector

    def happened(self, person: Person, records: Records, record: Record) -> httpx.Request:
        """Return the request that sends an event of a person."""
        raise NotImplementedError  # implemented by every connector

    def fields_there(self) -> Asking[dict[str, Field]]:
        """Return the custom fields, by every name that a sync may use."""
        raise NotImplementedError  # implemented by every connector

    def listed(self, records: Records) -> Any:
        """Return the audience's value in `audience_field`."""
        return records.audience_id

    def joining(self, person: Person, records: Records) -> dict[str, Any]:
        """Return the fields to update so that a person joins the audience."""
        lists = person.get(self.audience_field) or []
        name = self.listed(records)
        return {} if name in lists else {self.audience_field: [*lists, name]}

    def leaving(self, person: Person, records: Records) -> dict[str, Any]:
        """Return the fields to update so that a person leaves the audience."""
        lists = person.get(self.audience_field) or []
        name = str(self.listed(records)).lower()
        others = [each for each in lists if str(each).lower() != name]
        return {} if others == lists else {self.audience_field: others}

    def upsert(self, records: Records) -> Flow:
        return self.save(records)

    def add(self, records: Records) -> Flow:
        return self.save(records, joins=True)

    def insert(self, records: Records) -> Flow:
        return self.save(records, changes=False)

    def change(self, records: Records) -> Flow:
        return self.save(records, creates=False)

    def save(
        self, records: Records, *, creates: bool = True, changes: bool = True, joins: bool = False
    ) -> Flow:
        """Search for a record's person, then create or update them."""
        (record,) = records.records
        found = yield from self.search(record)
        if not found:
            if not creates:
                return Result(rejected={0: nobody()})
            fields = records.fields_over(record, {})
            if joins:
                fields[self.audience_field] = [self.listed(records)]
            yield self.created(record, fields)
        elif changes:
            person = found[0]
            if records.set_if_empty or (joins and not self.joins_alone):
                person = yield from self.whole(person)
            fields = records.fields_over(record, person)
            if fields := {**fields, **(self.joining(person, records) if joins else {})}:
                yield self.changed(person, fields)
        return Result()

    def remove(self, records: Records) -> Flow:
        (record,) = records.records
        found = yield from self.search(record)
        for each in found:
            person = each
            if not self.joins_alone:
                person = yield from self.whole(each)
            if fields := self.leaving(person, records):
                yield self.changed(person, fields)
        return Result()

    def deleted(self, person: Person) -> httpx.Request:
        """Return the request that deletes a person."""
        raise NotImplementedError  # implemented by connectors with mode `delete`

    def delete_found(self, records: Records) -> Flow:
        """Delete everybody with a record's identifiers; unknown people count as deleted."""
        (record,) = records.records
        found = yield from self.search(record)
        for each in found:
            yield self.deleted(each)
        return Result()

    def track(self, records: Records) -> Flow:
        (record,) = records.records
        found = yield from self.search(record)
        if not found:
            return Result(rejected={0: nobody()})
        yield self.happened(found[0], records, record)
        return Result()

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        context = yield from super().prepare(mode, context, fields)
        known = {each.name for each in self.known_fields}
        own = {name: given for name, given in fields.items() if name not in known}
        if own and mode not in ("events", "audience_events"):
            there = yield from self.fields_there()
            kinds = check_fields(self.type, own, {name: field.kind for name, field in there.items()})
            context = replace(context, fields={name: there[name].name for name in own}, kinds=kinds)
        return context
