"""revetl's webhook contract for bodies and responses: docs/destinations/webhook.md."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from revetl.destinations.base.answers import is_page
from revetl.destinations.base.destination import (
    AnswerNotUnderstood,
    AudienceMember,
    Page,
    Refused,
)
from revetl.destinations.base.records import Record, Records, Rejection


def whole_body(records: Records, operation: str, *, create: bool) -> dict[str, Any]:
    """Return the body of a batch; without `create`, only existing people are updated."""
    body: dict[str, Any] = {
        "sync": records.sync,
        "audience": records.audience,
        "run_id": records.run_id,
        "batch_id": records.batch_id,
        "operation": operation,
        "records": [record_body(records, record, operation) for record in records.records],
    }
    if not create:
        body["create"] = False
    if operation == "track" and records.event is not None:
        body["event"] = records.event
    if records.set_if_empty:
        body["set_if_empty"] = records.set_if_empty
    return body


def record_body(records: Records, record: Record, operation: str) -> dict[str, Any]:
    """Return a record of a batch."""
    body = {"id": record.identifiers["id"], "fields": record.fields}
    if operation == "track":
        if record.event is not None:
            body["event"] = record.event
        body |= {"message_id": records.event_id(record), "timestamp": record.timestamp}
    return body


def values_of(records: Records, operation: str, *, create: bool) -> dict[str, Any]:
    """Return the values of a batch that templates may use."""
    return {
        "sync": records.sync,
        "audience": records.audience,
        "run_id": records.run_id,
        "batch_id": records.batch_id,
        "operation": operation,
        "event": records.event,
        "create": create,
        "set_if_empty": list(records.set_if_empty),
    }


def values_of_one(records: Records, record: Record) -> dict[str, Any]:
    """Return the additional values of a record that templates may use."""
    return {
        "id": record.identifiers["id"],
        "identifiers": dict(record.identifiers),
        "fields": dict(record.fields),
        "event": records.event_of(record) or None,
        "timestamp": record.timestamp,
        "message_id": records.event_id(record),
    }


def page_of(response: httpx.Response) -> Page:
    """Return the members in a response of `read_url`. Raises Refused if it doesn't follow the contract."""
    answer: Any = orjson.loads(response.content)
    try:
        members = tuple(_member(row) for row in answer["members"])
        cursor = answer.get("next")
    except (KeyError, TypeError, AttributeError, ValueError):
        raise Refused(
            'read_url must respond with {"members": [{"id": …, "fields": {…}}], "next": …}. '
            "Fix its response, or remove read_url."
        ) from None
    return Page(members, None if cursor is None else str(cursor))


def _member(row: Any) -> AudienceMember:
    person, fields = row["id"], row.get("fields")
    if person is None or not isinstance(fields, dict | None):
        raise ValueError("an id is null, or fields is not an object")
    return AudienceMember({"id": person}, fields)


def unreadable(response: httpx.Response, is_reading: bool) -> str | None:
    """Explain why a success response can't be read: an HTML page, truncated JSON, or a `rejected` that isn't
    a list of objects with an `id`. None if it can."""
    content = response.content.strip()
    if is_page(response):
        return "an HTML page"
    if is_reading or not content:
        return None
    try:
        answer: Any = orjson.loads(content)
    except ValueError:
        is_json = "json" in response.headers.get("content-type", "") or content.startswith(b"{")
        return "truncated JSON" if is_json else None
    rejected = answer.get("rejected") if isinstance(answer, dict) else None
    if rejected is None or (isinstance(rejected, list) and all(map(_names_somebody, rejected))):
        return None
    return 'JSON whose "rejected" is not a list of {"id": …, "reason": …}'


def _names_somebody(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("id"), str | int | float)
        and not isinstance(row["id"], bool)
        and isinstance(row.get("reason"), str | int | float | None)
        and isinstance(row.get("field"), str | None)
    )


def rejected_by(response: httpx.Response, records: Records) -> dict[int, Rejection]:
    """Return the optional `rejected` in the body, by index. A body that isn't JSON is ignored. Raises
    NotUnderstood if it names an id outside the batch, since the record that was rejected is then unknown."""
    try:
        answer: Any = orjson.loads(response.content)
    except ValueError:
        return {}
    rows = (answer.get("rejected") or ()) if isinstance(answer, dict) else ()
    if not rows:
        return {}
    refused = {
        str(row["id"]): Rejection(str(row.get("reason") or "no reason given"), row.get("field"))
        for row in rows
    }
    places = {str(record.identifiers["id"]): index for index, record in enumerate(records)}
    if strangers := [person for person in refused if person not in places]:
        raise AnswerNotUnderstood(f'its "rejected" contains {strangers[0]}, which is not in the batch')
    return {
        index: refused[person]
        for index, record in enumerate(records)
        if (person := str(record.identifiers["id"])) in refused
    }
