"""Any HTTP endpoint, with revetl's own contract or a template: docs/destinations/webhook.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import httpx
from pydantic import Field

from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Flow,
    Identifier,
    Reading,
)
from revetl.destinations.base.records import Records, Result, SyncContext
from revetl.destinations.webhook.contract import page_of, rejected_by, unreadable
from revetl.destinations.webhook.requests import Operation, WebhookRequests
from revetl.destinations.webhook.template import NoAddress


class Webhook(WebhookRequests):
    """Signed JSON batches to the user's own URL, or requests from a template."""

    batch: ClassVar[Batch] = Batch(records=1_000)
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("id", column="user_id"),)
    can_set_if_empty: ClassVar[bool] = True

    type: Literal["webhook"]
    hash_id: Literal["email", "phone", "text"] | None = None
    read_url: Annotated[str, Field(pattern="^https?://")] | None = None

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        (identifier,) = self.identifiers
        return (replace(identifier, hashed=self.hash_id),)

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if mode != "delete":
            self.check_fields_named(context, fields)
        return (yield from super().prepare(mode, context, fields))

    def upsert(self, records: Records) -> Flow:
        return self.send(records, "add" if records.operation == "add" else "update")

    def remove(self, records: Records) -> Flow:
        return self.send(records, "remove")

    def insert(self, records: Records) -> Flow:
        return self.send(records, "insert")

    def change(self, records: Records) -> Flow:
        return self.send(records, "update", create=False)

    def track(self, records: Records) -> Flow:
        return self.send(records, "track")

    def delete(self, records: Records) -> Flow:
        return self.send(records, "delete")

    def send(self, records: Records, operation: Operation, *, create: bool = True) -> Flow:
        """Send one request; without `create`, only existing people are updated."""
        try:
            request = self.request_of(records, operation, create=create)
        except NoAddress as error:
            return Result(rejected=dict.fromkeys(range(len(records)), str(error)))
        response = yield request
        return Result(rejected=rejected_by(response, records))

    def misread(self, response: httpx.Response) -> str | None:
        """Accept any body that is empty, text or JSON, but not HTML pages or an unreadable `rejected`."""
        return unreadable(response, response.request.method == "GET")

    def is_repeatable(self, request: httpx.Request) -> bool:
        # A retried batch keeps its id.
        return True

    @property
    def can_read(self) -> bool:
        return self.read_url is not None

    def read(self, audience: str, cursor: str | None = None) -> Reading:
        asked = {"audience": audience} if cursor is None else {"audience": audience, "cursor": cursor}
        url = httpx.URL(self.read_url or self.base_url).copy_merge_params(asked)
        request = httpx.Request("GET", url, headers=self.headers())
        # A GET has no body, so its query is signed.
        response = yield self.signed(request, request.url.query)
        return page_of(response)
