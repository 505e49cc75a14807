"""Mailchimp's list members, tags and events: docs/destinations/mailchimp.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from revetl.destinations.base.answers import EMPTY, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Batch,
    Flow,
    Records,
    Result,
    object_of,
)
from revetl.destinations.base.field_check import DATE, NUMBER, check_fields
from revetl.destinations.base.records import SyncContext
from revetl.destinations.base.shapes import as_text
from revetl.destinations.base.values import BIRTHDAY
from revetl.destinations.mailchimp.client import (
    OWN,
    MailchimpApi,
    member_of,
    same,
    why,
)

KINDS = {"number": NUMBER, "date": DATE, "birthday": BIRTHDAY}
"""Value types by type of merge field; other types accept any value."""
ARCHIVED = "the member is archived, and archived members are not restored. Unarchive it in Mailchimp"

UNDERSTOOD = (
    SuccessShape(
        "POST /segments/*",
        {
            "members_added": list,
            "members_removed": list,
            "errors?": [{"error": str, "email_addresses": list}],
        },
    ),
    SuccessShape("POST /segments", {"id": (int, str)}, again=False),
    SuccessShape("GET /segments", {"segments": [{"id": (int, str), "name": str}]}),
    SuccessShape("POST /actions/delete-permanent", EMPTY),
    SuccessShape("POST /members/*/events", EMPTY, again=False),
    SuccessShape("* /members/*", {"status": str}),
    SuccessShape("GET /merge-fields", {"merge_fields": [{"tag": str, "name": str}]}),
    SuccessShape(
        "POST /3.0/lists/*", {"new_members": [dict], "updated_members": [dict], "errors?": [{"error": str}]}
    ),
    SuccessShape("GET /3.0/lists/*", dict),
)


class Mailchimp(MailchimpApi):
    """List members by email; an audience is a tag with its name. Existing members are never resubscribed."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=500)
    known_fields: ClassVar[tuple[Attribute, ...]] = (
        Attribute("FNAME", "first_name"),
        Attribute("LNAME", "last_name"),
        Attribute("PHONE", "phone"),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("server",)
    container_fields: ClassVar[tuple[str, ...]] = ("list_id",)

    type: Literal["mailchimp"]
    status_if_new: Literal["subscribed", "pending", "transactional", "unsubscribed"] | None = None
    skip_merge_validation: bool = False

    def upsert(self, records: Records) -> Flow:
        return Result((yield from self.save(records)))

    def add(self, records: Records) -> Flow:
        """Save the members, then tag those accepted."""
        rejected = yield from self.save(records)
        places = {
            same(record.identifiers["email_address"]): at
            for at, record in enumerate(records)
            if at not in rejected
        }
        if places:
            errors = yield from self.tag(records, "members_to_add", places)
            rejected |= {places[name]: told for name, told in errors.items() if name in places}
        return Result(rejected)

    def remove(self, records: Records) -> Flow:
        # Unknown members, and members without the tag, count as removed.
        names = {same(record.identifiers["email_address"]): at for at, record in enumerate(records)}
        yield from self.tag(records, "members_to_remove", names)
        return Result()

    def change(self, records: Records) -> Flow:
        """Send one request per member: the batch call would create missing members."""
        rejected = {}
        for at, record in enumerate(records):
            answer = yield self.member("PATCH", record, member_of(record, records))
            if answer.status_code >= 400:
                rejected[at] = why(object_of(answer))
        return Result(rejected)

    def delete(self, records: Records) -> Flow:
        rejected = {}
        for at, record in enumerate(records):
            answer = yield self.member("POST", record, action="/actions/delete-permanent")
            if answer.status_code == 400:
                rejected[at] = why(object_of(answer))
        return Result(rejected)

    def track(self, records: Records) -> Flow:
        rejected = {}
        for at, record in enumerate(records):
            fields = {name: as_text(value) for name, value in record.fields.items() if value is not None}
            event: dict[str, Any] = {"name": "_".join(records.event_of(record).split()), "properties": fields}
            event["occurred_at"] = record.timestamp or records.at
            answer = yield self.member("POST", record, event, action="/events")
            if answer.status_code >= 400:
                rejected[at] = why(object_of(answer))
        return Result(rejected)

    def save(self, records: Records) -> Asking[dict[int, str]]:
        """Send members without a status; new ones are created with `status_if_new`. Returns the
        rejections."""
        members = [member_of(record, records) for record in records]
        query = "?skip_merge_validation=true" if self.skip_merge_validation else ""
        body = {"members": members, "update_existing": True}
        answer = yield self.post(f"{self.list_path}{query}", json=body)
        said = answer.json()
        places = {same(member["email_address"]): at for at, member in enumerate(members)}
        rejected = {
            places[name]: _told(error)
            for error in said.get("errors") or ()
            if (name := same(error.get("email_address"))) in places
        }
        for each in (*(said.get("new_members") or ()), *(said.get("updated_members") or ())):
            if each.get("status") == "archived" and same(each["email_address"]) in places:
                rejected[places[same(each["email_address"])]] = ARCHIVED
        if self.status_if_new is None:
            return rejected
        for at in [at for at, reason in rejected.items() if reason != ARCHIVED]:
            # Only this call sets a status for new members and keeps that of existing ones.
            whole = {**members[at], "status_if_new": self.status_if_new}
            answer = yield self.member("PUT", records.records[at], whole, action=query)
            told = object_of(answer)
            if answer.status_code >= 400:
                rejected[at] = why(told)
            elif told.get("status") == "archived":
                rejected[at] = ARCHIVED
            else:
                del rejected[at]
        return rejected

    def tag(self, records: Records, verb: str, names: Mapping[str, int]) -> Asking[dict[str, str]]:
        """Tag members, or remove the tag. Returns the rejections by address."""
        path = f"{self.list_path}/segments/{records.audience_id}"
        answer = yield self.post(path, json={verb: list(names)})
        return {
            same(name): str(error["error"])
            for error in answer.json().get("errors") or ()
            for name in error["email_addresses"]
            if "already" not in str(error["error"]).lower()
        }

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        context = yield from super().prepare(mode, context, fields)
        merge = {name: kind for name, kind in fields.items() if name not in OWN}
        if not merge or mode in ("events", "audience_events"):
            return context
        answer = yield self.request("GET", f"{self.list_path}/merge-fields?count=1000")
        told = answer.json()["merge_fields"]
        tags = {str(each[key]): str(each["tag"]) for key in ("name", "tag") for each in told}
        check_fields("Mailchimp", merge, dict.fromkeys(tags))
        types = {str(each[key]): KINDS.get(str(each.get("type"))) for key in ("name", "tag") for each in told}
        kinds = {name: types[name] for name in merge}
        return replace(context, fields={name: tags[name] for name in merge}, kinds=kinds)


def _told(error: Mapping[str, Any]) -> str:
    field = error.get("field")
    return f"{error.get('error')}" + (f" ({field}: {error.get('field_message')})" if field else "")
