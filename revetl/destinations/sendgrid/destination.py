"""SendGrid's marketing contacts, lists and emails: docs/destinations/sendgrid.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any, ClassVar, Literal

from revetl.destinations.base.answers import EMPTY, FILE, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Attribute,
    Batch,
    Flow,
    Records,
    Refused,
    Result,
)
from revetl.destinations.base.field_check import DATE, NUMBER, check_fields
from revetl.destinations.base.records import (
    Rejection,
    SyncContext,
    for_now,
    nobody,
    refusal,
)
from revetl.destinations.sendgrid.client import AT_ONCE, CONTACTS
from revetl.destinations.sendgrid.contacts import (
    Contact,
    contact_of,
    named_in,
    pieces,
)
from revetl.destinations.sendgrid.mail import SEND, SendsMail

KINDS = {"Date": DATE, "Number": NUMBER}
"""Value types by type of custom field; text fields accept any value."""
UNDERSTOOD = (
    SuccessShape("PUT /v3/marketing/contacts", {"job_id": str}),
    SuccessShape("GET /v3/marketing/contacts/imports/*", {"status": str, "results?": dict}),
    SuccessShape("POST /v3/marketing/contacts/search/*", {"result": dict}),
    SuccessShape("DELETE /v3/marketing/lists/*", (EMPTY, dict)),
    SuccessShape("DELETE /v3/marketing/contacts", {"job_id": str}),
    SuccessShape("GET /v3/marketing/lists", {"result": [{"id": str, "name": str}]}),
    SuccessShape("POST /v3/marketing/lists", {"id": str}, again=False),
    SuccessShape(
        "GET /v3/marketing/field_definitions", {"reserved_fields": [{"name": str}], "custom_fields?": [dict]}
    ),
    # Emails have no id for deduplication. With sandbox_mode, the status is 200.
    SuccessShape(f"POST {SEND}", EMPTY, again=False),
    # A job's error file is in an object store.
    SuccessShape("GET *", FILE),
)

Rejected = dict[int, str | Rejection]
_SHOWN_LINES = 20


class SendGrid(SendsMail):
    """Contacts of SendGrid by email or another identifier. An audience is a list with its name, and an event
    is an email. Unsubscribes are stored separately, and never changed."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=30_000, bytes=6_000_000)
    cleared: ClassVar[Any] = ""
    can_set_if_empty: ClassVar[bool] = True
    known_fields: ClassVar[tuple[Attribute, ...]] = (
        Attribute("first_name", "first_name"),
        Attribute("last_name", "last_name"),
        Attribute("city", "city"),
        Attribute("state_province_region", "state"),
        Attribute("postal_code", "postal_code"),
        Attribute("country", "country"),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("on_behalf_of",)

    type: Literal["sendgrid"]

    def upsert(self, records: Records) -> Flow:
        return self.save(records)

    def add(self, records: Records) -> Flow:
        return self.save(records, listed={"list_ids": [records.audience_id]})

    def insert(self, records: Records) -> Flow:
        return self.save(records, changes=False)

    def change(self, records: Records) -> Flow:
        return self.save(records, creates=False)

    def remove(self, records: Records) -> Flow:
        there = yield from self.there(records)
        for ids in pieces([contact["id"] for contact in there.values()], AT_ONCE):
            path = f"/v3/marketing/lists/{records.audience_id}/contacts"
            yield self.request("DELETE", f"{path}?contact_ids={','.join(ids)}")
        return Result()

    def delete(self, records: Records) -> Flow:
        there = yield from self.there(records)
        for ids in pieces([contact["id"] for contact in there.values()], AT_ONCE):
            answer = yield self.request("DELETE", f"{CONTACTS}?ids={','.join(ids)}")
            job = yield from self.job(answer.json()["job_id"])
            if job["status"] != "completed":
                return Result(retry=dict.fromkeys(there, f"the deletion job is {job['status']}"))
        return Result()

    def save(
        self,
        records: Records,
        *,
        listed: Mapping[str, Any] | None = None,
        creates: bool = True,
        changes: bool = True,
    ) -> Flow:
        """Send contacts, adding them to the list if `listed`; read existing ones first if needed."""
        there: dict[int, Contact] = {}
        if records.set_if_empty or not (creates and changes):
            there = yield from self.there(records)
        contacts = {
            at: contact_of(record, records.fields_over(record, there.get(at, {})))
            for at, record in enumerate(records)
            if (creates or at in there) and (changes or at not in there)
        }
        rejected: dict[int, str | Rejection] = {}
        if not creates:
            unknown = (at for at in range(len(records)) if at not in there)
            rejected = dict.fromkeys(unknown, nobody("no contact has these identifiers"))
        if contacts:
            rejected |= yield from self.put(contacts, listed or {})
        return Result(rejected)

    def put(self, contacts: Mapping[int, Contact], listed: Mapping[str, Any]) -> Asking[Rejected]:
        """Send contacts, by position, and wait for the job. Returns the rejections."""
        answer = yield self.request("PUT", CONTACTS, json={**listed, "contacts": [*contacts.values()]})
        if answer.status_code == 400:
            errors = answer.json()["errors"]
            if any(str(error.get("field")).startswith("list_ids") for error in errors):
                raise Refused(
                    f"SendGrid has no such list: {errors}. Set audience_id to an existing list's id."
                )
            refused: Rejected = {**named_in((str(error["message"]) for error in errors), contacts)}
            # The whole request failed: valid contacts are sent again without the others.
            well = {at: contact for at, contact in contacts.items() if at not in refused}
            if not refused:
                return (yield from self.halves(contacts, listed, str(errors)))
            return refused | ((yield from self.put(well, listed)) if well else {})
        job = yield from self.job(answer.json()["job_id"])
        told = job.get("results") or {}
        count = int(told.get("errored_count") or 0)
        if job["status"] == "completed" and count == 0:
            return {}
        lines = yield from self.errors(told.get("errors_url"))
        first = [*islice(lines, _SHOWN_LINES)]
        refused = {**named_in(chain(first, lines), contacts)}
        if job["status"] == "failed":
            why = "the import job of its batch failed"
            return {**dict.fromkeys(contacts, Rejection(why) if count else for_now(why)), **refused}
        if len(refused) >= max(count, 1):
            return refused
        return (
            yield from self.halves(contacts, listed, f"its job is {job['status']} {''.join(first)}".strip())
        )

    def halves(
        self, contacts: Mapping[int, Contact], listed: Mapping[str, Any], why: str
    ) -> Asking[Rejected]:
        """Bisect, since the rejected contacts weren't named: sending accepted ones again is safe."""
        if len(contacts) == 1:
            return dict.fromkeys(contacts, refusal(why))
        refused: Rejected = {}
        for half in pieces([*contacts.items()], (len(contacts) + 1) // 2):
            refused |= yield from self.put(dict(half), listed)
        return refused

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if mode == "events":
            self.checked_mail(context.event)
            return context
        context = yield from super().prepare(mode, context, fields)
        if not fields:
            return context
        answer = yield self.probe()
        told = answer.json()
        own = told.get("custom_fields") or []
        ids = {str(each[key]): str(each["id"]) for each in own for key in ("name", "id")}
        there = [each["name"] for each in told["reserved_fields"] if not each.get("read_only")]
        # Any type fits: values are converted to their field's type.
        check_fields("SendGrid", fields, dict.fromkeys([*there, *ids]))
        types = {str(each[key]): each.get("field_type") for each in own for key in ("name", "id")}
        kinds = {name: KINDS.get(str(types.get(name))) for name in fields}
        return replace(context, fields={name: ids[name] for name in fields if name in ids}, kinds=kinds)
