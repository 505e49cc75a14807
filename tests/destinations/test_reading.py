"""Reading an audience back, through the connector, with no network."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import httpx
import pytest

from revetl.destinations import TYPES, destination_class, make_destination
from revetl.destinations.base.destination import AudienceMember, Page, Refused

HOOK = {"type": "webhook", "url": "https://hooks.example.com/in"}
READ = {**HOOK, "read_url": "https://hooks.example.com/members"}


def page_of(config: dict[str, Any], body: str, cursor: str | None = None) -> tuple[httpx.Request, Page]:
    """The request for a page of `high churn`, and the page in the answer."""
    flow = make_destination(config, "case").read("high churn", cursor)
    request = next(flow)
    assert isinstance(request, httpx.Request)
    with pytest.raises(StopIteration) as end:
        flow.send(httpx.Response(200, content=body, request=request))
    return request, end.value.value


@pytest.mark.parametrize(
    ("config", "cursor", "url"),
    [
        (READ, None, "https://hooks.example.com/members?audience=high+churn"),
        (READ, "a&b", "https://hooks.example.com/members?audience=high+churn&cursor=a%26b"),
        (
            {**READ, "read_url": "https://x.example/?team=a"},
            None,
            "https://x.example/?team=a&audience=high+churn",
        ),
    ],
    ids=["the first page", "the page after", "a URL with a query"],
)
def test_a_page_is_asked_for(config: dict[str, Any], cursor: str | None, url: str) -> None:
    request, _ = page_of(
        {**config, "headers": {"X-Team": "growth"}, "secret": "k"}, '{"members": []}', cursor
    )
    signature = hmac.new(b"k", request.url.query, hashlib.sha256).hexdigest()
    assert (request.method, str(request.url), request.content) == ("GET", url, b"")
    assert request.headers["X-Team"] == "growth"
    assert request.headers["X-Revetl-Signature"] == f"sha256={signature}"


@pytest.mark.parametrize(
    ("body", "page"),
    [
        ('{"members": [], "next": null}', Page(())),
        (
            '{"members": [{"id": "u1", "fields": {"n": 1}}, {"id": 2}], "next": 20}',
            Page((AudienceMember({"id": "u1"}, {"n": 1}), AudienceMember({"id": 2})), "20"),
        ),
    ],
    ids=["nobody", "members with fields and without, and a page to come"],
)
def test_a_page_is_read(body: str, page: Page) -> None:
    assert page_of(READ, body)[1] == page


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"members": [1]}', '{"members": [{"id": "u1", "fields": []}]}']
)
def test_what_is_no_page_is_refused(body: str) -> None:
    flow = make_destination(READ, "case").read("vips")
    request = next(flow)
    assert isinstance(request, httpx.Request)
    with pytest.raises(Refused, match="Fix its response, or remove read_url"):
        flow.send(httpx.Response(200, content=body, request=request))


def test_only_who_has_the_operation_can_be_read() -> None:
    able = {kind for kind in TYPES if "read" in vars(destination_class(kind, "case"))}
    assert able == {"webhook"}
    assert [make_destination(config, "case").can_read for config in (HOOK, READ)] == [False, True]
    assert not make_destination({"type": "segment", "write_key": "k"}, "case").can_read
