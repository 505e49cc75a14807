"""Polytomic's own client, as a second opinion: it asks for the same, and reads the same of the answers."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from revetl.destinations import make_destination
from revetl.destinations.polytomic.destination import Polytomic

polytomic = pytest.importorskip("polytomic")
SYNC, RUN = "248df4b7-aa70-47b8-a036-33ac447e668d", "0ecd09c1-b901-4d27-9053-f0367c427254"
ANSWER = {"data": {"id": RUN, "status": "completed", "counts": {"error": 2}, "error_count": 2}}


def _shown(request: httpx.Request) -> tuple[Any, ...]:
    names = ("Authorization", "X-Polytomic-Version", "Idempotency-Key")
    body = json.loads(request.content) if request.content else None
    return request.method, str(request.url), [request.headers.get(name) for name in names], body


@pytest.mark.parametrize("kind", ["model", "bulk"])
def test_the_client_asks_for_the_same(kind: str) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json=ANSWER)

    client = polytomic.Polytomic(
        token="KEY", httpx_client=httpx.Client(transport=httpx.MockTransport(answer))
    )
    ours = make_destination(
        {"type": "polytomic", "api_key": "KEY", "sync_id": SYNC, "kind": kind, "full_resync": True}, "test"
    )
    assert isinstance(ours, Polytomic)
    if kind == "bulk":
        client.bulk_sync.start(SYNC, resync_mode="resync", idempotency_key="run-0")
        theirs = client.bulk_sync.executions.get(SYNC, RUN)
    else:
        client.model_sync.start(SYNC, resync=True, idempotency_key="run-0")
        theirs = client.model_sync.executions.get(SYNC, RUN)
    assert [_shown(each) for each in sent] == [
        _shown(ours.start(SYNC, "run-0")),
        _shown(ours.ask(SYNC, RUN)),
    ]
    read = ours.read_run(httpx.Response(200, json=ANSWER))
    errors = theirs.data.error_count if kind == "bulk" else theirs.data.counts.error
    assert (read.status, read.rejected) == (theirs.data.status, errors)
