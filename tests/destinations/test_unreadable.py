"""An answer that a connector does not understand is not success: every connector, every call of its modes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from revetl.config.models import SyncConfig
from revetl.delivery.batches import cut_batches
from revetl.delivery.serializer import shaping_of
from revetl.destinations import TYPES, destination_class, make_destination
from revetl.destinations.base.answers import entry_of, table_of
from revetl.destinations.base.destination import (
    Asking,
    Destination,
    Disposition,
    Records,
    Wait,
)
from revetl.sandbox.setups import Setup, setups
from tests.conftest import SandboxClient
from tests.destinations.test_cases import records_of_rows

EMPTY, OBJECT, TEXT = "empty", "object", "text"
DOCUMENTED = {
    "close": {"DELETE */contact/*": [OBJECT]},
    "customer_io": {"POST */api/v2/batch": [OBJECT], "POST */segments/*": [EMPTY, OBJECT]},
    "fullstory": {"DELETE */v2/users*": [EMPTY, OBJECT]},
    "google_ads": {
        "POST *:addOperations": [OBJECT],
        "POST *googleAds:search": [OBJECT],
        "GET */userLists*": [OBJECT],
    },
    "google_analytics": {"POST */mp/collect": [EMPTY]},
    "heap": {"POST */api/*": [EMPTY, OBJECT]},
    "hubspot": {"POST */events/v3/send/batch": [EMPTY], "POST */contacts/gdpr-delete": [EMPTY]},
    "intercom": {"POST */events": [EMPTY, OBJECT]},
    "linkedin_ads": {"POST */rest/dmpSegments": [EMPTY, OBJECT]},
    "mailchimp": {"POST */delete-permanent": [EMPTY], "POST */events": [EMPTY]},
    "pendo": {"POST */data/track": [EMPTY, OBJECT], "GET */metadata/schema/*": [OBJECT]},
    "salesforce": {"PUT */batches": [EMPTY], "GET */jobs/ingest/*Results": [TEXT]},
    "sendgrid": {"DELETE */lists/*": [EMPTY, OBJECT]},
    "webhook": {"* *": [EMPTY, OBJECT, TEXT]},
}
"""Calls that the vendors document to answer without a body, with an object that has no key which is always
there, or (revetl's own contract) with whatever is not a page: those alone may be success."""

ERRORS = (400, 401, 403, 404, 409, 422, 429, 500)
ODD = (
    b"",
    b"<html>",
    b"[1]",
    b"null",
    b'{"error": [1], "errors": {"a": 1}, "details": 1, "params": 1, "message": null}',
    b'{"error": "no", "errors": [1, null, "x"], "users": [1], "multistatus": [1], "code": "x"}',
    b'{"error": {"details": {"a": 1}, "code": []}, "operation_errors": 1, "failed": "x"}',
)
"""Bodies of errors that no connector knows: they are errors all the same, and never an exception."""

PERSON = {
    "user_id": "u1",
    "email": "u1@example.com",
    "phone": "+447700900123",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "city": "London",
    "country": "GB",
    "postal_code": "N1C4AG",
    "company": "Analytical",
    "score": 7,
    "client_id": "1.2",
}
FIELDS = {"score": "score", "first_name": "first_name", "city": "city"}
MORE: dict[str, dict[str, Any]] = {
    "marketo": {"activity_types": {"Order Completed": {"id": 100, "primary": "email"}}},
    "hubspot": {"event_names": {"Order Completed": "pe1_order_completed"}},
}
SHORT = {
    ("google_ads.data_manager", "mirror"),
    ("salesforce.bulk", "mirror"),
    ("braze.subscription_group", "mirror"),
}
"""Of second ways to configure a destination, those whose calls are others."""
NOT_ASKED = {
    ("segment.rudderstack", "delete"),
    ("webhook.one_by_one", "events"),
    ("webhook.templated", "events"),
}
"""Modes that a way to configure a destination refuses, or has no template for."""


def _stories() -> Iterator[Any]:
    for name in sorted(setups()):
        modes = destination_class(name.partition(".")[0], name).modes()
        for mode in modes:
            if mode not in ("archive", "audience_events") and (name, mode) not in NOT_ASKED:
                marks = [] if (name, mode) in SHORT or "." not in name else [pytest.mark.long]
                yield pytest.param(name, mode, id=f"{name}: {mode}", marks=marks)


def _unreadable(answer: httpx.Response) -> dict[str, tuple[bytes, str, str | None]]:
    """By what it is, another body, its content type, and what would have to be documented for it."""
    page = b"<!DOCTYPE html><html><title>Sign in</title></html>"
    is_list = answer.content.startswith(b"[")
    found: dict[str, tuple[bytes, str, str | None]] = {
        "an empty body": (b"", "application/json", EMPTY),
        "a page": (page, "text/html; charset=utf-8", None),
        "a page that says it is JSON": (page, "application/json", None),
        "another form": (b"{}" if is_list else b"[]", "application/json", TEXT),
        "an object of other keys": (b'{"unexpected": true}', "application/json", OBJECT),
        "null": (b"null", "application/json", TEXT),
        "an error": (b'{"error": "no"}', "application/json", TEXT),
        "errors of another form": (b'{"errors": "no"}', "application/json", TEXT),
        "success: false": (b'{"success": false}', "application/json", TEXT),
        "a text": (b"Please sign in", "text/plain", TEXT),
    }
    if answer.content[:1] in (b"{", b"[") and len(answer.content) > 2:
        found["truncated JSON"] = (
            answer.content[: len(answer.content) // 2],
            "application/json",
            None,
        )
    return found


def _may_be(kind: str, request: httpx.Request, what: str | None) -> bool:
    line = f"{request.method} {request.url.path}"
    documented = DOCUMENTED.get(kind, {})
    found = [each for call, those in documented.items() if fnmatchcase(line, call) for each in those]
    return what is not None and (what in found or TEXT in found)


async def _walk(
    destination: Destination, asking: Asking[Any], seen: list[str], *, may_be: str | None = None
) -> Any:
    """Run a flow against the sandbox; each answer of it is tried in every other form as well, but for one
    that it `may_be` where it delivers nothing."""
    async with httpx.AsyncClient(auth=destination.auth(), verify=False) as client:
        try:
            step = next(asking)
            while True:
                if isinstance(step, Wait):
                    step = next(asking)
                    continue
                response = await client.send(step)
                while destination.judge(response) is Disposition.RETRY:
                    response = await client.send(step)
                assert destination.heard(response) == (Disposition.PASS, None), (step, response.text)
                seen.append(f"{step.method} {step.url.path}")
                if destination.type != "webhook":
                    assert entry_of(step, destination.understood) is not None, step
                for name, (content, kind, needed) in _unreadable(response).items():
                    headers = {"content-type": kind}
                    other = httpx.Response(200, content=content, headers=headers, request=step)
                    if needed != (may_be or "") and not _may_be(destination.type, step, needed):
                        assert destination.heard(other) != (Disposition.PASS, None), (step, name)
                for status, content in product(ERRORS, ODD):
                    odd = httpx.Response(status, content=content, request=step)
                    verdict, _ = destination.heard(odd)
                    destination.asked_pause(odd)
                    assert status != 401 or verdict is not Disposition.BISECT, (step, content)
                step = asking.send(response)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(("name", "mode"), _stories())
def test_an_unreadable_200_is_never_delivered(name: str, mode: str, sandbox: SandboxClient) -> None:
    setup = setups()[name]
    destination = make_destination({**setup.destination(sandbox.url), **MORE.get(setup.type, {})}, name)
    seen: list[str] = []
    asyncio.run(_tell(destination, setup, mode, seen))
    assert seen


async def _tell(destination: Destination, setup: Setup, mode: str, seen: list[str]) -> None:
    """Somebody is added, and then what the mode does becomes of them; before it, what `revetl debug` asks."""
    if destination.can_probe:
        await _walk(destination, _probe(destination), seen, may_be=OBJECT)
    made = next(each for each in ("mirror", "upsert", "events") if each in destination.modes())
    await _sent(destination, setup, made, "add", seen)
    if mode == "mirror":
        for operation in ("update", "remove"):
            await _sent(destination, setup, mode, operation, seen)
    elif mode != made:
        await _sent(destination, setup, mode, "add", seen)


def _probe(destination: Destination) -> Asking[None]:
    yield destination.probe()


async def _sent(destination: Destination, setup: Setup, mode: str, operation: str, seen: list[str]) -> None:
    event = "Order Completed" if mode == "events" else None
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = {} if mode in ("events", "delete") else dict(setup.sync.get("fields", {"score": "score"}))
    fields = FIELDS if setup.type == "webhook" else fields
    types = {name: "INTEGER" if column == "score" else "VARCHAR" for name, column in fields.items()}
    asked = Records("vips.it", "vips", "run", operation, (), event=event, at=now)
    whole = await _walk(destination, destination.prepare(mode, asked, types), seen)
    shaping = shaping_of(SyncConfig.model_validate({"to": "it", "mode": mode, "event": event}), destination)
    case = {
        "records": [{**PERSON, "at": now}],
        "mapping": fields,
        "identifiers": setup.sync.get("identifiers"),
        "timestamp": "at",
    }
    records = records_of_rows(destination, case, shaping, operation)
    for cut in cut_batches(destination, mode, whole, [(0, records)]):
        if cut.flow is not None:
            cut.flow.close()
            await _walk(destination, destination.flow(mode, cut.records), seen)


@pytest.mark.parametrize("kind", sorted(set(TYPES) - {"webhook"}))
def test_the_sheet_says_what_is_understood(kind: str) -> None:
    sheet = Path(__file__).resolve().parents[2] / "docs" / "destinations" / f"{kind}.md"
    assert table_of(destination_class(kind, kind).understood) in sheet.read_text()
