"""Google Ads conversions through the Data Manager API: docs/destinations/google_conversions.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from revetl.config.events import cased
from revetl.destinations.auth.refresh import RefreshesToken
from revetl.destinations.base.answers import SuccessShape, misread
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Disposition,
    Flow,
    Identifier,
    RateLimit,
    Refused,
    object_of,
    poll,
)
from revetl.destinations.base.personal_data import WithholdsPersonalData
from revetl.destinations.base.records import (
    Record,
    Records,
    Rejection,
    Result,
    SyncContext,
)
from revetl.destinations.google import conversion_events as events
from revetl.destinations.google.common import (
    DATA_MANAGER,
    DATA_MANAGER_REQUESTS,
    AccountId,
    Consent,
    Url,
    errors_in,
    is_over_soon,
    retry_delay,
    without_invalid,
)
from revetl.destinations.google.conversion_status import is_processed, outcomes_of
from revetl.destinations.google.data_manager import account

ActionId = Annotated[str, Field(pattern="^[0-9]+$", coerce_numbers_to_str=True)]
Source = Literal["WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"]
MOST_ACTIONS = 10
"""Maximum destinations per request: a batch goes to all of them at once."""
ENTERED, EXITED = "Audience Entered", "Audience Exited"
PROBE = "revetl debug"
FIRST_WAIT, LONGEST_WAIT = 60.0, 1_800.0
"""Seconds between status requests; Google needs half an hour or more to process a request."""
_PLACE = re.compile(r"\bevents\[([0-9]+)\]")
_VALIDATED = {"requestId?": str, "fieldWarnings?": [dict]}

UNDERSTOOD = (
    SuccessShape("POST /v1/events:ingest", {"requestId": str, "fieldWarnings?": [dict]}),
    SuccessShape("GET /v1/requestStatus:retrieve", {"requestStatusPerDestination": [{"requestStatus": str}]}),
)


def _by_name(value: object) -> object:
    return (
        {cased(str(name), "snake_case"): each for name, each in value.items()}
        if isinstance(value, Mapping)
        else value
    )


class GoogleConversions(RefreshesToken, WithholdsPersonalData):
    """Conversions of Google Ads: by ad clicks, and by hashed emails, phone numbers and addresses."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=2_000)
    rate: ClassVar[RateLimit | None] = RateLimit(requests=DATA_MANAGER_REQUESTS, per_seconds=60)
    matches_by_all: ClassVar[bool] = True
    named_is_allowed: ClassVar[bool] = False
    withholds_always: ClassVar[bool] = True
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("emailAddress", column="email", hashed="gmail"),
        Identifier("phoneNumber", column="phone", hashed="e164"),
        Identifier("givenName", column="first_name", hashed="lower", alone=False),
        Identifier("familyName", column="last_name", hashed="lower", alone=False),
        Identifier("regionCode", column="country", normalised="COUNTRY", alone=False),
        Identifier("postalCode", column="postal_code", normalised="text", alone=False),
        Identifier("gclid", column="gclid", normalised="text"),
        Identifier("gbraid", column="gbraid", normalised="text"),
        Identifier("wbraid", column="wbraid", normalised="text"),
        Identifier("sessionAttributes", column="session_attributes", normalised="text", alone=False),
    )
    account_fields: ClassVar[tuple[str, ...]] = ("customer_id",)
    container_fields: ClassVar[tuple[str, ...]] = ("conversion_action_id",)

    type: Literal["google_conversions"]
    customer_id: AccountId
    login_customer_id: AccountId | None = None
    conversion_action_id: ActionId | None = None
    conversion_actions: Annotated[Mapping[str, ActionId], BeforeValidator(_by_name)] = {}
    event_source: Source = "WEB"
    ad_user_data: Consent | None = None
    ad_personalization: Consent | None = None
    custom_variables: tuple[str, ...] = ()
    merchant_id: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    merchant_feed_label: str | None = None
    merchant_feed_language_code: str | None = None
    validate_only: bool = False
    status_timeout: Annotated[float, Field(ge=0)] = 0.0
    base_url: Url = DATA_MANAGER
    token_url: Url = "https://oauth2.googleapis.com/token"  # noqa: S105
    _failed: dict[str, Counter[str]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _has_an_action(self) -> GoogleConversions:
        if self.conversion_action_id is None and not self.conversion_actions:
            raise ValueError(
                "Set conversion_action_id, or conversion_actions with one action per event: "
                "{Order Completed: 123456789}."
            )
        if len(self.actions) > MOST_ACTIONS:
            raise ValueError(
                f"{len(self.actions)} conversion actions exceed Google's maximum of {MOST_ACTIONS} per "
                "request. Configure another destination for the others."
            )
        return self

    @property
    def actions(self) -> tuple[str, ...]:
        """Return the distinct ids of the conversion actions."""
        named = [*self.conversion_actions.values(), self.conversion_action_id]
        return tuple(dict.fromkeys(each for each in named if each is not None))

    @property
    def consent(self) -> dict[str, str]:
        """Return the consent set in the configuration."""
        said = {"adUserData": self.ad_user_data, "adPersonalization": self.ad_personalization}
        return {name: value for name, value in said.items() if value is not None}

    @property
    def cart(self) -> dict[str, str]:
        """Return the Merchant Center feed of items, if configured."""
        said = {
            "merchantId": self.merchant_id,
            "merchantFeedLabel": self.merchant_feed_label,
            "merchantFeedLanguageCode": self.merchant_feed_language_code,
        }
        return {name: value for name, value in said.items() if value is not None}

    def action_of(self, event: str) -> str | None:
        """Return the conversion action of an event; None if it has none. Leaving an audience is a conversion
        only if configured."""
        usual = None if event == EXITED else self.conversion_action_id
        return self.conversion_actions.get(cased(event, "snake_case"), usual)

    def track(self, records: Records) -> Flow:
        """Send events; a request is accepted completely or not at all. For people who left an audience,
        nothing is sent unless that is a conversion."""
        sent = [at for at, each in enumerate(records) if self.action_of(records.event_of(each)) is not None]
        made = [self.event(records, records.records[at]) for at in sent]
        found, answer = yield from without_invalid(
            len(sent), _PLACE, lambda left: self.ingest([made[at] for at in left])
        )
        rejected: dict[int, str | Rejection] = {sent[at]: why for at, why in found.items()}
        if self.validate_only and sent:
            raise Refused(_validated(len(sent), rejected))
        if answer is not None and self.status_timeout:
            actions = {
                at: str(self.action_of(records.event_of(records.records[at])))
                for at in sent
                if at not in rejected
            }
            rejected |= yield from self.processed(records, str(answer.json()["requestId"]), actions)
        return Result(rejected=rejected)

    def event(self, records: Records, record: Record) -> dict[str, Any]:
        """Return an event, including its conversion action if there are several."""
        made = events.event_of(
            record,
            event_id=records.change_id(record),
            at=str(records.at),
            source=self.event_source,
            consent=self.consent,
            cart=self.cart,
            custom_variables=self.custom_variables,
        )
        if len(self.actions) > 1:
            made["destinationReferences"] = [self.action_of(records.event_of(record))]
        return made

    def ingest(self, made: list[dict[str, Any]], *, validate_only: bool = False) -> httpx.Request:
        """Build the request for some events."""
        wanted = {name for each in made for name in each.get("destinationReferences", [])}
        body: dict[str, Any] = {
            "destinations": [self.target(each) for each in self.actions if not wanted or each in wanted],
            "events": made,
        }
        if any("userData" in each for each in made):
            body["encoding"] = "HEX"
        if validate_only or self.validate_only:
            body["validateOnly"] = True
        return self.post("/v1/events:ingest", json=body)

    def target(self, action: str) -> dict[str, Any]:
        """Return a conversion action as a Destination."""
        made: dict[str, Any] = {
            "operatingAccount": account(self.customer_id),
            "productDestinationId": action,
        }
        if self.login_customer_id not in (None, self.customer_id):
            made["loginAccount"] = account(str(self.login_customer_id))
        return {"reference": action, **made} if len(self.actions) > 1 else made

    def processed(
        self, records: Records, request_id: str, actions: Mapping[int, str]
    ) -> Asking[dict[int, Rejection]]:
        """Wait until a request is processed. Returns the rejections of events (by index, with their
        conversion actions) of actions where all failed; partial failures are only counted, and reported by
        `finish`."""
        last = yield from poll(
            lambda: self.request("GET", "/v1/requestStatus:retrieve", params={"requestId": request_id}),
            is_processed,
            first=FIRST_WAIT,
            longest=LONGEST_WAIT,
            limit=self.status_timeout,
        )
        # Outcomes are in the order of the request's destinations.
        targets = [each for each in self.actions if each in actions.values()]
        outcomes = dict(zip(targets, outcomes_of(last, len(targets)), strict=True))
        for outcome in outcomes.values():
            if not outcome.failed:
                self._failed.setdefault(_run(records), Counter()).update(outcome.counts)
        return {at: outcomes[action].rejection for at, action in actions.items() if outcomes[action].failed}

    def finish(self, context: SyncContext, counts: Mapping[str, int]) -> Asking[None]:
        failed = self._failed.pop(_run(context), Counter())
        if failed:
            reasons = ", ".join(f"{reason} ({count:,})" for reason, count in failed.most_common())
            raise Refused(
                f"Google did not record {failed.total():,} of the accepted events: {reasons}. It does "
                "not report which ones, so none are sent again."
            )
        return
        yield

    def adjusted(self, mode: str, record: Record) -> tuple[Record, Mapping[str, str]]:
        return events.fitted(record, self.custom_variables)

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """A complete address is as sufficient as an email."""
        return (*super().found_by(mode), frozenset(events.ADDRESS))

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        is_exit = mode == "audience_events" and context.operation == "remove"
        name = context.event_of(record)
        if mode == "audience_events":
            name = EXITED if is_exit else ENTERED
        if wrong := events.refused(record, self.consent):
            return wrong
        if self.action_of(name) is None and not is_exit:
            return (
                f"the event '{name}' has no conversion action. Add it to conversion_actions, or exclude "
                "it (other_events: skip)"
            )
        return None

    def probe(self) -> httpx.Request:
        """Validate a placeholder event: this checks the account and the conversion actions."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        nobody = {"userIdentifiers": [{"emailAddress": "0" * 64}]}
        event = {"transactionId": PROBE, "eventTimestamp": now, "eventSource": self.event_source}
        return self.ingest([{**event, "userData": nobody}], validate_only=True)

    def judge(self, response: httpx.Response) -> Disposition:
        """Pass on errors that Google explains, to quote the explanation."""
        error = object_of(response, "error")
        codes = {code for code, _ in errors_in(error)}
        if is_over_soon(error, codes):
            return Disposition.RETRY
        judged = super().judge(response)
        explained = judged is Disposition.FATAL or (judged is Disposition.BISECT and bool(codes))
        return Disposition.PASS if error and explained else judged

    def misread(self, response: httpx.Response) -> str | None:
        """A validation response may have no request id."""
        if response.is_success and b'"validateOnly":true' in response.request.content:
            return misread(response, _VALIDATED)
        return super().misread(response)

    def pause(self, response: httpx.Response) -> float | None:
        return retry_delay(response)


def _run(context: SyncContext) -> str:
    return f"{context.sync} {context.run_id}"


def _validated(count: int, rejected: Mapping[int, str | Rejection]) -> str:
    """Summarize a validation, which sends nothing."""
    wrong = [why.reason if isinstance(why, Rejection) else why for why in rejected.values()]
    found = f"{count - len(wrong):,} of {count:,} events valid"
    invalid = f" (the others: {'; '.join(dict.fromkeys(wrong))})" if wrong else ""
    return (
        f"validate_only is set: Google found {found}{invalid}, and recorded none. "
        "Set validate_only: false to send them."
    )
