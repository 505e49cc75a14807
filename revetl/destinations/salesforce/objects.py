"""Records of one Salesforce object: looked up by an external id, written in collections or by a job."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Annotated, Any

import httpx
from pydantic import AliasChoices, Field

from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Batch,
    Identifier,
    Record,
    Records,
    Rejection,
)
from revetl.destinations.base.readable_text import readable_value
from revetl.destinations.base.spec import looked_up_by
from revetl.destinations.salesforce.bulk import (
    Row,
    RowResult,
    nested,
    outcome_of,
    run_job,
)
from revetl.destinations.salesforce.client import SalesforceOrg
from revetl.destinations.salesforce.soql import at, rows_by, same

Name = Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]*$")]


def _address(kind: str) -> tuple[Attribute, ...]:
    columns = ("street", "city", "state", "postal_code", "country")
    return tuple(Attribute(kind + each.title().replace("_", ""), each) for each in columns)


_PERSON = (
    Attribute("FirstName", "first_name"),
    Attribute("LastName", "last_name", required=True),
    Attribute("Email", "email"),
    Attribute("Phone", "phone"),
)
STANDARD = {
    "Contact": (*_PERSON, *_address("Mailing")),
    "Lead": (
        *_PERSON,
        Attribute("Company", "company", required=True),
        *_address(""),
    ),
    "Account": (Attribute("Name", "company", required=True), Attribute("Phone", "phone")),
}
"""Standard fields of standard objects; custom fields are only known from the org's describe call."""


UNASSIGNED = ("Task", "CampaignMember")
"""Auxiliary records, which assignment rules don't apply to."""


class SalesforceObject(SalesforceOrg):
    """An object whose records have an external id. Up to `bulk_threshold` rows are written in collections,
    more in a job."""

    object: Name = "Contact"
    external_id_field: Annotated[
        Name, Field(validation_alias=AliasChoices("external_id_field", "external_id"))
    ]
    bulk_threshold: Annotated[int, Field(ge=1)] | None = 2_000
    bulk_batch_size: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    auto_assign: bool | str | None = None

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return looked_up_by(self.external_id_field, self.identifiers)

    @property
    def declared(self) -> tuple[Attribute, ...]:
        return STANDARD.get(self.object, ())

    @property
    def limits(self) -> Batch:
        by_job = self.bulk_threshold is not None
        return replace(self.batch, records=self.bulk_batch_size) if by_job else self.batch

    def names(self, records: Records) -> list[Any]:
        """Return the external id of each record."""
        return [record.identifiers[self.external_id_field] for record in records]

    def row(self, record: Record) -> Row:
        """Return a record with its external id."""
        return {**record.identifiers, **record.fields}

    def people(self, records: Records, fields: Collection[str] = ()) -> Asking[dict[str, list[Row]]]:
        """Read existing records, with their ids and some fields, indexed by external id (`same`)."""
        by, names = self.external_id_field, self.names(records)
        return (yield from rows_by(self.call, fields, self.object, by, names))

    def found(
        self, records: Records, fields: Collection[str] = ()
    ) -> Asking[tuple[dict[int, Row], list[tuple[int, RowResult]]]]:
        """Return by position the existing record, and errors for those with none or several."""
        there = yield from self.people(records, fields)
        found, missing = {}, []
        for place, name in enumerate(self.names(records)):
            rows = there.get(same(name), [])
            if len(rows) == 1:
                found[place] = rows[0]
            else:
                count = "multiple" if rows else "no"
                why = f"{count} {self.object} records have this {self.external_id_field}"
                missing.append((place, RowResult(None, "NOT_FOUND", Rejection(why))))
        return found, missing

    def put(self, records: Records) -> Asking[list[RowResult]]:
        """Create or update a batch, without overwriting values of `set_if_empty` fields."""
        rows, kept = [self.row(record) for record in records], records.set_if_empty
        if kept:
            there = yield from self.people(records, kept)
            names = self.names(records)
            held = [next(iter(there.get(same(name), [])), {}) for name in names]
            rows = [unless_set(row, kept, found) for row, found in zip(rows, held, strict=True)]
        return (yield from self.write("upsert", self.object, rows, self.external_id_field))

    def write(
        self, operation: str, kind: str, rows: list[Row], key: str | None, *, fine: str | None = None
    ) -> Asking[list[RowResult]]:
        """Insert, upsert, update or delete rows of an object, and return the outcome of each. `key` is the
        field that identifies a row; an error containing `fine` counts as success. Objects and lists are
        converted to text, since fields don't accept them."""
        rows = [
            {
                name: readable_value(value) if isinstance(value, dict | list) else value
                for name, value in row.items()
            }
            for row in rows
        ]
        outcomes: list[RowResult] = []
        is_large = self.bulk_threshold is not None and len(rows) > self.bulk_threshold
        # Only Bulk API 2.0 deletes past the recycle bin.
        if rows and key is not None and (is_large or operation == "hardDelete"):
            about = {"object": kind, "operation": operation, "contentType": "CSV", "lineEnding": "LF"}
            if operation == "upsert":
                about["externalIdFieldName"] = key
            if isinstance(self.auto_assign, str) and kind not in UNASSIGNED:
                about["assignmentRuleId"] = self.auto_assign
            outcomes = yield from run_job(self.call, about, key, rows)
        else:
            for first in range(0, len(rows), self.batch.records):
                part = rows[first : first + self.batch.records]
                answer = yield self.collection(operation, kind, part, key)
                outcomes += [outcome_of(each) for each in answer.json()]
        return [
            RowResult(each.id) if fine and each.why and fine in each.why.reason else each for each in outcomes
        ]

    def collection(self, operation: str, kind: str, rows: list[Row], key: str | None) -> httpx.Request:
        """Build a request with up to 200 rows, which succeed or fail independently."""
        path = "composite/sobjects"
        if operation == "delete":
            asked = {"ids": ",".join(row["Id"] for row in rows), "allOrNone": "false"}
            return self.call("DELETE", path, asked=asked)
        rule = str(self.auto_assign).upper() if isinstance(self.auto_assign, bool) else self.auto_assign
        assigned = {} if rule is None or kind in UNASSIGNED else {"Sforce-Auto-Assign": rule}
        body = {
            "allOrNone": False,
            "records": [{"attributes": {"type": kind}, **nested(row)} for row in rows],
        }
        if operation == "upsert":
            return self.call("PATCH", f"{path}/{kind}/{key}", json=body, headers=assigned)
        return self.call("POST" if operation == "insert" else "PATCH", path, json=body, headers=assigned)


def unless_set(row: Mapping[str, Any], kept: Collection[str], held: Row) -> Row:
    """Return a row without those fields of `kept` that have a value in `held`."""
    return {name: value for name, value in row.items() if name not in kept or at(held, name) in (None, "")}
