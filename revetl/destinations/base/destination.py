"""The base class of destinations: limits as data, and one generator per operation.

A connector yields `httpx.Request`s, receives `httpx.Response`s, and returns the rejected records. It opens no
socket and never sleeps; `revetl.sync.deliver` runs it, retries, splits and throttles. The protocol is that of
httpx's `Auth.auth_flow`.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import httpx
import orjson
from pydantic import Field, PrivateAttr

from revetl.config.base import ConfigModel
from revetl.config.jinja import RenderedValue
from revetl.destinations.base.addresses import address_of, carried_parts, secret_parts
from revetl.destinations.base.answers import (
    UNLIKE,
    SuccessShape,
    entry_of,
    misread,
)
from revetl.destinations.base.dispositions import Disposition, verdict
from revetl.destinations.base.field_check import TEXT
from revetl.destinations.base.flow import (
    AnswerNotUnderstood,
    Asking,
    Flow,
    JobUnfinished,
    Refused,
    Step,
    Wait,
    object_of,
    poll,
)
from revetl.destinations.base.members import AudienceMember, Page, Reading
from revetl.destinations.base.records import (
    Record,
    Records,
    Rejection,
    Result,
    SyncContext,
)
from revetl.destinations.base.secret_values import names_of_secrets, secrets_in
from revetl.destinations.base.spec import (
    Attribute,
    Batch,
    Identifier,
    IdentifierChoice,
    RateLimit,
    lacking,
)

__all__ = [
    "AnswerNotUnderstood",
    "Asking",
    "Attribute",
    "AudienceMember",
    "Batch",
    "Destination",
    "Disposition",
    "Flow",
    "Identifier",
    "JobUnfinished",
    "Page",
    "RateLimit",
    "Reading",
    "Record",
    "Records",
    "Refused",
    "Rejection",
    "Result",
    "Step",
    "Wait",
    "object_of",
    "poll",
    "verdict",
]


def entered_or_left(records: Records) -> Records:
    """Convert a batch of audience changes to Segment's Audience Entered and Audience Exited events."""
    is_in = records.operation != "remove"
    about = {"audience_key": records.audience, records.audience: is_in}
    return replace(
        records,
        event="Audience Entered" if is_in else "Audience Exited",
        happens_again=True,
        records=tuple(
            record._replace(fields={**record.fields, **about}, timestamp=records.at) for record in records
        ),
    )


class Destination(ConfigModel):
    """A configured destination. Subclasses add their configuration as fields, their limits and identifiers as
    class variables, and the operations they support.

    Operations without a dedicated API call fall back: `add` and `update` to `upsert`. The supported
    operations determine the sync modes of a destination.
    """

    batch: ClassVar[Batch]
    rate: ClassVar[RateLimit | None] = None
    identifiers: ClassVar[tuple[Identifier, ...]]
    statuses: ClassVar[Mapping[int, Disposition]] = {}
    understood: ClassVar[tuple[SuccessShape, ...]] = ()
    """The response bodies that mean success, by call; any other body with a success status is an error."""
    identifier_key: ClassVar[str | None] = None
    """The configuration key that names the lookup identifier, if there is one."""
    cleared: ClassVar[Any] = None
    """The value that unsets a field, for `null: clear`."""
    can_set_if_empty: ClassVar[bool] = False
    known_fields: ClassVar[tuple[Attribute, ...]] = ()
    """Fields known to exist; a sync without `fields` sends these columns under these names."""
    takes_other_fields: ClassVar[bool] = True
    """Whether fields outside `known_fields` are allowed."""
    charged_in: ClassVar[str | None] = None
    """The billing unit, if it is neither people nor requests: `data points`."""
    matches_by_all: ClassVar[bool] = False
    """Whether people are matched by all identifiers sent; a sync without `identifiers` then sends every
    identifier whose column the audience has."""

    account_fields: ClassVar[tuple[str, ...]] = ()
    """Configuration keys, none of them secret, that identify the account."""
    container_fields: ClassVar[tuple[str, ...]] = ()
    """Configuration keys that identify the target within the account, besides the audience."""
    takes_one: ClassVar[bool] = True
    """Whether it accepts a single member."""
    url_is_secret: ClassVar[bool] = False
    """Whether the path of its URL may contain a token."""

    type: str
    """The destination type."""
    base_url: str
    """The address of its API; a regional one, or a mock server's."""
    targets: tuple[str, ...] = ()
    """The dbt targets that may use it; all without it."""
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 8
    """Concurrent requests."""
    requests_per_second: Annotated[float, Field(gt=0)] | None = None
    """Rate limit, below the destination's own."""
    timeout: Annotated[float, Field(gt=0)] = 30.0
    """Seconds for a connection, and for the next bytes of a response."""
    deadline: Annotated[float, Field(gt=0)] | None = None
    """Timeout in seconds for a request and its whole response; defaults to four times `timeout`."""
    max_pause: Annotated[float, Field(ge=0)] = 300.0
    """Seconds that a run keeps waiting on request of the API, with nothing accepted meanwhile, before it
    ends."""
    max_response_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024
    """The largest response that is kept in memory."""
    retries: Annotated[int, Field(ge=0)] = 5
    """Retries of a request that may be repeated."""
    phone_region: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None
    """Country of phone numbers without a country code, such as `US`."""
    _project: str | None = PrivateAttr(default=None)
    _filled_in: tuple[RenderedValue, ...] = PrivateAttr(default=())
    _ways: dict[str, tuple[frozenset[str], ...]] = PrivateAttr(default_factory=dict)

    def upsert(self, records: Records) -> Flow:
        """Create or update people with their fields; does not change audience membership."""
        raise NotImplementedError  # implemented by every connector

    def add(self, records: Records) -> Flow:
        """Add people to the audience."""
        return self.upsert(records)

    def update(self, records: Records) -> Flow:
        """Update the fields of people in the audience."""
        return self.upsert(records)

    def remove(self, records: Records) -> Flow:
        """Remove people from the audience."""
        raise NotImplementedError  # without an override, `modes` has no mirror

    def insert(self, records: Records) -> Flow:
        """Create people; existing people stay unchanged."""
        raise NotImplementedError  # without an override, `modes` has no insert

    def change(self, records: Records) -> Flow:
        """Update existing people; nobody is created."""
        raise NotImplementedError  # without an override, `modes` has no update

    def track(self, records: Records) -> Flow:
        """Send one event per person, `records.event`, with the fields as its properties."""
        raise NotImplementedError  # without an override, `modes` has no events

    def delete(self, records: Records) -> Flow:
        """Delete people with all their data; people who don't exist count as deleted."""
        raise NotImplementedError  # without an override, `modes` has no delete

    def read(self, audience: str, cursor: str | None = None) -> Reading:
        """Read one page of an audience's members: the first, or the one at `cursor`, which is `next` of the
        previous page."""
        raise NotImplementedError  # without an override, `can_read` is false

    def audience_of(self, audience: str) -> str | None:
        """Return the audience's id in the destination, as set in the configuration."""
        return None

    def uses_audience(self, mode: str) -> bool:
        """Whether a mode delivers to an audience that has its own id."""
        return True

    def delivers_to(self, audience: str, mode: str, base_url: str | None = None) -> dict[str, str]:
        """Describe where an audience is delivered: type, host and path (`base_url` without secrets, unless it
        is the default), and the account, container and audience id if set."""
        found = {"type": self.type}
        usual = type(self).model_fields["base_url"].default
        if self.base_url != usual:
            found |= address_of(base_url or self.base_url, hides_path=self.url_is_secret)
        else:
            found["host"] = "the usual one"
        for kind, names in (("account", self.account_fields), ("container", self.container_fields)):
            values = [f"{name} {value}" for name in names if (value := getattr(self, name, None)) is not None]
            if values:
                found[kind] = ", ".join(values)
        if self.uses_audience(mode) and (known := self.audience_of(audience)) is not None:
            found["audience"] = known
        return found

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        """Read what the run needs to know about the destination, once before anything is sent, and return
        `context` with it. `fields` are the mapped fields with the engine's types. Raises Refused, saying what
        to set, if fields or the audience don't exist."""
        return context
        yield

    def finish(self, context: SyncContext, counts: Mapping[str, int]) -> Asking[None]:
        """Send the final requests after the last batch, once a run in which every record got a response.
        `counts` are the accepted records by operation. If this fails, the run fails."""
        return
        yield

    def marked(self, mode: str, context: SyncContext) -> Asking[str | None]:
        """Read the text that may contain the marker of the sync's last run (`marks.py`); None if it has
        none."""
        return None  # without an override, `keeps_marks` is false
        yield

    def mark(self, mode: str, context: SyncContext, text: str) -> Asking[None]:
        """Store a marker, replacing the previous one."""
        return
        yield

    @property
    def keeps_marks(self) -> bool:
        """Whether it can store the marker of a sync's last run."""
        return type(self).marked is not Destination.marked

    def takes_whole(self, mode: str) -> bool:
        """Whether every run with changes sends the full snapshot of the audience: as after an interrupted
        run, every member is sent, and removed members are only counted."""
        return False

    def placed(self, root: Path) -> Self:
        """Return a copy whose relative paths are resolved against `root`."""
        return self

    def known_from(self, project: str | None, filled_in: Iterable[RenderedValue] = ()) -> Self:
        """Return a copy that knows its project, and which of its values come from outside revetl.yml."""
        made = self.model_copy()
        made._project, made._filled_in = project, tuple(filled_in)
        return made

    @property
    def project(self) -> str | None:
        """Return the project it is configured in."""
        return self._project

    @property
    def filled_in(self) -> tuple[RenderedValue, ...]:
        """Return the configuration values that come from outside revetl.yml."""
        return self._filled_in

    def connection_options(self) -> Mapping[str, Any]:
        """Return the options of its transport, if requests don't go to a web address."""
        return {}

    def probe(self) -> httpx.Request:
        """Return a harmless request that needs the credentials, for `revetl debug`."""
        raise NotImplementedError  # without an override, `can_probe` is false

    def judge(self, response: httpx.Response) -> Disposition:
        """Classify a response for its batch: by status, unless the API reports errors in the body."""
        return verdict(response.status_code, self.statuses)

    def heard(self, response: httpx.Response) -> tuple[Disposition, str | None]:
        """Classify a response for its batch; for an apparent success, also describe why the body isn't an
        expected response."""
        try:
            judged = self.judge(response)
        except UNLIKE:
            judged = verdict(response.status_code, {})
            return judged, "JSON of an unexpected shape" if judged is Disposition.PASS else None
        return judged, self.misread(response) if judged is Disposition.PASS else None

    def misread(self, response: httpx.Response) -> str | None:
        """Describe why a body isn't an expected success response; None if it is, or if it is an error that
        the flow handles."""
        entry = entry_of(response.request, self.understood)
        if entry is None or not response.is_success:
            return None
        return misread(response, entry.shape)

    def is_repeatable(self, request: httpx.Request) -> bool:
        """Whether a request with an unexpected response is safe to repeat."""
        entry = entry_of(request, self.understood)
        return entry is None or entry.again

    def sends_at_most_once(self, mode: str) -> bool:
        """Whether a record with an unknown outcome is not retried automatically, because the destination
        can't deduplicate. Other records are sent until their outcome is known."""
        return False

    def may_repeat(self, request: httpx.Request) -> bool:
        """Whether a request can be repeated when an earlier attempt may have been applied."""
        return True

    def daily_limit(self, mode: str) -> int | None:
        """Return the configured maximum number of records per 24 hours in a mode."""
        return None

    def charge(self, request: httpx.Request) -> int:
        """Return the cost of a request in `charged_in`."""
        return 0

    def pause(self, response: httpx.Response) -> float | None:
        """Return the seconds to pause that a response asks for in API-specific headers; `Retry-After` and the
        common rate limit headers are handled separately."""
        return None

    def asked_pause(self, response: httpx.Response) -> float | None:
        """Return `pause`; None for a response of an unexpected format."""
        try:
            return self.pause(response)
        except UNLIKE:
            return None

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """Return the sets of identifiers that are each sufficient to find a person in a mode. Used to count
        records in plans and to reject records."""
        return tuple(frozenset({each.name}) for each in self.known_by if each.alone)

    def unidentified(self, mode: str, record: Record) -> str | None:
        """Explain why a record's identifiers find nobody in a mode; None if they are sufficient."""
        given = {name for name, value in record.identifiers.items() if value not in (None, "")}
        if any(each <= given for each in self._found_by(mode)):
            return None
        return lacking(self._found_by(mode), given)

    def _found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """Cache `found_by`, which is needed for every record."""
        if mode not in self._ways:
            self._ways[mode] = self.found_by(mode)
        return self._ways[mode]

    def adjusted(self, mode: str, record: Record) -> tuple[Record, Mapping[str, str]]:
        """Return the record in a form the API accepts, and what was changed, by field: an unsupported
        property is changed or dropped instead of rejecting the record. The run reports the counts."""
        return record, {}

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        """Explain why an identified record cannot be sent in a mode, in a context; None if it can. For APIs
        that drop records silently."""
        return None

    @property
    def upsert_joins(self) -> bool:
        """Whether an upsert adds people to the audience, as if it is the only operation."""
        return type(self).add is Destination.add

    @property
    def can_read(self) -> bool:
        """Whether this configuration can list the members of an audience."""
        return type(self).read is not Destination.read

    @property
    def can_probe(self) -> bool:
        """Whether it can check its credentials."""
        return type(self).probe is not Destination.probe

    @property
    def unprobed(self) -> str | None:
        """Describe the part of the configuration that a successful probe doesn't verify."""
        return None

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        """Return the identifiers of this configuration."""
        return self.identifiers

    @classmethod
    def identifier_choices(cls) -> tuple[IdentifierChoice, ...]:
        """Return the identifiers possible with this type; `known_by` has those of one configuration."""
        key = cls.identifier_key
        if key is None:
            return tuple(IdentifierChoice(each) for each in cls.identifiers)
        usual = (IdentifierChoice(each, {key: each.name}) for each in cls.identifiers)
        return (*usual, IdentifierChoice(Identifier("", column="user_id"), named_by=key))

    @property
    def declared(self) -> tuple[Attribute, ...]:
        """Return the fields known to exist with this configuration."""
        return self.known_fields

    def declared_in(self, mode: str) -> tuple[Attribute, ...]:
        """Return the known fields of the objects a mode writes, if those aren't people."""
        return self.declared

    def kinds_of(self, mode: str) -> Mapping[str, str | None]:
        """Return the value types of fields known without a request; event properties are untyped."""
        if mode in ("events", "audience_events"):
            return {}
        return {each.name: each.type for each in self.declared if each.type != TEXT}

    @property
    def limits(self) -> Batch:
        """Return the batch limits of this configuration."""
        return self.batch

    def limits_of(self, mode: str) -> Batch:
        """Return the batch limits of a mode, if its calls have different ones."""
        return self.limits

    @property
    def pace(self) -> RateLimit | None:
        """Return the rate limit of this configuration."""
        return RateLimit(self.requests_per_second) if self.requests_per_second else self.rate

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        """Return the sync modes that this destination supports."""
        needed = {
            "mirror": "remove",
            "upsert": "upsert",
            "insert": "insert",
            "update": "change",
            "archive": "upsert",
            "events": "track",
            "audience_events": "track",
            "delete": "delete",
        }
        if not (cls.takes_other_fields or cls.known_fields):
            del needed["archive"]
        return tuple(
            mode for mode, name in needed.items() if getattr(cls, name) is not getattr(Destination, name)
        )

    @classmethod
    def erases_with(cls, config: Mapping[str, Any]) -> bool:
        """Whether it can erase people with a configuration as it is written in revetl.yml."""
        return "delete" in cls.modes()

    def flow(self, mode: str, records: Records) -> Flow:
        """Return the flow that delivers a planned batch."""
        operations = {
            "upsert": self.upsert,
            "insert": self.insert,
            "update": self.change,
            "archive": self.upsert,
            "events": self.track,
            "delete": self.delete,
        }
        if mode == "audience_events":
            return self.track(entered_or_left(records))
        if mode == "mirror":
            operations = {"mirror": getattr(self, records.operation)}
        if mode == "archive" and records.operation == "remove":
            records = replace(records, operation="update")
        return operations[mode](records)

    def headers(self) -> dict[str, str]:
        """Return the headers of every request: credentials and versions."""
        return {}

    def auth(self) -> httpx.Auth | None:
        """Return the authentication for requests, if headers aren't enough."""
        return None

    def post(self, path: str, *, json: Any, headers: Mapping[str, str] | None = None) -> httpx.Request:
        """Build a POST of `json` to `path` under the base URL."""
        return self.request("POST", path, json=json, headers=headers)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        """Build a request to `path` under the base URL, with `json` as its body if set."""
        said = {} if json is None else {"Content-Type": "application/json"}
        return httpx.Request(
            method,
            self.base_url.rstrip("/") + path,
            params=params or None,
            headers={**self.headers(), **said, **(headers or {})},
            content=None if json is None else orjson.dumps(json),
        )

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context, if the default certificates aren't enough. Raises UsageError for unusable
        files."""
        return None

    @classmethod
    def secret_names(cls) -> list[str]:
        """Return the configuration keys that are secrets, as dotted paths."""
        return names_of_secrets(cls)

    def secrets(self) -> tuple[str, ...]:
        """Return every secret value of the configuration, for redaction."""
        headers = getattr(self, "extra_headers", {}).values()
        carried = carried_parts(self._filled_in, self.base_url, headers)
        return tuple(dict.fromkeys((*secrets_in(self), *secret_parts(self._filled_in), *carried)))
