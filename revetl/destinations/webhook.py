"""Any HTTP endpoint that speaks revetl's own contract: docs/destinations/webhook.md."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import AliasChoices, Field, SecretStr

from revetl.destinations.base import Batch, Destination, Flow, Identifier, Member, Page, Reading, Refused
from revetl.destinations.records import Records, Rejection, Result


class Webhook(Destination):
    """Signed JSON batches to a URL of the user's own."""

    batch: ClassVar[Batch] = Batch(records=1_000)
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("id", column="user_id"),)
    can_set_if_empty: ClassVar[bool] = True

    type: Literal["webhook"]
    base_url: Annotated[str, Field(validation_alias=AliasChoices("url", "base_url"), pattern="^https?://")]
    secret: SecretStr | None = None
    batch_size: Annotated[int, Field(ge=1)] = 1_000
    hash_id: Literal["email", "phone", "text"] | None = None
    extra_headers: Annotated[Mapping[str, str], Field(validation_alias=AliasChoices("headers"))] = {}
    read_url: Annotated[str, Field(pattern="^https?://")] | None = None

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        (identifier,) = self.identifiers
        return (replace(identifier, hashed=self.hash_id),)

    @property
    def limits(self) -> Batch:
        return Batch(records=self.batch_size)

    def headers(self) -> dict[str, str]:
        return dict(self.extra_headers)

    def upsert(self, records: Records) -> Flow:
        return self.send(records, records.operation)

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

    def send(self, records: Records, operation: str, *, create: bool = True) -> Flow:
        """One signed batch; without `create`, of people who are there already."""
        body: dict[str, Any] = {
            "sync": records.sync,
            "audience": records.audience,
            "run_id": records.run_id,
            "batch_id": records.batch_id,
            "operation": operation,
            "records": [{"id": record.identifiers["id"], "fields": record.fields} for record in records],
        }
        if not create:
            body["create"] = False
        if operation == "track":
            if records.event is not None:
                body["event"] = records.event
            for each, record in zip(body["records"], records, strict=True):
                if record.event is not None:
                    each["event"] = record.event
                each |= {"message_id": records.change_id(record), "timestamp": record.timestamp}
        if records.set_if_empty:
            body["set_if_empty"] = records.set_if_empty
        request = self.post("", json=body)
        self._sign(request, request.content)
        response = yield request
        return Result(rejected=_rejected(response, records))

    @property
    def can_read(self) -> bool:
        return self.read_url is not None

    def read(self, audience: str, cursor: str | None = None) -> Reading:
        asked = {"audience": audience} if cursor is None else {"audience": audience, "cursor": cursor}
        url = httpx.URL(self.read_url or self.base_url).copy_merge_params(asked)
        request = httpx.Request("GET", url, headers=self.headers())
        # A GET has no body: what it asks for is what must not be changed on the way.
        self._sign(request, request.url.query)
        response = yield request
        return _page(response)

    def _sign(self, request: httpx.Request, content: bytes) -> None:
        if self.secret:
            signature = hmac.digest(self.secret.get_secret_value().encode(), content, "sha256").hex()
            request.headers["X-Revetl-Signature"] = f"sha256={signature}"


def _page(response: httpx.Response) -> Page:
    """The members in an answer of `read_url`. Raises Refused when it is not in the contract's form."""
    answer: Any = orjson.loads(response.content)
    try:
        members = tuple(_member(row) for row in answer["members"])
        cursor = answer.get("next")
    except (KeyError, TypeError, AttributeError, ValueError):
        raise Refused(
            'read_url answered what is not {"members": [{"id": …, "fields": {…}}], "next": …}. '
            "Have it answer so, or leave read_url out."
        ) from None
    return Page(members, None if cursor is None else str(cursor))


def _member(row: Any) -> Member:
    person, fields = row["id"], row.get("fields")
    if person is None or not isinstance(fields, dict | None):
        raise ValueError("an id is a value, and fields are an object")
    return Member({"id": person}, fields)


def _rejected(response: httpx.Response, records: Records) -> dict[int, Rejection]:
    """The ids of the optional `rejected` in the body, as indexes. A body that is not JSON says nothing."""
    try:
        answer: Any = orjson.loads(response.content)
        refused = {
            str(row["id"]): Rejection(str(row.get("reason") or "no reason given"), row.get("field"))
            for row in answer["rejected"]
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        index: refused[identifier]
        for index, record in enumerate(records)
        if (identifier := str(record.identifiers["id"])) in refused
    }
