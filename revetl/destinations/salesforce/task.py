"""What becomes of an event's properties in a Salesforce task: fields of it, and text in its description."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from revetl.config.events import read
from revetl.destinations.base.field_check import TEXT
from revetl.destinations.base.readable_text import readable, readable_value
from revetl.destinations.salesforce.soql import KINDS

DESCRIPTION = "Description"
LONGEST = 32_000
"""The most characters that a description has."""
SUBJECT = 255
"""The most characters that a subject has."""
_STANDARD = frozenset(
    {
        *("Subject", "Status", "Priority", "ActivityDate", DESCRIPTION, "Type", "TaskSubtype", "OwnerId"),
        *("CallDurationInSeconds", "CallType", "CallDisposition", "CallObject", "RecordTypeId"),
        *("IsReminderSet", "ReminderDateTime"),
    }
)
"""Fields that the tasks of every org have, for a plan, which does not ask the org."""


def writable(described: Mapping[str, Any]) -> dict[str, str | None]:
    """The fields of a described object that can be set when it is created, with the kinds of their values."""
    return {
        str(each["name"]): KINDS.get(str(each.get("type")), TEXT)
        for each in described["fields"]
        if each.get("createable")
    }


def task_fields(
    properties: Mapping[str, Any], there: Collection[str], taken: Collection[str] = ()
) -> dict[str, Any]:
    """The fields of a task that properties come to. One that is named as a field that is `there` fills it,
    unless that is `taken`; all others are readable text in the description, below what fills that. What is
    null or blank fills nothing, so that the field has Salesforce's default."""
    own: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in properties.items():
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        is_field = name in there if there else name in _STANDARD or name.endswith("__c")
        (own if is_field and name not in taken else others)[name] = value
    given = read(own.pop(DESCRIPTION, None))
    parts = [readable_value(given), readable(others)]
    text = "\n".join(each for each in parts if each)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 1]}…"
    if "Subject" in own:
        own["Subject"] = subject(own["Subject"])
    return {**own, DESCRIPTION: text} if text else own


def subject(value: Any) -> str:
    """A task's subject in one line, cut where it is too long."""
    text = " ".join(readable_value(value).split())
    return text if len(text) <= SUBJECT else f"{text[: SUBJECT - 1]}…"
