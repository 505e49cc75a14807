"""What destinations share that take one person a request: who it is is looked for, then made or changed."""

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
from revetl.destinations.base.records import nobody

Person = Mapping[str, Any]
"""What is held of somebody, by the destination's names, with their `id`."""


class Field(NamedTuple):
    """A field of one's own: what the destination calls it, and which kind of value it takes (metadata.py)."""

    name: str
    kind: str | None


class PersonByPerson(HasAudiences):
    """A destination whose people are looked for, and which lists somebody's audiences in a field of theirs,
    `audience_field`. Who is found twice is changed once, and taken out of an audience wherever they are."""

    batch: ClassVar[Batch] = Batch(records=1)
    can_set_if_empty: ClassVar[bool] = True

    joins_alone: ClassVar[bool] = False
    """Whether somebody joins and leaves an audience without their others being named."""

    audience_field: str

    def search(self, record: Record) -> Asking[list[Person]]:
        """Who is there by a record's identifiers; as much of them as the search gives."""
        raise NotImplementedError  # every connector has it

    def whole(self, person: Person) -> Asking[Person]:
        """All that is held of somebody who was found."""
        return person
        yield

    def created(self, record: Record, fields: Mapping[str, Any]) -> httpx.Request:
        """The request that makes a person."""
        raise NotImplementedError  # every connector has it

    def changed(self, person: Person, fields: Mapping[str, Any]) -> httpx.Request:
        """The request that changes a person, and what is not among `fields` stays."""
        raise NotImplementedError  # every connector has it

    def happened(self, person: Person, records: Records, record: Record) -> httpx.Request:
        """The request that tells an event of a person."""
        raise NotImplementedError  # every connector has it

    def fields_there(self) -> Asking[dict[str, Field]]:
        """The fields of one's own, by every name that a sync may call them."""
        raise NotImplementedError  # every connector has it

    def listed(self, records: Records) -> Any:
        """What stands for the audience in `audience_field`."""
        return records.audience_id

    def joining(self, person: Person, records: Records) -> dict[str, Any]:
        """The fields to change for somebody to be in the audience."""
        lists = person.get(self.audience_field) or []
        name = self.listed(records)
        return {} if name in lists else {self.audience_field: [*lists, name]}

    def leaving(self, person: Person, records: Records) -> dict[str, Any]:
        """The fields to change for somebody to be in the audience no more."""
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
        """Look for a record's person; make them, or change them."""
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

    def track(self, records: Records) -> Flow:
        (record,) = records.records
        found = yield from self.search(record)
        if not found:
            return Result(rejected={0: nobody()})
        yield self.happened(found[0], records, record)
        return Result()

    def prepare(self, mode: str, whole: Records, fields: Mapping[str, str]) -> Asking[Records]:
        whole = yield from super().prepare(mode, whole, fields)
        known = {each.name for each in self.known_fields}
        own = {name: given for name, given in fields.items() if name not in known}
        if own and mode not in ("events", "audience_events"):
            there = yield from self.fields_there()
            kinds = check_fields(self.type, own, {name: field.kind for name, field in there.items()})
            whole = replace(whole, fields={name: there[name].name for name in own}, kinds=kinds)
        return whole
