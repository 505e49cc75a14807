"""The mock Salesforce org: its objects, fields, ids, and queries over its records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from revetl.sandbox.store import HeldByDestination

Row = dict[str, Any]

PREFIXES = {"Account": "001", "Contact": "003", "Lead": "00Q"}
_OWN = {"External_Id__c": "string", "Score__c": "double", "Vip__c": "boolean", "Since__c": "date"}
_PERSON = {"FirstName": "string", "LastName": "string", "Email": "email", "Phone": "phone", "Title": "string"}
_FIELDS: dict[str, dict[str, str]] = {
    "Account": {"Name": "string", "Industry": "picklist", "Phone": "phone", **_OWN},
    "Contact": {**_PERSON, "AccountId": "reference", **_OWN},
    "Lead": {**_PERSON, "Company": "string", **_OWN},
    "Campaign": {"Name": "string", "IsActive": "boolean"},
    "CampaignMember": dict.fromkeys(("CampaignId", "ContactId", "LeadId", "AccountId", "Status"), "string"),
    "Task": {
        **dict.fromkeys(("Subject", "Status", "Priority", "Description", "External_Id__c"), "string"),
        **dict.fromkeys(("WhoId", "WhatId"), "reference"),
        "ActivityDate": "date",
        "Score__c": "double",
    },
}
REQUIRED = {"Account": ("Name",), "Contact": ("LastName",), "Lead": ("LastName", "Company")}


def fields_of(kind: str) -> dict[str, str]:
    """Return the fields of an object with their types; empty for an unknown object."""
    return _FIELDS.get(kind, {})


def described(kind: str) -> Row:
    """Return the response of `/sobjects/KIND/describe`."""
    fields = [{"name": "Id", "type": "id", "createable": False, "updateable": False, "idLookup": True}]
    fields += [
        {
            "name": name,
            "type": type_,
            "createable": True,
            "updateable": True,
            "externalId": name == "External_Id__c",
            "idLookup": name in ("External_Id__c", "Email"),
            "relationshipName": name.removesuffix("Id") if type_ == "reference" else None,
        }
        for name, type_ in fields_of(kind).items()
    ]
    return {"name": kind, "fields": fields}


def campaign_id(made: str) -> str:
    """Return the id of a campaign, given its list's id."""
    return f"701{made:0>15}"


def list_of(campaign: str) -> str:
    """Return the list's id, given a campaign's."""
    return campaign[3:].lstrip("0")


def member_id(made: str, person: str) -> str:
    """Return the id of a membership, given the list's id and the person's."""
    return f"00v{made:0>5}{person[-10:]}"


def kind_of(record: Row) -> str:
    """Return the object type of a stored record."""
    return next((kind for kind, prefix in PREFIXES.items() if record["Id"].startswith(prefix)), "")


def rows_of(kind: str, held: HeldByDestination) -> Iterator[Row]:
    """Return the rows of an object."""
    if kind in PREFIXES:
        yield from (row for row in held.profiles.values() if kind_of(row) == kind)
    elif kind == "Campaign":
        yield from ({"Id": campaign_id(made), "Name": name} for made, name in held.lists.items())
    elif kind == "CampaignMember":
        for made, name in held.lists.items():
            for person in held.audiences[name]:
                row = held.profiles[person]
                of = kind_of(row)
                about = {"Id": member_id(made, row["Id"]), "CampaignId": campaign_id(made)}
                yield {**about, f"{of}Id": row["Id"], of: row}
    elif kind == "Task":
        yield from (event["properties"] for event in held.events)


def query(text: str, held: HeldByDestination) -> Row:
    """Execute a query: `SELECT … FROM … WHERE … [= | IN] … AND …`. Raises ValueError for any other."""
    try:
        # MySQL is the SQL dialect whose string literals match SOQL's, with backslash escapes.
        parsed = parse_one(text, read="mysql")
    except SqlglotError as error:
        raise ValueError(str(error)) from None
    table, where = parsed.find(exp.Table), parsed.find(exp.Where)
    if not isinstance(parsed, exp.Select) or table is None:
        raise ValueError("unexpected token")
    conditions = (
        []
        if where is None
        else list(where.this.flatten() if isinstance(where.this, exp.And) else [where.this])
    )
    found = [
        row for row in rows_of(table.name, held) if all(_holds(condition, row) for condition in conditions)
    ]
    records = []
    for row in found:
        record: Row = {"attributes": {"type": table.name}}
        for selected in parsed.selects:
            *parents, name = _path(selected)
            value = _value(selected, row)
            if parents:
                record.setdefault(parents[0], {})[name] = value
            else:
                record[name] = value
        records.append(record)
    return {"totalSize": len(records), "done": True, "records": records}


def _holds(condition: exp.Expr, row: Row) -> bool:
    value = str(_value(condition.this, row)).casefold()
    if isinstance(condition, exp.In):
        return value in [str(each.name).casefold() for each in condition.expressions]
    if isinstance(condition, exp.EQ):
        return value == str(condition.expression.name).casefold()
    raise ValueError(f"unexpected token: {condition.sql()}")


def _value(selected: exp.Expr, row: Row) -> Any:
    found: Any = row
    for name in _path(selected):
        found = (found or {}).get(name)
    return found


def _path(selected: exp.Expr) -> list[str]:
    """Split `Contact.Email` into its names."""
    column = selected.find(exp.Column)
    if column is None:
        raise ValueError(f"unexpected token: {selected.sql()}")
    return [part.name for part in column.parts]
