"""Requests to Segment and compatible APIs, such as RudderStack: docs/destinations/segment.md."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import AliasChoices, Field, SecretStr, model_validator

from revetl.destinations.auth.basic import basic
from revetl.destinations.base.destination import (
    Batch,
    Destination,
    Disposition,
    Flow,
    RateLimit,
    Result,
)
from revetl.destinations.segment.messages import Message, packed

REGIONS = {"us": "https://api.segment.io", "eu": "https://events.eu1.segmentapis.com"}
PUBLIC_API = {"us": "https://api.segmentapis.com", "eu": "https://eu1.api.segmentapis.com"}
RUDDERSTACK_BYTES = 4_000_000
Url = Annotated[str, Field(pattern="^https?://")]


class SegmentApi(Destination):
    """A source of Segment or RudderStack: hosts, keys, and the common parts of all messages."""

    batch: ClassVar[Batch] = Batch(records=2_500, bytes=500_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=1_000)

    write_key: SecretStr
    region: Literal["us", "eu"] = "us"
    base_url: Annotated[Url, Field(validation_alias=AliasChoices("base_url", "host"))] = ""
    data_plane_url: Url | None = None
    integrations: Mapping[str, bool | Mapping[str, Any]] = {}
    context: Mapping[str, Any] = {}
    gzip: bool = False
    public_api_token: SecretStr | None = None
    public_api_url: Url = ""

    @model_validator(mode="before")
    @classmethod
    def _regional_hosts(cls, data: Any) -> Any:
        region = data.get("region", "us")
        host = data.get("data_plane_url") or data.get("host") or REGIONS.get(region, REGIONS["us"])
        public = PUBLIC_API.get(region, PUBLIC_API["us"])
        given = {name: value for name, value in data.items() if name != "host"}
        return {"base_url": host, "public_api_url": public, **given}

    @property
    def limits(self) -> Batch:
        return replace(self.batch, bytes=RUDDERSTACK_BYTES) if self.data_plane_url else self.batch

    def headers(self) -> dict[str, str]:
        return {"Authorization": basic(self.write_key.get_secret_value())}

    def judge(self, response: httpx.Response) -> Disposition:
        said = response.text.lower() if response.status_code == 400 else ""
        is_refused = "authorization header" in said or "write key" in said
        return Disposition.FATAL if is_refused else super().judge(response)

    def send(self, told: Iterable[list[Message]]) -> Flow:
        """Send each record's messages, in as many requests as needed."""
        bodies, refused = packed(([self.finished(each) for each in some] for some in told), self.limits)
        headers = {**self.headers(), "Content-Type": "application/json"}
        if self.gzip:
            headers["Content-Encoding"] = "gzip"
        # Some users include the version in the host.
        url = self.base_url.rstrip("/").removesuffix("/v1") + "/v1/batch"
        for body in bodies:
            content = gzip.compress(body) if self.gzip else body
            yield httpx.Request("POST", url, headers=headers, content=content)
        return Result(refused)

    def finished(self, message: Message) -> Message:
        """Add the common parts to a message; RudderStack expects a person's traits in the context."""
        context = {**self.context, **message.pop("context", {})}
        if self.data_plane_url:
            message["channel"] = "server"
            if message["type"] == "identify":
                context["traits"] = message.pop("traits")
        if self.data_plane_url or self.context:
            context = {"library": {"name": "revetl"}, **context}
        said = {"context": context, "integrations": self.integrations}
        return message | {name: value for name, value in said.items() if value}

    def regulation(self, kind: str, user_ids: list[str]) -> httpx.Request:
        """Build the Public API request that suppresses or deletes people in the whole workspace."""
        token = "" if self.public_api_token is None else self.public_api_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        asked = {"regulationType": kind, "subjectType": "USER_ID", "subjectIds": user_ids}
        url = self.public_api_url.rstrip("/") + "/regulations"
        return httpx.Request("POST", url, headers=headers, content=orjson.dumps(asked))
