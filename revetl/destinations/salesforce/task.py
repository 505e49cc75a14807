"""Maps event properties to a Salesforce task: its fields, and text in its description."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from revetl.config.events import read
from revetl.destinations.base.field_check import TEXT
from revetl.destinations.base.readable_text import readable, readable_value
from revetl.destinations.salesforce.soql import KINDS

DESCRIPTION = "Description"
LONGEST = 32_000
"""The maximum length of a description."""
SUBJECT = 255
"""The maximum length of a subject."""
_STANDARD = frozenset(
    {
        *("Subject", "Status", "Priority", "ActivityDate", DESCRIPTION, "Type", "TaskSubtype", "OwnerId"),
        *("CallDurationInSeconds", "CallType", "CallDisposition", "CallObject", "RecordTypeId"),
        *("IsReminderSet", "ReminderDateTime"),
    }
)
"""Fields that tasks have in every org, used in plans, which don't query the org."""


def writable(described: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the fields that can be set on creation, with their value types."""
    return {
        str(each["name"]): KINDS.get(str(each.get("type")), TEXT)
        for each in described["fields"]
        if each.get("createable")
    }


def task_fields(
    properties: Mapping[str, Any], there: Collection[str], taken: Collection[str] = ()
) -> dict[str, Any]:
    """Return the task fields for properties. A property named like a field in `there` sets it, unless it is
    in `taken`; all others are appended to the description as readable text. Null and blank values set
    nothing, so that Salesforce's default applies."""
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
    """Return a task's subject on a single line, truncated if too long."""
    text = " ".join(readable_value(value).split())
    return text if len(text) <= SUBJECT else f"{text[: SUBJECT - 1]}…"
