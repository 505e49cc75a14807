"""A destination that has us wait: it is said, for how long and until when, and it has an end."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from revetl.delivery.http import CircuitOpen, Transport
from revetl.sync.plan.options import SyncOptions
from revetl.sync.run import Progress
from tests.helpers.gate import Answer, gate
from tests.helpers.project import ProjectFolder
from tests.helpers.sender import send, send_all, webhook


def limited(seconds: float, status: int = 429) -> Answer:
    return Answer(status, {"Retry-After": f"{seconds:g}"})


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("seconds", "config"), [(301, {}), (3_599, {}), (30, {"max_pause": 20}), (1e20, {})])
def test_a_pause_that_is_too_long_ends_the_run_at_once(
    status: int, seconds: float, config: dict[str, Any]
) -> None:
    started = time.monotonic()
    with gate(lambda seen: limited(seconds, status)) as here:
        (error,) = asyncio.run(send_all(webhook(here.url, **config), "a", 1))
    assert (type(error), len(here.seen), time.monotonic() - started < 5) == (CircuitOpen, 1, True)
    limit = "0:00:20" if config else "0:05:00"
    said = rf"asks for a pause of [\w:, ]+, until \d\d:\d\d:\d\d UTC: {status} Said .*max_pause .*{limit}"
    assert re.search(said, str(error)), str(error)


def test_many_short_pauses_are_a_long_one() -> None:
    """Each is within the limit, and nothing is accepted between them."""
    started = time.monotonic()
    with gate(lambda seen: limited(0.4)) as here:
        (error,) = asyncio.run(send_all(webhook(here.url, max_pause=1), "a", 1))
    assert (type(error), time.monotonic() - started < 5) == (CircuitOpen, True)
    assert len(here.seen) <= 3


def test_pauses_between_which_something_is_accepted_are_no_long_one() -> None:
    with gate(lambda seen: limited(0.4) if seen.number % 2 else Answer()) as here:
        outcomes = asyncio.run(send_all(webhook(here.url, max_pause=1, max_in_flight=1), "a", 5))
    assert outcomes == [200] * 5


def test_what_a_sync_waits_for_is_said_once_and_to_who_shares_the_account(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first: list[str] = []
    second: list[str] = []

    async def both(url: str) -> None:
        destination = webhook(url, secret="s3cret")
        async with (
            Transport(destination, first.append) as one,
            Transport(destination, second.append) as other,
        ):
            sending = asyncio.create_task(send(one, destination, ["a-0"]))
            await asyncio.sleep(0.3)
            await asyncio.gather(sending, send(other, destination, ["b-0", "b-1", "b-2"]))

    with gate(lambda seen: limited(3.5) if seen.number == 0 else Answer()) as here:
        asyncio.run(both(here.url))
    when = r"127\.0\.0\.1: waiting for 0:00:0\d, until \d\d:\d\d:\d\d UTC: "
    assert [bool(re.fullmatch(when + r"429 Said {}", said)) for said in first] == [True]
    assert [
        bool(re.fullmatch(when + "the destination paused another sync of the same account", said))
        for said in second
    ] == [True]
    logged = [
        vars(record)["fields"] for record in caplog.records if getattr(record, "event", "") == "waiting"
    ]
    assert [(each["host"], each["seconds"] >= 3) for each in logged] == [("127.0.0.1", True)] * 2


def test_a_sync_that_shares_the_account_of_one_that_ended_ends_too(tmp_path: Any) -> None:
    project = ProjectFolder(tmp_path / "shop")
    with gate(lambda seen: limited(3_000)) as here:
        config = {"type": "webhook", "url": here.url, "headers": {"Authorization": "Bearer k3y-of-all"}}
        project.destinations({"one": config, "two": config})
        meta = {"key": "user_id", "sync": [{"to": "one"}, {"to": "two"}]}
        project.audience("vips", "select 'u1' as user_id", meta)
        runs = project.open().sync("vips")
    assert [(run.status, run.exit_code) for run in runs] == [("refused", 4)] * 2
    assert len(here.seen) == 1
    assert "the destination paused another sync of the same account" in str(runs[1].error)


def test_a_wait_is_a_line_of_progress(tmp_path: Any) -> None:
    project = ProjectFolder(tmp_path / "shop")
    said: list[str] = []
    with gate(lambda seen: limited(3.2) if seen.number == 0 else Answer()) as here:
        project.destinations({"crm": {"type": "webhook", "url": here.url}})
        project.audience("vips", "select 'u1' as user_id", {"key": "user_id", "sync": [{"to": "crm"}]})
        opened = project.open()
        (sync,) = opened.select("vips")
        run = opened.run(sync, SyncOptions(), Progress(on_wait=said.append))
    assert (run.status, len(said)) == ("success", 1)
