"""A webhook's requests, with revetl's own contract or a template: docs/destinations/webhook.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import AliasChoices, Field, field_validator, model_validator

from revetl.destinations.base.addresses import address_of
from revetl.destinations.base.destination import Batch, Disposition, Refused
from revetl.destinations.base.records import Records, SyncContext
from revetl.destinations.webhook.access import WebhookAccess
from revetl.destinations.webhook.contract import (
    record_body,
    values_of,
    values_of_one,
    whole_body,
)
from revetl.destinations.webhook.template import (
    address,
    check_names,
    fields_in,
    filled,
    paths,
)
from revetl.errors import nearest

Operation = Literal["add", "update", "remove", "insert", "track", "delete"]
Method = Literal["POST", "PUT", "PATCH", "DELETE"]
RECORDS = "records"
OF_BATCH = frozenset(
    {"sync", "audience", "run_id", "batch_id", "operation", "event", "create", "set_if_empty"}
)
OF_RECORD = OF_BATCH | {"id", "identifiers", "fields", "timestamp", "message_id"}
_HOST = re.compile(r"https?://[^/?#$]+(?:[/?#]|$)")


class WebhookRequests(WebhookAccess):
    """URLs, methods, bodies, and accepted status codes of an endpoint."""

    body: Any = None
    record: Any = None
    bodies: Mapping[Operation, Any] = {}
    in_batches: Annotated[bool | None, Field(validation_alias=AliasChoices("batch"))] = None
    method: Method = "POST"
    methods: Mapping[Operation, Method] = {}
    urls: Mapping[Operation, str] = {}
    success: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()
    batch_size: Annotated[int, Field(ge=1)] = 1_000

    url_is_secret: ClassVar[bool] = True

    def delivers_to(self, audience: str, mode: str, base_url: str | None = None) -> dict[str, str]:
        found = super().delivers_to(audience, mode, base_url)
        others = sorted({address_of(url)["host"] for url in self.urls.values()})
        return {**found, "container": f"urls at {', '.join(others)}"} if others else found

    @field_validator("success", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _templates_are_right(self) -> WebhookRequests:
        known = OF_BATCH | {RECORDS} if self.is_batch else OF_RECORD
        for key, template in self.templates().items():
            if self.is_batch and RECORDS not in paths(template):
                raise ValueError(
                    f"{key}: lacks '${{records}}'. Put it where the list belongs, or set batch: false"
                )
            if not self.is_batch and RECORDS in paths(template):
                raise ValueError(f"{key}: '${{records}}' is for batches. Remove it, or set batch: true")
            check_names(key, template, known)
        if self.record is not None:
            if RECORDS not in {path for each in self.templates().values() for path in paths(each)}:
                raise ValueError(
                    "record: defines the items of '${records}' in body, but body does not contain it"
                )
            check_names("record", self.record, OF_RECORD)
        for key, url in self.addresses().items():
            if not _HOST.match(url):
                raise ValueError(
                    f"{key}: a URL must start with https:// and a host, without placeholders in them"
                )
            check_names(key, url, known - {RECORDS})
        return self

    def templates(self) -> dict[str, Any]:
        """Return the body templates by key."""
        own = {f"bodies.{operation}": each for operation, each in self.bodies.items()}
        return {**({} if self.body is None else {"body": self.body}), **own}

    def addresses(self) -> dict[str, str]:
        """Return the URLs by key."""
        return {"url": self.base_url, **{f"urls.{name}": url for name, url in self.urls.items()}}

    @cached_property
    def is_batch(self) -> bool:
        """Whether a request holds many records: as set by `batch`, else as the templates imply."""
        if self.in_batches is not None:
            return self.in_batches
        named = [path for each in self.templates().values() for path in paths(each)]
        return not self.templates() or RECORDS in named

    @property
    def limits(self) -> Batch:
        return Batch(records=self.batch_size if self.is_batch else 1)

    def check_fields_named(self, context: SyncContext, fields: Mapping[str, str]) -> None:
        """Raises Refused if a template uses a field that the sync doesn't send."""
        known = [*fields, "audience_key", context.audience]
        for key, template in {**self.templates(), **self.addresses(), "record": self.record}.items():
            for field in fields_in(template):
                if field not in known and field.partition(".")[0] not in known:
                    raise Refused(
                        f"{key}: '${{fields.{field}}}': this sync does not send a field '{field}'. "
                        f"{nearest(field, list(fields))}"
                    )
        named = {path for each in (*self.templates().values(), self.record) for path in paths(each)}
        if self.templates() and context.set_if_empty and "set_if_empty" not in named:
            raise Refused("set_if_empty: body does not include it. Add '${set_if_empty}' to body.")

    @cached_property
    def names_values(self) -> bool:
        """Whether any body or URL contains a placeholder."""
        return any(
            True for each in (*self.templates().values(), *self.addresses().values()) for _ in paths(each)
        )

    def values(self, records: Records, operation: Operation, *, create: bool) -> dict[str, Any]:
        """Return the values that templates may use, of a batch or its single record."""
        values = values_of(records, operation, create=create)
        if not self.is_batch:
            return values | values_of_one(records, records.records[0])
        if self.record is None:
            made: list[Any] = [record_body(records, record, operation) for record in records]
        else:
            some = (values | values_of_one(records, record) for record in records)
            made = [filled(self.record, each) for each in some]
        return {**values, RECORDS: made}

    def request_of(self, records: Records, operation: Operation, *, create: bool) -> httpx.Request:
        """Return the request of a batch. Raises NoAddress."""
        values = self.values(records, operation, create=create) if self.names_values else {}
        base_url = self.base_url if self.templates() else self.base_url.rstrip("/")
        url = address(self.urls.get(operation, base_url), values)
        if operation in self.bodies or self.body is not None:
            template = self.bodies.get(operation, self.body)
            content = b"" if template is None else orjson.dumps(filled(template, values))
        else:
            content = orjson.dumps(whole_body(records, operation, create=create))
        said = {"Content-Type": "application/json"} if content else {}
        method = self.methods.get(operation, self.method)
        request = httpx.Request(method, url, headers={**self.headers(), **said}, content=content)
        # Without a body, the path and query are signed.
        return self.signed(request, content or request.url.raw_path)

    def judge(self, response: httpx.Response) -> Disposition:
        status = response.status_code
        if self.success and response.request.method != "GET":
            if status in self.success:
                return Disposition.PASS
            if status < 300:
                return Disposition.FATAL
        return super().judge(response)
