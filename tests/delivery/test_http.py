"""What a destination is asked at once and per second, by whoever sends to one account; and when that ends."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from revetl.delivery.http import (
    CircuitOpen,
    GaveUp,
    NotAccepted,
    Transport,
)
from revetl.delivery.rate_limiter import RateLimiter, account, budgets_dir
from revetl.destinations.base.spec import RateLimit
from revetl.errors import DestinationRefused, UsageError
from revetl.local import interprocess
from tests.helpers.gate import Answer, Gate, Seen, gate
from tests.helpers.sender import send, send_all, webhook
from tests.helpers.suites import first_fast

ROOT = Path(__file__).resolve().parents[2]
NAME = "a" * 32


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Budgets of this test alone."""
    monkeypatch.setenv("REVETL_BUDGET_DIR", str(tmp_path / "budgets"))
    return tmp_path / "budgets"


@contextmanager
def senders(*names: str, count: int, **config: Any) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that send so many requests each; they begin together."""
    arguments = [sys.executable, "-m", "tests.helpers.sender", json.dumps(config)]
    started = [
        subprocess.Popen(
            [*arguments, name, str(count)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def ended(processes: list[subprocess.Popen[str]]) -> list[str]:
    """What processes that have to end well said to stderr: nothing."""
    return [process.communicate(timeout=20)[1] for process in processes]


def most_in(seconds: float, here: Gate) -> int:
    """The most requests that came in any so many seconds."""
    times = [seen.at for seen in here.seen]
    return max(sum(first <= at < first + seconds for at in times) for first in times)


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.parametrize("at_once", first_fast([3, 1]))
def test_two_processes_share_what_may_be_in_flight(at_once: int) -> None:
    with (
        gate(lambda seen: Answer(seconds=0.03)) as here,
        senders("a", "b", count=20, url=here.url, secret="s3cret", max_in_flight=at_once) as both,
    ):
        assert ended(both) == ["", ""]
    assert (len(here.seen), here.most_inside) == (40, at_once)
    # Neither had to wait for the other to end.
    order = "".join(str(seen.json)[0] for seen in here.seen)
    assert order.index("b") < order.rindex("a"), order
    assert order.index("a") < order.rindex("b"), order


@pytest.mark.parametrize(
    ("other", "together"), [({"secret": "first"}, 2), ({"secret": "second"}, 4)], ids=["one", "two"]
)
def test_a_budget_is_of_an_account(other: dict[str, Any], together: int) -> None:
    async def both(url: str) -> None:
        here = webhook(url + "path/", secret="first", max_in_flight=2)
        there = webhook(url, max_in_flight=2, **other)
        await asyncio.gather(send_all(here, "a", 12), send_all(there, "b", 12))

    with gate(lambda seen: Answer(seconds=0.03)) as here:
        asyncio.run(both(here.url))
    assert here.most_inside == together


def test_two_processes_share_a_rate() -> None:
    config: dict[str, Any] = {"secret": "s3cret", "requests_per_second": 50}
    with gate() as here, senders("a", "b", count=35, url=here.url, **config) as both:
        assert ended(both) == ["", ""]
    assert len(here.seen) == 70
    # A few more than 50, for a request may be late on its way; 70 if each had a rate of its own.
    assert 40 <= most_in(1.0, here) <= 56
    assert 1.25 < here.seen[-1].at - here.seen[0].at < 2


def test_a_killed_process_frees_what_it_held() -> None:
    def rule(seen: Seen) -> Answer:
        return Answer(seconds=60 if seen.json in ("a-0", "a-1") else 0)

    with (
        gate(rule) as here,
        senders("a", count=2, url=here.url, max_in_flight=2) as (first,),
    ):
        wait_until(lambda: here.inside == 2)
        with senders("b", count=4, url=here.url, max_in_flight=2) as second:
            time.sleep(0.3)
            assert len(here.seen) == 2
            first.kill()
            assert ended(second) == [""]
    assert len(here.seen) == 6


def test_a_retry_after_stops_both_processes() -> None:
    def rule(seen: Seen) -> Answer:
        if seen.number == 20:
            return Answer(429, {"Retry-After": "1"})
        return Answer(seconds=0.01)

    with gate(rule) as here, senders("a", "b", count=30, url=here.url, max_in_flight=4) as both:
        assert ended(both) == ["", ""]
    told = here.seen[20].at
    assert len(here.seen) == 61
    # What had left by then may still come in.
    assert [seen.number for seen in here.seen if told + 0.1 < seen.at < told + 0.99] == []
    assert {str(seen.json)[0] for seen in here.seen if seen.at > told + 0.99} == {"a", "b"}


@pytest.mark.parametrize(
    "headers",
    [
        lambda: {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"},
        lambda: {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 2)},
        lambda: {"RateLimit": '"burst";r=9;t=9, "day";r=0;t=1'},
    ],
    ids=["seconds", "epoch", "IETF"],
)
def test_an_empty_quota_waits_until_it_is_renewed(headers: Callable[[], dict[str, str]]) -> None:
    with gate(lambda seen: Answer(headers=headers() if seen.number == 0 else {})) as here:
        asyncio.run(send_all(webhook(here.url, max_in_flight=1), "a", 3))
    first, second, third = (seen.at for seen in here.seen)
    assert 0.95 <= second - first <= 2.1
    assert third - second < 0.5


def test_429_halves_what_is_in_flight_and_success_brings_it_back() -> None:
    async def phases(here: Gate) -> None:
        destination = webhook(here.url, max_in_flight=8)
        budget = RateLimiter(account(here.url, ()), at_once=8)
        async with Transport(destination) as transport:
            # Eight in flight are told so at once: that is one halving.
            here.rule = lambda seen: Answer(429 if seen.number < 8 else 200, seconds=0.1)
            first = await send(transport, destination, [f"a-{i}" for i in range(8)])
            assert (first, here.most_inside, budget.at_once) == ([200] * 8, 8, 5)
            here.rule, here.most_inside = lambda seen: Answer(seconds=0.1), 0
            await send(transport, destination, [f"b-{i}" for i in range(5)])
            assert here.most_inside == 5
            await send(transport, destination, [f"c-{i}" for i in range(40)])
            assert (here.most_inside, budget.at_once) == (8, 8)
        budget.close()

    with gate() as here:
        asyncio.run(phases(here))


def test_one_halving_a_second_and_never_below_one() -> None:
    budget = RateLimiter(NAME, at_once=8)
    now = time.time()
    halved = []
    for sent_at in (now, now, now + 0.5, now + 1.5, now + 9, now + 19):
        budget.overloaded(sent_at)
        halved.append(budget.at_once)
    budget.close()
    assert halved == [4, 4, 4, 2, 1, 1]


@pytest.mark.parametrize(
    ("answer", "why"),
    [(Answer(503, body="down"), "503 Said down"), (Answer(0), "the connection broke")],
    ids=["503", "dropped"],
)
@pytest.mark.parametrize(("workers", "retries"), [(1, 0), (4, 1)])
def test_the_circuit_opens_when_nothing_gets_through(
    answer: Answer, why: str, workers: int, retries: int
) -> None:
    with gate(lambda seen: answer) as here:
        destination = webhook(here.url, max_in_flight=workers, retries=retries)
        outcomes = asyncio.run(send_all(destination, "a", 30))
    assert 5 <= len(here.seen) / (retries + 1) <= 5 + workers
    kinds = [type(outcome) for outcome in outcomes]
    assert set(kinds) == {GaveUp, CircuitOpen}
    assert kinds.count(GaveUp) == 4
    unsent = [outcome.surely_unsent for outcome in outcomes if isinstance(outcome, GaveUp)]
    assert not any(unsent[:5])
    assert all(unsent[5 + workers :])
    assert str(outcomes[-1]).startswith(f"Could not deliver to 127.0.0.1: {why}")
    assert isinstance(outcomes[-1], DestinationRefused)


def test_what_waits_when_the_circuit_opens_is_given_up_at_once() -> None:
    """One waits long before it is sent again, and is not waited for."""
    with gate(lambda seen: Answer(503, {"Retry-After": "7200"} if seen.number == 2 else {})) as here:
        start = time.monotonic()
        outcomes = asyncio.run(send_all(webhook(here.url, max_in_flight=3, retries=9), "a", 9))
    assert time.monotonic() - start < 3
    assert {type(outcome) for outcome in outcomes} == {CircuitOpen}
    assert "it asks for a pause of 2:00:00, until" in str(outcomes[0])


@pytest.mark.parametrize("workers", [1, 8])
def test_one_bad_batch_does_not_open_the_circuit(workers: int) -> None:
    async def run(url: str) -> tuple[list[BaseException | int], bool, bool]:
        destination = webhook(url, max_in_flight=workers, retries=1)
        async with Transport(destination) as transport:
            outcomes = await send(transport, destination, [f"a-{i}" for i in range(20)])
            return outcomes, transport.circuit_open, transport.got_through

    with gate(lambda seen: Answer(500 if seen.json == "a-7" else 200)) as here:
        outcomes, circuit_open, got_through = asyncio.run(run(here.url))
    assert type(outcomes.pop(7)) is GaveUp
    assert outcomes == [200] * 19
    assert (circuit_open, got_through) == (False, True)


def test_an_address_where_nobody_listens_opens_it_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        (outcome,) = asyncio.run(send_all(webhook(url, retries=1), "a", 1))
    assert type(outcome) is CircuitOpen
    assert outcome.surely_unsent
    assert "Could not deliver to 127.0.0.1: no connection" in str(outcome)


def test_a_timeout_after_the_request_left_is_unknown() -> None:
    with gate(lambda seen: Answer(seconds=5)) as here:
        (outcome,) = asyncio.run(send_all(webhook(here.url, retries=0, timeout=0.2), "a", 1))
    assert isinstance(outcome, GaveUp)
    assert (type(outcome), outcome.surely_unsent) == (GaveUp, False)
    assert "no answer in time" in str(outcome)


def test_halting_gives_up_what_waits() -> None:
    async def run(url: str) -> GaveUp:
        destination = webhook(url, retries=9)
        async with Transport(destination) as transport:
            sending = asyncio.create_task(transport.send(destination.post("", json="a")))
            await asyncio.sleep(0.2)
            transport.halt()
            with pytest.raises(GaveUp) as caught:
                await asyncio.wait_for(sending, 1)
            assert not transport.circuit_open
            return caught.value

    with gate(lambda seen: Answer(429, {"Retry-After": "30"})) as here:
        assert not asyncio.run(run(here.url)).surely_unsent


@pytest.mark.parametrize(
    ("status", "error"), [(400, NotAccepted), (413, NotAccepted), (401, DestinationRefused)]
)
def test_other_answers_are_no_failures_to_get_through(status: int, error: type[Exception]) -> None:
    with gate(lambda seen: Answer(status)) as here:
        outcomes = asyncio.run(send_all(webhook(here.url), "a", 9))
    assert {type(outcome) for outcome in outcomes} == {error}


def test_secrets_are_in_no_name_file_or_message(folder: Path) -> None:
    secrets = {"secret": "s3cret-signature", "headers": {"X-Api-Key": "k3y-of-the-crm"}}
    with gate(lambda seen: Answer(500, body="s3cret-signature k3y-of-the-crm")) as here:
        outcomes = asyncio.run(send_all(webhook(here.url, retries=0, **secrets), "a", 6))
    shown = " ".join(map(str, outcomes))
    found = list(folder.rglob("*"))
    assert "500 Said *** ***" in shown
    assert len(found) >= 4
    kept = shown.encode() + b"".join(bytes(p) + (p.read_bytes() if p.is_file() else b"") for p in found)
    for hidden in (b"s3cret", b"k3y", b"of-the-crm", here.url.encode().split(b"/")[2]):
        assert hidden not in kept
    assert {path.stat().st_mode & 0o077 for path in (folder, *found)} == {0}


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 52, b"\xff" * 500, b"short"],
    ids=["empty", "zeros", "ones", "short"],
)
def test_a_damaged_file_is_as_none(folder: Path, content: bytes) -> None:
    RateLimiter(NAME, at_once=2, pace=RateLimit(1_000)).close()
    (folder / NAME / "known").write_bytes(content)

    async def run() -> float:
        budget = RateLimiter(NAME, at_once=2, pace=RateLimit(1_000))
        start = time.monotonic()
        for _ in range(10):
            async with budget.turn():
                (folder / NAME / "known").write_bytes(content)
        budget.close()
        return time.monotonic() - start

    assert asyncio.run(run()) < 0.5


def test_a_folder_that_is_cleared_away_is_made_again(folder: Path) -> None:
    async def run() -> int:
        budget = RateLimiter(NAME, at_once=2, pace=RateLimit(1_000))
        async with budget.turn():
            shutil.rmtree(folder)
            async with budget.turn():
                held = len(list(folder.rglob("slot-*")))
        budget.close()
        return held

    assert asyncio.run(run()) == 1


def test_what_was_written_before_the_clock_was_set_back_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = RateLimiter(NAME, at_once=2)
    with monkeypatch.context() as later:
        moment = time.time() + 900
        later.setattr(time, "time", lambda: moment)
        budget.pause(60)
        budget.overloaded(moment)
    assert budget.at_once == 2

    async def run() -> None:
        async with asyncio.timeout(0.5), budget.turn():
            pass

    asyncio.run(run())
    budget.close()


def test_where_there_is_no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interprocess, "fcntl", None)

    async def both(url: str) -> None:
        destination = webhook(url, max_in_flight=1)
        await asyncio.gather(send_all(destination, "a", 10), send_all(destination, "b", 10))

    with gate(lambda seen: Answer(seconds=0.02)) as here:
        asyncio.run(both(here.url))
    assert (len(here.seen), here.most_inside) == (20, 1)
    early = [str(seen.json)[0] for seen in here.seen[:10]]
    assert min(early.count("a"), early.count("b")) >= 2, early


def test_a_folder_that_others_may_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REVETL_BUDGET_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert budgets_dir().is_dir()
    (tmp_path / f"revetl-{os.getuid()}").chmod(0o777)
    with pytest.raises(UsageError, match=r"others may write to .* Set REVETL_BUDGET_DIR"):
        budgets_dir()
