"""What was acknowledged is in the warehouse once, whatever happens to the process, its disk and its clock."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import duckdb
import httpx
import pytest

from tests.helpers.project import ProjectFolder
from tests.ingest.collector.running import KEY, at, make_project, running, track
from tests.scenarios.chaos.test_full_disk import Disk


class CollectorProcess:
    """`revetl collect` as a process that can be killed."""

    def __init__(self, project: ProjectFolder) -> None:
        command = [sys.executable, "-m", "revetl", "collect", "--port", "0"]
        self.process = subprocess.Popen(command, cwd=project.root, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert line.startswith("Collecting on "), line + self.process.stderr.read()
        self.url = line.split()[2]
        while True:
            try:
                httpx.get(f"{self.url}/health")
                return
            except httpx.TransportError:
                time.sleep(0.02)

    def await_landing(self) -> None:
        """Wait until this process has landed something."""
        for _ in range(600):
            if httpx.get(f"{self.url}/health", timeout=30).json()["landing"]["last"] is not None:
                return
            time.sleep(0.05)
        raise AssertionError("nothing was landed in 30 seconds")

    def end(self, how: signal.Signals) -> int:
        """Send a signal, and wait for the end."""
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


class Senders:
    """Threads that send batches and single events, and note which were acknowledged. What is not acknowledged
    is sent again with the same ids, as SDKs do."""

    def __init__(self, count: int) -> None:
        self.url: str | None = None
        self.acknowledged: list[str] = []
        self.sent: set[str] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _send(self, thread: int) -> None:
        number = 0
        waiting: list[str] = []
        while not self._stop.is_set():
            url = self.url
            if url is None:
                time.sleep(0.01)
                continue
            if not waiting:
                waiting = [f"{thread}-{number + index}" for index in range(random.choice([1, 5, 20]))]
                number += len(waiting)
            self.sent.update(waiting)
            batch = {"batch": [track(messageId=each, properties={"n": each}) for each in waiting]}
            try:
                answer = httpx.post(f"{url}/v1/batch", json=batch, auth=(KEY, ""), timeout=5)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                assert answer.json() == {"success": True}
                self.acknowledged += waiting
                waiting = []
            else:
                assert answer.status_code == 503
                time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)


@contextmanager
def sending(count: int = 4) -> Iterator[Senders]:
    senders = Senders(count)
    try:
        yield senders
    finally:
        senders.stop()


def landed(project: ProjectFolder) -> Counter[str]:
    """How often each message is in the warehouse, after a collector landed what was left."""
    with running(project) as collector:
        collector.land()
        assert collector.client.get("/health").json()["backlog"]["segments"] == 0
    with duckdb.connect(str(project.database)) as connection:
        query = "select id, properties ->> 'n', source_id from raw.tracks"
        rows = connection.execute(query).fetchall()
    assert all(row == (row[0], row[0], "web") for row in rows)
    return Counter(row[0] for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=[pytest.mark.chaos, pytest.mark.long])])
def test_kills_under_load_lose_nothing_and_double_nothing(tmp_path: Path, kills: int) -> None:
    project = make_project(tmp_path, land_seconds=0.3)
    chance = random.Random(kills)
    with sending() as senders:
        for number in range(kills):
            collector = CollectorProcess(project)
            senders.url = collector.url
            if number % 2:
                collector.await_landing()
            time.sleep(chance.uniform(0.0, 0.8))
            senders.url = None
            assert collector.end(signal.SIGKILL) == -signal.SIGKILL
    counts = landed(project)
    assert len(senders.acknowledged) > 5 * kills
    assert set(senders.acknowledged) - counts.keys() == set()
    assert counts.keys() <= senders.sent
    assert set(counts.values()) == {1}


@pytest.mark.slow
def test_sigterm_answers_what_was_sent_and_leaves_in_order(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with sending() as senders:
        collector = CollectorProcess(project)
        senders.url = collector.url
        time.sleep(1)
        code = collector.end(signal.SIGTERM)
        senders.url = None
    counts = landed(project)
    assert code in (0, 143, -signal.SIGTERM)
    assert len(senders.acknowledged) > 20
    assert set(senders.acknowledged) - counts.keys() == set()
    assert set(counts.values()) == {1}


def test_a_landing_killed_before_its_segment_is_deleted_is_repeated_without_effect(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    with running(project) as collector:
        collector.post("/v1/batch", {"batch": [track(messageId="m1"), track(messageId="m2"), 5]})
        collector.collector.log.rotate()
        (segment,) = collector.collector.log.closed
        content = segment.read_bytes()
        first = collector.land()
        segment.write_bytes(content)
    with running(project) as collector:
        second = collector.land()
        rejected = collector.rows("select count(*) from raw.rejected_messages")
    assert (first.landed, second.landed, second.already_landed, rejected) == (2, 0, 2, [(1,)])
    assert landed_ids(project) == ["m1", "m2"]


def landed_ids(project: ProjectFolder) -> list[str]:
    with duckdb.connect(str(project.database)) as connection:
        return [row[0] for row in connection.execute("select id from raw.tracks order by id").fetchall()]


def test_a_locked_warehouse_stops_no_client_until_the_bound(tmp_path: Path) -> None:
    project = make_project(tmp_path, max_backlog_mb=1)
    big = track(properties={"text": "x" * 25_000})
    with running(project) as collector:
        collector.post("/v1/t", track(messageId="first"))
        collector.land()
        holder = (
            "import duckdb, sys\n"
            f"c = duckdb.connect({str(project.database)!r})\n"
            "print('held', flush=True)\nsys.stdin.read()"
        )
        held = subprocess.Popen(
            [sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert held.stdout is not None
        assert held.stdout.readline() == "held\n"
        lander = collector.collector._lander
        assert lander is not None
        statuses = []
        for number in range(60):
            answer = collector.post("/v1/t", {**big, "messageId": f"big-{number}"})
            statuses.append(answer.status_code)
            if answer.status_code == 503:
                break
        failed = lander.land()
        health = collector.client.get("/health").json()
        ready = collector.client.get("/ready").status_code
        refused = collector.post("/v1/t", track())
        held.communicate("")
        collector.land()
        after = (collector.post("/v1/t", track(messageId="last")).status_code, collector.client.get("/ready"))
        collector.land()
    assert (failed, health["status"], health["accepting"], ready) == (None, "full", False, 503)
    assert "open in another process" in health["landing"]["error"] or "lock" in health["landing"]["error"]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert (after[0], after[1].status_code) == (200, 200)
    accepted = [f"big-{number}" for number, status in enumerate(statuses) if status == 200]
    assert len(accepted) > 30
    assert landed_ids(project) == sorted([*accepted, "first", "last"])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """What the segments are on."""
    made = Disk(tmp_path / "small")
    yield made
    made.close()


def test_a_full_disk_is_answered_503_and_loses_nothing(tmp_path: Path, disk: Disk) -> None:
    project = make_project(tmp_path / "shop", directory=str(disk.folder / "collector"))
    acknowledged, refused = [], 0
    with running(project) as collector:
        for number in range(40):
            if number == 10:
                disk.fill()
            if number == 25:
                disk.free()
            fields = {"messageId": f"{number:02}", "properties": {"text": "x" * 3_000}}
            answer = collector.post("/v1/t", track(**fields))
            assert answer.status_code in (200, 503)
            if answer.status_code == 200:
                acknowledged.append(f"{number:02}")
            else:
                refused += 1
        disk.fill()
        disk.free()
        collector.land()
    assert refused > 5
    assert len(acknowledged) >= 20
    assert landed_ids(project) == acknowledged


def test_a_clock_that_jumps_loses_nothing(tmp_path: Path) -> None:
    jumps = [0, 3_600, -86_400 * 365, 86_400 * 3_650, 30, -30]
    moments = iter([at("2026-12-01T12:00:00") + timedelta(seconds=jump) for jump in jumps for _ in range(3)])
    project = make_project(tmp_path)
    with running(project, now=lambda: next(moments)) as collector:
        for number in range(3 * len(jumps)):
            times = {"timestamp": "2026-12-01T11:59:00Z", "sentAt": "2026-12-01T12:00:00Z"}
            assert collector.post("/v1/t", track(messageId=f"{number:02}", **times)).status_code == 200
        stored = collector.messages("tracks", "id", "received_at - timestamp")
    assert stored == [(f"{number:02}", timedelta(minutes=1)) for number in range(3 * len(jumps))]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.chaos
def test_a_hundred_thousand_dropped_connections_leave_nothing_behind(tmp_path: Path) -> None:
    collector = CollectorProcess(make_project(tmp_path))
    folder = Path(f"/proc/{collector.process.pid}/fd")
    before = len(list(folder.iterdir()))
    address = httpx.URL(collector.url)
    for number in range(100_000):
        with socket.create_connection((address.host, address.port or 80), timeout=20) as connection:
            if number % 3:
                connection.sendall(
                    b"POST /v1/t HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"[: number % 60]
                )
    assert httpx.post(f"{collector.url}/v1/t", json=track(), auth=(KEY, "")).status_code == 200
    time.sleep(1)
    after = len(list(folder.iterdir()))
    collector.end(signal.SIGTERM)
    assert after <= before + 20
