"""Transactional email through SendGrid's `mail/send`: docs/destinations/sendgrid.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar

import httpx
from pydantic import BeforeValidator, Field, model_validator

from revetl.config.base import ConfigModel
from revetl.destinations.base.destination import (
    Batch,
    Flow,
    Record,
    Records,
    Refused,
    Result,
)
from revetl.destinations.base.records import SyncContext
from revetl.destinations.base.timestamps import too_old
from revetl.destinations.sendgrid.client import SendGridApi

SEND = "/v3/mail/send"
EVENT_ID = "revetl_event_id"
"""The custom argument that identifies the event in SendGrid's activity and webhooks."""
LARGEST_BYTES = 30_000_000


class Address(ConfigModel):
    """An email address, and the name shown with it."""

    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    name: str | None = None

    @property
    def as_json(self) -> dict[str, str]:
        return {"email": self.email, **({"name": self.name} if self.name else {})}


def _as_address(value: Any) -> Any:
    return {"email": value} if isinstance(value, str) else value


class UnsubscribeGroups(ConfigModel):
    """The unsubscribe group of an email, and the groups on its preferences page."""

    group_id: int
    groups_to_display: Annotated[tuple[int, ...], Field(max_length=25)] = ()

    @property
    def as_json(self) -> dict[str, Any]:
        shown = {"groups_to_display": [*self.groups_to_display]} if self.groups_to_display else {}
        return {"group_id": self.group_id, **shown}


GivenAddress = Annotated[Address, BeforeValidator(_as_address)]
Category = Annotated[str, Field(min_length=1, max_length=255)]


class Email(ConfigModel):
    """The parts of an email besides the event: `template_id` is the id of a dynamic template."""

    template_id: Annotated[str | None, Field(pattern="^d-.")] = None
    sender: Annotated[GivenAddress | None, Field(validation_alias="from")] = None
    reply_to: GivenAddress | None = None
    categories: Annotated[tuple[Category, ...] | None, Field(max_length=10)] = None
    asm: UnsubscribeGroups | None = None


class Mail(Email):
    """The emails of a destination; `events` overrides settings by event name. `to_name` is the property with
    the recipient's name."""

    events: Mapping[str, Email] = {}
    to_name: str | None = None
    sandbox_mode: bool = False
    most_per_day: Annotated[int | None, Field(ge=1, validation_alias="daily_limit")] = None
    max_event_age_hours: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_sent_by_somebody(self) -> Mail:
        if self.sender is None:
            raise ValueError("from is missing: set it to a verified sender of the account")
        return self

    def email(self, event: str) -> Email:
        """Return the email of an event: its own settings override the common ones."""
        own = self.events.get(event, self)
        return Email.model_construct(
            **{
                name: getattr(self if getattr(own, name) is None else own, name)
                for name in Email.model_fields
            }
        )


class SendsMail(SendGridApi):
    """Sends events as emails. The API can't deduplicate emails, so each is sent at most once: an email with
    an unknown outcome is only sent again on request."""

    mail: Mail | None = None

    mail_limits: ClassVar[Batch] = Batch(records=1, bytes=LARGEST_BYTES)
    """One email per request: an error or unknown outcome affects the whole request."""

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        # People enter and leave audiences repeatedly, so an unknown outcome could be mailed twice.
        return tuple(mode for mode in super().modes() if mode != "audience_events")

    def limits_of(self, mode: str) -> Batch:
        return self.mail_limits if mode == "events" else super().limits_of(mode)

    def sends_at_most_once(self, mode: str) -> bool:
        return mode == "events"

    def may_repeat(self, request: httpx.Request) -> bool:
        return not request.url.path.endswith(SEND)

    def misread(self, response: httpx.Response) -> str | None:
        is_live = self.mail is not None and not self.mail.sandbox_mode
        is_email = response.request.url.path.endswith(SEND)
        if is_live and is_email and response.is_success and response.status_code != 202:
            return f"status {response.status_code}, not 202"
        return super().misread(response)

    def daily_limit(self, mode: str) -> int | None:
        return self.mail.most_per_day if self.mail is not None and mode == "events" else None

    def delivers_to(self, audience: str, mode: str, base_url: str | None = None) -> dict[str, str]:
        found = super().delivers_to(audience, mode, base_url)
        if mode == "events" and self.mail is not None:
            # Emails in sandbox mode are only validated, and reach nobody.
            found["container"] = "sandbox_mode" if self.mail.sandbox_mode else "recipients"
        return found

    def unfit(self, mode: str, context: SyncContext, record: Record) -> str | None:
        if mode != "events":
            return super().unfit(mode, context, record)
        if record.identifiers.get("email") in (None, ""):
            return "it has no email address to send to"
        if self.mail is None:
            return None
        event = context.event_of(record)
        if self.mail.email(event).template_id is None:
            return f"no template configured for '{event}': set mail.template_id or mail.events"
        if self.mail.max_event_age_hours is None:
            return None
        longest = timedelta(hours=self.mail.max_event_age_hours)
        return too_old(record.timestamp, context.at, longest, "mail.max_event_age_hours")

    def track(self, records: Records) -> Flow:
        for record in records:
            yield self.post(SEND, json=self.email_of(records, record))
        return Result()

    def email_of(self, records: Records, record: Record) -> dict[str, Any]:
        """Return the body of one email."""
        mail = self.checked_mail(records.event)
        made = mail.email(records.event_of(record))
        assert made.sender is not None
        name = record.fields.get(mail.to_name) if mail.to_name else None
        to = {"email": str(record.identifiers["email"]), **({"name": str(name)} if name else {})}
        body: dict[str, Any] = {
            "personalizations": [
                {
                    "to": [to],
                    "dynamic_template_data": dict(record.fields),
                    "custom_args": {EVENT_ID: records.change_id(record)},
                }
            ],
            "from": made.sender.as_json,
            "template_id": made.template_id,
        }
        if made.reply_to is not None:
            body["reply_to"] = made.reply_to.as_json
        if made.categories:
            body["categories"] = [*made.categories]
        if made.asm is not None:
            body["asm"] = made.asm.as_json
        if mail.sandbox_mode:
            body["mail_settings"] = {"sandbox_mode": {"enable": True}}
        return body

    def checked_mail(self, event: str | None) -> Mail:
        """Return the email settings. Raises Refused if there are none, or no template for the `event` that
        all records are tracked as."""
        if self.mail is None:
            raise Refused(
                "SendGrid: mode 'events' sends emails, but the destination has no 'mail:'. Set mail.from and "
                "mail.template_id."
            )
        if event and self.mail.email(event).template_id is None:
            raise Refused(
                f"SendGrid: no template configured for '{event}'. Set mail.template_id, or add it to "
                "mail.events."
            )
        return self.mail
