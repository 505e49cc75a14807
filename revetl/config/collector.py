"""The configuration of the collector: `collector:` in revetl.yml."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StrictStr, field_validator, model_validator

from revetl.config.base import ConfigModel

IpPolicy = Literal["keep", "truncate", "drop"]
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class SourceConfig(ConfigModel):
    """One entry of `collector: sources:`, a site, an app or a server that sends events."""

    write_key: tuple[StrictStr, ...]
    """The key that clients send, as a template such as `{{ env_var('WEB_WRITE_KEY') }}`. A list accepts
    several, for rotation."""
    origins: tuple[StrictStr, ...] = ("*",)
    """Origins of the pages that may send from a browser, such as `https://www.example.com`."""
    tracking_plan: bool = True
    """Whether messages are checked against tracking_plan.yaml, if the project has one."""
    ip: IpPolicy | None = None
    """What is stored of IP addresses; without it, the collector's `ip`."""
    rate: Annotated[int, Field(gt=0)] | None = None
    """The most events per second; above it, clients get status 429 and try again."""

    @field_validator("write_key", "origins", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("write_key")
    @classmethod
    def _at_least_one(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("is empty. Add a key such as \"{{ env_var('WEB_WRITE_KEY') }}\"")
        return value

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, _, host = origin.partition("://")
            if origin != "*" and (scheme not in ("http", "https") or not host or "/" in host):
                raise ValueError(
                    f"'{origin}' is not an origin; use a form like https://www.example.com, or '*' for all"
                )
        return value


class CookieConfig(ConfigModel):
    """`collector: cookie:`, a first-party id cookie that scripts can't read."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = "revetl_id"
    """The cookie's name."""
    domain: StrictStr | None = None
    """The cookie's domain, such as `example.com`; without it, the collector's host only."""
    days: Annotated[int, Field(gt=0, le=400)] = 365
    """Days until the cookie expires. Browsers accept 400 at most."""


class CollectorConfig(ConfigModel):
    """`collector:` in revetl.yml. docs/how-to/collecting.md explains the keys."""

    sources: Mapping[SourceName, SourceConfig] = {}
    """The sources by name, which becomes `source_id` in the raw tables."""
    directory: StrictStr = ".revetl/collector"
    """The folder of segment files, which holds events until they are landed. Each collector has its own."""
    land_seconds: Annotated[float, Field(gt=0)] = 30
    """Seconds between landings in the warehouse."""
    land_rows: Annotated[int, Field(gt=0)] = 100_000
    """The number of events that start a landing earlier."""
    max_backlog_mb: Annotated[int, Field(gt=0)] = 10_240
    """Megabytes of events to keep while the warehouse is away; above it, clients get status 503."""
    max_body_kb: Annotated[int, Field(gt=0)] = 500
    """The largest request body, after decompression, in kilobytes."""
    max_event_kb: Annotated[int, Field(gt=0)] = 32
    """The largest event in kilobytes; a larger one is rejected alone."""
    max_depth: Annotated[int, Field(gt=0, le=200)] = 32
    """The deepest nesting of an event; a deeper one is rejected alone."""
    max_properties: Annotated[int, Field(gt=0)] = 2_000
    """The most property names in an event, nested ones included."""
    trusted_proxies: tuple[StrictStr, ...] = ()
    """Addresses or networks of proxies whose `X-Forwarded-For` is used, such as `10.0.0.0/8`."""
    ip: IpPolicy = "keep"
    """What is stored of IP addresses: all, the network only (`truncate`), or nothing (`drop`)."""
    cookie: CookieConfig | None = None
    """Set a first-party id cookie."""
    analytics_js: StrictStr | None = None
    """The path of analytics.js's standalone bundle, to serve it from the collector's host."""

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise ValueError(
                    f"'{each}' is not an address or network; use a form like 10.0.0.0/8"
                ) from None
        return value

    @model_validator(mode="after")
    def _fit(self) -> CollectorConfig:
        if self.max_event_kb > self.max_body_kb:
            raise ValueError(
                f"max_event_kb: {self.max_event_kb} is above max_body_kb, {self.max_body_kb}; "
                "an event is part of a body"
            )
        return self
