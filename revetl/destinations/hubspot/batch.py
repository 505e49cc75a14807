"""HubSpot's batches of records: property values, and partially successful responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from revetl.destinations.base.destination import (
    AnswerNotUnderstood,
    Refused,
    Rejection,
    Result,
    object_of,
)
from revetl.destinations.base.records import for_now, nobody

AGAIN = frozenset(
    {"RATE_LIMITS", "RATE_LIMIT", "INTERNAL_ERROR", "SERVICE_UNAVAILABLE", "MIGRATION_IN_PROGRESS", "TIMEOUT"}
)
"""Categories of temporary errors."""
OF_ACCOUNT = frozenset({"MISSING_SCOPES", "INVALID_AUTHENTICATION", "EXPIRED_AUTHENTICATION", "BANNED"})
"""Categories of account errors, regardless of the records they name."""
ADDITIONAL = "hs_additional_emails"


@dataclass
class BatchAnswer:
    """The outcome of a batch, by position: ids of records, and why others were rejected."""

    ids: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, str | Rejection] = field(default_factory=dict)
    retry: dict[int, str | Rejection] = field(default_factory=dict)

    @property
    def result(self) -> Result:
        """Convert to a Result."""
        return Result(self.rejected, self.retry)


def value_of(value: Any) -> Any:
    """Convert to a property value: an empty text clears a property; multiple options are separated by
    semicolons."""
    if isinstance(value, list):
        return ";".join(str(each) for each in value)
    return "" if value is None else value


def same(value: Any) -> str:
    """Normalize a value the way HubSpot does when it looks up records."""
    return str(value).strip().casefold()


def records_by(results: Iterable[Mapping[str, Any]], id_property: str) -> dict[str, Mapping[str, Any]]:
    """Index records by their lookup value; contacts also by their other email addresses."""
    found: dict[str, Mapping[str, Any]] = {}
    for each in results:
        properties = each.get("properties") or {}
        others = str(properties.get(ADDITIONAL) or "") if id_property == "email" else ""
        for name in (properties.get(id_property), *others.split(";")):
            if name:
                found.setdefault(same(name), each)
    return found


def answered(response: httpx.Response, names: Mapping[int, str], id_property: str) -> BatchAnswer:
    """Parse the response for a batch, given names by position. A record is identified by the trace id sent
    with it, which is its position, or by its name. Records of a conflict (409) are retried."""
    if response.status_code == 409:
        return BatchAnswer(retry=dict.fromkeys(names, for_now(str(object_of(response).get("message")))))
    answer = response.json()
    results, errors = answer.get("results") or [], answer.get("errors") or []
    if not results and not errors:
        raise AnswerNotUnderstood("the response has neither results nor errors")
    by_trace = {each.get("objectWriteTraceId"): each for each in results}
    by_name = records_by(results, id_property)
    made = BatchAnswer()
    for place, name in names.items():
        record = by_trace.get(str(place)) or by_name.get(same(name))
        if record is not None:
            made.ids[place] = str(record["id"])
    places = {same(name): place for place, name in names.items()}
    for error in errors:
        context = error.get("context") or {}
        told = [int(trace) for trace in context.get("objectWriteTraceId") or []]
        told += [places[same(each)] for each in context.get("ids") or [] if same(each) in places]
        category, why = error.get("category"), f"{error.get('category')}: {error.get('message')}"
        if category in OF_ACCOUNT:
            raise Refused(f"HubSpot returned an error: {why}", partly=bool(results))
        refused = made.retry if category in AGAIN else made.rejected
        refusal = for_now(why) if category in AGAIN else Rejection(why)
        if category == "OBJECT_NOT_FOUND":
            refusal = nobody(why)
        # An error that names no record applies to all records without a result.
        refused |= dict.fromkeys(told or [place for place in names if place not in made.ids], refusal)
    return made
