"""A webhook's requests, by revetl's own contract or by a template: docs/destinations/webhook.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import AliasChoices, Field, field_validator, model_validator

from revetl.destinations.base.addresses import address_of
from revetl.destinations.base.destination import Batch, Refused, Verdict
from revetl.destinations.base.records import Records
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
    """What is sent where, with which method, and which answers accept it."""

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
                    f"{key}: has no '${{records}}'. Put it where the list belongs, or batch: false"
                )
            if not self.is_batch and RECORDS in paths(template):
                raise ValueError(f"{key}: '${{records}}' is for batches. Leave it out, or batch: false")
            check_names(key, template, known)
        if self.record is not None:
            if RECORDS not in {path for each in self.templates().values() for path in paths(each)}:
                raise ValueError("record: is what '${records}' in body is made of, and body has none")
            check_names("record", self.record, OF_RECORD)
        for key, url in self.addresses().items():
            if not _HOST.match(url):
                raise ValueError(
                    f"{key}: a URL begins with https:// and its host, with no placeholder in them"
                )
            check_names(key, url, known - {RECORDS})
        return self

    def templates(self) -> dict[str, Any]:
        """The templates of bodies, by their key."""
        own = {f"bodies.{operation}": each for operation, each in self.bodies.items()}
        return {**({} if self.body is None else {"body": self.body}), **own}

    def addresses(self) -> dict[str, str]:
        """The URLs that are called, by their key."""
        return {"url": self.base_url, **{f"urls.{name}": url for name, url in self.urls.items()}}

    @cached_property
    def is_batch(self) -> bool:
        """Whether a request is of many records: as `batch` says, else as the templates do."""
        if self.in_batches is not None:
            return self.in_batches
        named = [path for each in self.templates().values() for path in paths(each)]
        return not self.templates() or RECORDS in named

    @property
    def limits(self) -> Batch:
        return Batch(records=self.batch_size if self.is_batch else 1)

    def check_fields_named(self, whole: Records, fields: Mapping[str, str]) -> None:
        """Raises Refused for a template that names a field which the sync does not send."""
        known = [*fields, "audience_key", whole.audience]
        for key, template in {**self.templates(), **self.addresses(), "record": self.record}.items():
            for field in fields_in(template):
                if field not in known and field.partition(".")[0] not in known:
                    raise Refused(
                        f"{key}: '${{fields.{field}}}': this sync sends no field '{field}'. "
                        f"{nearest(field, list(fields))}"
                    )
        named = {path for each in (*self.templates().values(), self.record) for path in paths(each)}
        if self.templates() and whole.set_if_empty and "set_if_empty" not in named:
            raise Refused("set_if_empty: body does not tell it. Put '${set_if_empty}' into body.")

    @cached_property
    def names_values(self) -> bool:
        """Whether any body or URL holds a placeholder."""
        return any(
            True for each in (*self.templates().values(), *self.addresses().values()) for _ in paths(each)
        )

    def values(self, records: Records, operation: Operation, *, create: bool) -> dict[str, Any]:
        """What the templates may name of a batch, or of its one record."""
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
        """The request of a batch. Raises NoAddress."""
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
        # What has no body says all in its address.
        return self.signed(request, content or request.url.raw_path)

    def judge(self, response: httpx.Response) -> Verdict:
        status = response.status_code
        if self.success and response.request.method != "GET":
            if status in self.success:
                return Verdict.PASS
            if status < 300:
                return Verdict.FATAL
        return super().judge(response)
