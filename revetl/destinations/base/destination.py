"""What a destination is: limits as data, and one generator an operation.

A connector yields `httpx.Request`s, is sent the `httpx.Response`s, and returns what was rejected. It opens
no socket and never sleeps; `revetl.sync.deliver` runs it, retries, splits and paces. The form is httpx's
own `Auth.auth_flow`.
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

from revetl.config.base import Checked
from revetl.config.jinja import FilledIn
from revetl.destinations.base.addresses import address_of, carried_parts, secret_parts
from revetl.destinations.base.answers import (
    UNLIKE,
    Understood,
    entry_of,
    misread,
)
from revetl.destinations.base.dispositions import Verdict, verdict
from revetl.destinations.base.field_check import TEXT
from revetl.destinations.base.flow import (
    Asking,
    Flow,
    NotUnderstood,
    Refused,
    Step,
    Unfinished,
    Wait,
    object_of,
    poll,
)
from revetl.destinations.base.members import Member, Page, Reading
from revetl.destinations.base.records import (
    Record,
    Records,
    Rejection,
    Result,
)
from revetl.destinations.base.secret_values import names_of_secrets, secrets_in
from revetl.destinations.base.spec import (
    Attribute,
    Batch,
    Identifier,
    IdentifierChoice,
    Rate,
    lacking,
)

__all__ = [
    "Asking",
    "Attribute",
    "Batch",
    "Destination",
    "Flow",
    "Identifier",
    "Member",
    "NotUnderstood",
    "Page",
    "Rate",
    "Reading",
    "Record",
    "Records",
    "Refused",
    "Rejection",
    "Result",
    "Step",
    "Unfinished",
    "Verdict",
    "Wait",
    "object_of",
    "poll",
    "verdict",
]


def entered_or_left(records: Records) -> Records:
    """A batch of an audience's changes as the events that Segment has for them."""
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


class Destination(Checked):
    """A configured destination. Subclasses add their configuration as fields, their limits and identifiers
    as class variables, and the operations they have.

    An operation that a tool has no call of its own for falls back: `add` and `update` to `upsert`. The sync
    modes of a destination are those whose operations it has.
    """

    batch: ClassVar[Batch]
    rate: ClassVar[Rate | None] = None
    identifiers: ClassVar[tuple[Identifier, ...]]
    statuses: ClassVar[Mapping[int, Verdict]] = {}
    understood: ClassVar[tuple[Understood, ...]] = ()
    """What of the answers with a status of success is success, by call; whatever else is answered is not."""
    identifier_key: ClassVar[str | None] = None
    """The key of its configuration that names what people are looked up by, where there is one."""
    cleared: ClassVar[Any] = None
    """What unsets a field there, for `null: clear`."""
    can_set_if_empty: ClassVar[bool] = False
    known_fields: ClassVar[tuple[Attribute, ...]] = ()
    """The fields that it is known to have; a sync without `fields` sends these columns by these names."""
    takes_other_fields: ClassVar[bool] = True
    """Whether it may have fields that are not among `known_fields`."""
    charged_in: ClassVar[str | None] = None
    """What it charges by, where that is not people or requests: `data points`."""
    matches_by_all: ClassVar[bool] = False
    """Whether it looks for a person by every identifier it is given; a sync without `identifiers` then sends
    each whose column the audience has."""

    account_fields: ClassVar[tuple[str, ...]] = ()
    """The keys of its configuration, none of them secret, that name the account it delivers to."""
    container_fields: ClassVar[tuple[str, ...]] = ()
    """The keys that name what in the account it delivers to, besides the audience."""
    takes_one: ClassVar[bool] = True
    """Whether one member can be sent to it alone."""
    url_is_secret: ClassVar[bool] = False
    """Whether the path of its address may hold a token."""

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
    """Seconds for a request and its whole answer; four times `timeout` without it."""
    max_pause: Annotated[float, Field(ge=0)] = 300.0
    """Seconds that a run waits because it is told to, with nothing accepted meanwhile, before it ends."""
    max_response_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024
    """The largest answer that is held in memory."""
    retries: Annotated[int, Field(ge=0)] = 5
    """Retries of a request that may be repeated."""
    phone_region: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None
    """Country of phone numbers without a country code, such as `US`."""
    _project: str | None = PrivateAttr(default=None)
    _filled_in: tuple[FilledIn, ...] = PrivateAttr(default=())
    _ways: dict[str, tuple[frozenset[str], ...]] = PrivateAttr(default_factory=dict)

    def upsert(self, records: Records) -> Flow:
        """Create or update people with their fields; says nothing of any audience."""
        raise NotImplementedError  # every connector has it

    def add(self, records: Records) -> Flow:
        """Put people into the audience."""
        return self.upsert(records)

    def update(self, records: Records) -> Flow:
        """Renew the fields of people who are in the audience."""
        return self.upsert(records)

    def remove(self, records: Records) -> Flow:
        """Take people out of the audience."""
        raise NotImplementedError  # where it is not overridden, `modes` has no mirror

    def insert(self, records: Records) -> Flow:
        """Create people; who is there already stays as they are."""
        raise NotImplementedError  # where it is not overridden, `modes` has no insert

    def change(self, records: Records) -> Flow:
        """Update people who are there; nobody is created."""
        raise NotImplementedError  # where it is not overridden, `modes` has no update

    def track(self, records: Records) -> Flow:
        """Send an event of each person, `records.event`, with the fields as its properties."""
        raise NotImplementedError  # where it is not overridden, `modes` has no events

    def delete(self, records: Records) -> Flow:
        """Erase people there, with all that is held of them; who is not there is done."""
        raise NotImplementedError  # where it is not overridden, `modes` has no delete

    def read(self, audience: str, cursor: str | None = None) -> Reading:
        """One page of the people whom it holds in the audience: the first, or the one that `next` of the page
        before named."""
        raise NotImplementedError  # where it is not overridden, `can_read` is false

    def audience_of(self, audience: str) -> str | None:
        """What the configuration says that an audience is called there."""
        return None

    def uses_audience(self, mode: str) -> bool:
        """Whether a mode delivers to an audience that has an id of its own."""
        return True

    def delivers_to(self, audience: str, mode: str, base_url: str | None = None) -> dict[str, str]:
        """Where it delivers an audience to, by name: its type, host and path (`base_url` without secrets,
        where it is not the usual one), and what there is of account, container and the audience's id."""
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

    def prepare(self, mode: str, whole: Records, fields: Mapping[str, str]) -> Asking[Records]:
        """What has to be known of the destination before anything is sent, asked once a run: gives `whole`
        with it. `fields` are the mapped ones, with the engine's types of their values. Raises Refused, in a
        sentence that says what to set, when they or the audience are not there."""
        return whole
        yield

    def finish(self, whole: Records, counts: Mapping[str, int]) -> Asking[None]:
        """What is to be said after the last batch, once a run in which every record was answered. `counts`
        are the records that were accepted, by operation. A run that fails here is no success."""
        return
        yield

    def marked(self, mode: str, whole: Records) -> Asking[str | None]:
        """The text that may have the mark of the sync's last run (`marks.py`); None where there is none."""
        return None  # where it is not overridden, `keeps_marks` is false
        yield

    def mark(self, mode: str, whole: Records, text: str) -> Asking[None]:
        """Keep a mark in the place of the one before."""
        return
        yield

    @property
    def keeps_marks(self) -> bool:
        """Whether it has a place for the mark of a sync's last run."""
        return type(self).marked is not Destination.marked

    def takes_whole(self, mode: str) -> bool:
        """Whether each run that changes anything gives it the whole audience: as after a run that was not
        finished, every member is then sent, and who left is only counted."""
        return False

    def placed(self, root: Path) -> Self:
        """The same, with the paths in its configuration that are relative taken from `root`."""
        return self

    def known_from(self, project: str | None, filled_in: Iterable[FilledIn] = ()) -> Self:
        """The same, which knows the project that it is of, and what of its configuration is not written in
        revetl.yml."""
        made = self.model_copy()
        made._project, made._filled_in = project, tuple(filled_in)
        return made

    @property
    def project(self) -> str | None:
        """The project that it is configured in."""
        return self._project

    @property
    def filled_in(self) -> tuple[FilledIn, ...]:
        """The values of its configuration that come from elsewhere than revetl.yml."""
        return self._filled_in

    def connection_options(self) -> Mapping[str, Any]:
        """What its requests are carried with, where they go to another place than a web address."""
        return {}

    def probe(self) -> httpx.Request:
        """A harmless request that needs the credentials, for `revetl debug`."""
        raise NotImplementedError  # where it is not overridden, `can_probe` is false

    def judge(self, response: httpx.Response) -> Verdict:
        """What a response means for its batch: by its status, unless the tool says it in the body."""
        return verdict(response.status_code, self.statuses)

    def heard(self, response: httpx.Response) -> tuple[Verdict, str | None]:
        """What a response means for its batch; and where it would be success, why it is not one of the tool's
        answers after all, in words."""
        try:
            judged = self.judge(response)
        except UNLIKE:
            judged = verdict(response.status_code, {})
            return judged, "JSON of another form" if judged is Verdict.PASS else None
        return judged, self.misread(response) if judged is Verdict.PASS else None

    def misread(self, response: httpx.Response) -> str | None:
        """Why an answer is not one that is understood as success; None where it is, or is an error that the
        flow reads."""
        entry = entry_of(response.request, self.understood)
        if entry is None or not response.is_success:
            return None
        return misread(response, entry.shape)

    def is_repeatable(self, request: httpx.Request) -> bool:
        """Whether a request whose answer was not understood can be sent again without effect."""
        entry = entry_of(request, self.understood)
        return entry is None or entry.again

    def sends_at_most_once(self, mode: str) -> bool:
        """Whether a record whose outcome is unknown is not sent again by itself, as nothing there recognizes
        what was sent before. Other records are sent until their outcome is known."""
        return False

    def may_repeat(self, request: httpx.Request) -> bool:
        """Whether a request can be sent again when an earlier attempt of it may have been applied."""
        return True

    def daily_limit(self, mode: str) -> int | None:
        """The most records that are sent in 24 hours in a mode, by the configuration."""
        return None

    def charge(self, request: httpx.Request) -> int:
        """How much of `charged_in` a request costs."""
        return 0

    def pause(self, response: httpx.Response) -> float | None:
        """Seconds that a response asks all to pause for, where the tool has headers of its own for it;
        `Retry-After` and the usual ones of quotas are heeded without."""
        return None

    def asked_pause(self, response: httpx.Response) -> float | None:
        """The same; None for an answer of another form."""
        try:
            return self.pause(response)
        except UNLIKE:
            return None

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """The sets of identifiers by each of which somebody is found in a mode, where the whole set is given.
        Plans count by it, and records are rejected by it."""
        return tuple(frozenset({each.name}) for each in self.known_by if each.alone)

    def unidentified(self, mode: str, record: Record) -> str | None:
        """Why nobody can be found by a record's identifiers in a mode; None when somebody can."""
        given = {name for name, value in record.identifiers.items() if value not in (None, "")}
        if any(each <= given for each in self._found_by(mode)):
            return None
        return lacking(self._found_by(mode), given)

    def _found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """`found_by`, which is asked of each record."""
        if mode not in self._ways:
            self._ways[mode] = self.found_by(mode)
        return self._ways[mode]

    def adjusted(self, mode: str, record: Record) -> tuple[Record, Mapping[str, str]]:
        """The record as the tool takes it, and by field what was done to it: a property that the tool has no
        form for is changed or left out, and does not cost the record. The run says how many there were."""
        return record, {}

    def unfit(self, mode: str, whole: Records, record: Record) -> str | None:
        """Why a record by which somebody is found cannot be sent in a mode, as a part of `whole`; None when
        it can. For tools that say nothing of what they drop."""
        return None

    @property
    def upsert_joins(self) -> bool:
        """Whether an upsert puts people into the audience, as where it is all that there is."""
        return type(self).add is Destination.add

    @property
    def can_read(self) -> bool:
        """Whether this configuration can be asked whom it holds in an audience."""
        return type(self).read is not Destination.read

    @property
    def can_probe(self) -> bool:
        """Whether it can be asked if the credentials are right."""
        return type(self).probe is not Destination.probe

    @property
    def unprobed(self) -> str | None:
        """What of the configuration a probe that succeeds does not tell, in words."""
        return None

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        """The identifiers of this configuration."""
        return self.identifiers

    @classmethod
    def identifier_choices(cls) -> tuple[IdentifierChoice, ...]:
        """The identifiers that configurations of this type have; `known_by` has those of one."""
        key = cls.identifier_key
        if key is None:
            return tuple(IdentifierChoice(each) for each in cls.identifiers)
        usual = (IdentifierChoice(each, {key: each.name}) for each in cls.identifiers)
        return (*usual, IdentifierChoice(Identifier("", column="user_id"), named_by=key))

    @property
    def declared(self) -> tuple[Attribute, ...]:
        """The fields that this configuration is known to have."""
        return self.known_fields

    def declared_in(self, mode: str) -> tuple[Attribute, ...]:
        """The fields that are known of what a mode writes, where that is something else than people."""
        return self.declared

    def kinds_of(self, mode: str) -> Mapping[str, str | None]:
        """The kinds of values of the fields that are known without asking; an event has properties, which
        have none."""
        if mode in ("events", "audience_events"):
            return {}
        return {each.name: each.type for each in self.declared if each.type != TEXT}

    @property
    def limits(self) -> Batch:
        """The batch limits of this configuration."""
        return self.batch

    def limits_of(self, mode: str) -> Batch:
        """The batch limits of a mode, where its calls have their own."""
        return self.limits

    @property
    def pace(self) -> Rate | None:
        """The request rate of this configuration."""
        return Rate(self.requests_per_second) if self.requests_per_second else self.rate

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        """The sync modes this destination can do."""
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

    def flow(self, mode: str, records: Records) -> Flow:
        """The flow that delivers a planned batch."""
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
        """Headers of every request: credentials and versions."""
        return {}

    def auth(self) -> httpx.Auth | None:
        """How requests are signed, where a header does not do."""
        return None

    def post(self, path: str, *, json: Any, headers: Mapping[str, str] | None = None) -> httpx.Request:
        """A POST of `json` to `path` under the base URL."""
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
        """A call of `path` under the base URL, with `json` as its body where there is any."""
        said = {} if json is None else {"Content-Type": "application/json"}
        return httpx.Request(
            method,
            self.base_url.rstrip("/") + path,
            params=params or None,
            headers={**self.headers(), **said, **(headers or {})},
            content=None if json is None else orjson.dumps(json),
        )

    def tls(self) -> ssl.SSLContext | None:
        """How connections are secured, where the usual certificates do not do. Raises UsageError for files
        that cannot be used."""
        return None

    @classmethod
    def secret_names(cls) -> list[str]:
        """The configuration's keys that are secrets; those of a part of it after its name and a dot."""
        return names_of_secrets(cls)

    def secrets(self) -> tuple[str, ...]:
        """Every secret value of the configuration, to be kept out of whatever is shown."""
        headers = getattr(self, "extra_headers", {}).values()
        carried = carried_parts(self._filled_in, self.base_url, headers)
        return tuple(dict.fromkeys((*secrets_in(self), *secret_parts(self._filled_in), *carried)))
