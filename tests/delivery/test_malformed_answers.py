"""Answers that are no HTTP, or not what they say they are: one sentence, exit 4, and no other sync stops."""

from __future__ import annotations

import asyncio
import gzip
import resource
import socket
import time
import zlib
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from revetl.cli import cli
from revetl.delivery.flow_runner import converse
from revetl.delivery.http import GaveUp, Transport
from revetl.destinations.salesforce.bulk import RowResult, run_job
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.raw import Script, raw_server, says
from tests.helpers.sender import send_all, webhook
from tests.sync.test_sync import people

OK = b"HTTP/1.1 200 OK\r\n"
GZIP = OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
MALFORMED: dict[str, bytes] = {
    "a status line that is none": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status line of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "no status line": b"{}\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP 9": b"HTTP/9.9 200 OK\r\n\r\n",
    "a header over 64 KiB": OK + b"X-Long: " + b"a" * 70_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "a header without a name": OK + b": value\r\nContent-Length: 2\r\n\r\n{}",
    "a header without a colon": OK + b"no colon\r\nContent-Length: 2\r\n\r\n{}",
    "a zero byte in a header": OK + b"X-A: \0\r\nContent-Length: 2\r\n\r\n{}",
    "a length that is no number": OK + b"Content-Length: two\r\n\r\n{}",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "less than its length": OK + b"Content-Length: 20\r\n\r\n{}",
    "a negative length": OK + b"Content-Length: -2\r\n\r\n{}",
    "a chunk size that is none": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk that ends early": OK + b"Transfer-Encoding: chunked\r\n\r\n10\r\n{}",
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "gzip that is none": GZIP + b"this is not gzip",
    "gzip that is cut": GZIP + gzip.compress(b"{}" * 500)[:-30] + b"broken",
    "deflate that is none": OK + b"Content-Encoding: deflate\r\nContent-Length: 3\r\n\r\n\xff\xff\xff",
    "an encoding nobody asked for": OK + b"Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
    "a charset that is no text": OK + b"Content-Type: text/plain; charset=hex\r\nContent-Length: 2\r\n\r\n{}",
    "a charset that cannot be": OK
    + b"Content-Type: text/plain; charset=undefined\r\nContent-Length: 2\r\n\r\n{}",
    "nothing": b"",
    "half a head": OK + b"Content-Le",
}


def outcome(script: Script, **config: Any) -> tuple[BaseException | int, int]:
    """What became of one request, and how many were made."""
    with raw_server(script) as server:
        (found,) = asyncio.run(send_all(webhook(server.url, **{"retries": 0, **config}), "a", 1))
        return found, len(server.requests)


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_answer_is_one_sentence_of_what_may_pass(answer: bytes) -> None:
    found, _ = outcome(says(answer))
    assert isinstance(found, GaveUp), found
    said = str(found)
    assert said.startswith("Could not deliver to 127.0.0.1: ")
    assert (said.count("\n"), "http://" in said, found.exit_code) == (0, False, 4)


def test_a_malformed_answer_stops_no_other_sync(project: ProjectFolder, sandbox: SandboxClient) -> None:
    """One of each family of errors that the libraries have for it."""
    kinds = ("a status line of four digits", "gzip that is none", "a charset that is no text")

    def script(connection: socket.socket, head: bytes) -> None:
        connection.sendall(MALFORMED[kinds[int(head.split()[1].rpartition(b"/")[2])]])

    with raw_server(script) as server:
        bad = {f"bad_{i}": {"type": "webhook", "url": f"{server.url}{i}", "retries": 0} for i in range(3)}
        project.destinations({**bad, "well": {"type": "webhook", "url": f"{sandbox.url}/well"}})
        meta = {"key": "user_id", "sync": [{"to": name, "mode": "upsert"} for name in (*bad, "well")]}
        project.audience("vips", people(("u1", 1)), meta)
        arguments = ["sync", "--all", "--project-dir", str(project.root)]
        ended = CliRunner().invoke(cli, arguments, standalone_mode=False)
    runs = {run["destination"]: run["status"] for run in project.open().history()}
    assert (ended.return_value, runs) == (4, {**dict.fromkeys(bad, "refused"), "well": "success"})
    assert "Traceback" not in ended.output


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"X-Long: " + b"a" * 60_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"Set-Cookie: a=\xff\xfe; Path=/\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200\r\n\r\n{}",
        OK + b"Content-Type: application/json; charset=nonsense\r\nContent-Length: 2\r\n\r\n{}",
        GZIP + gzip.compress(b"{}"),
        OK + b"Content-Encoding: deflate\r\nConnection: close\r\n\r\n" + zlib.compress(b"{}"),
        OK + b"Content-Type: text/html; charset=utf-8\r\nContent-Length: 2\r\n\r\nOK",
        OK + b'Content-Type: text/html\r\nContent-Length: 16\r\n\r\n{"note": "<br>"}',
        OK + b"Content-Type: application/json\r\nContent-Length: 5\r\n\r\n\xef\xbb\xbf{}",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + OK
        + b"Content-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2;ext=1\r\n{}\r\n0\r\nX-T: 1\r\n\r\n",
    ],
    ids=[
        "a header of 60 KB",
        "a cookie of bytes",
        "HTTP 1.0",
        "unknown charset",
        "gzip",
        "deflate",
        "a word that says it is HTML",
        "JSON that says it is HTML",
        "a byte order mark",
        "two answers that are none yet",
        "chunks",
    ],
)
def test_an_odd_answer_that_can_be_read_is_read(answer: bytes) -> None:
    assert outcome(says(answer)) == (200, 1)


def test_a_page_that_begins_with_text_is_no_success() -> None:
    page = b"Please <a href='/login'>sign in</a>"
    found, _ = outcome(says(OK + b"Content-Type: text/html\r\nContent-Length: 35\r\n\r\n" + page))
    assert "an HTML page" in str(found)


def test_a_redirect_is_not_followed_and_says_where_to_without_secrets() -> None:
    moved = b"HTTP/1.1 308 Moved\r\nLocation: https://u:pw@new.example.com/in?key=hidden\r\n"
    found, requests = outcome(says(moved + b"Content-Length: 0\r\n\r\n"))
    assert str(found).endswith(
        "It redirects to https://new.example.com; redirects are not followed. Correct the address."
    )
    assert requests == 1


def test_a_malformed_answer_is_asked_for_again() -> None:
    found, requests = outcome(says(b"HTTP/1.1 abc\r\n\r\n"), retries=2)
    assert isinstance(found, GaveUp)
    # It may have been applied: nobody can tell.
    assert (requests, found.surely_unsent) == (3, False)


def test_an_answer_that_drips_ends_with_the_deadline_of_the_request() -> None:
    started = time.monotonic()
    found, _ = outcome(
        says(OK + b"Content-Length: 1000\r\n\r\n", *[b"a"] * 200, every=0.05), timeout=1, deadline=0.5
    )
    assert 0.4 < time.monotonic() - started < 2
    assert "no answer in time (no complete response within 0.5 seconds)" in str(found)


def test_the_deadline_is_four_timeouts_where_it_is_not_set() -> None:
    started = time.monotonic()
    found, _ = outcome(says(*[b"HTTP/1.1 200 OK\r\nX"], *[b"a"] * 200, every=0.05), timeout=0.2)
    assert 0.7 < time.monotonic() - started < 3
    assert "within 0.8 seconds" in str(found)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_an_answer_without_end_is_given_up_at_the_limit_and_takes_no_memory(packed: bool) -> None:
    """A gigabyte of it, were it read."""
    piece = b" " * 1_000_000
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    sent: list[int] = []

    def script(connection: socket.socket, _: bytes) -> None:
        connection.sendall(GZIP if packed else OK + b"Connection: close\r\n\r\n")
        for _number in range(1_000):
            connection.sendall((packer.compress(piece) or b"") if packed else piece)
            sent.append(len(piece))

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, _ = outcome(script)
    assert "the response is larger than 8 MiB, the destination's max_response_bytes" in str(found)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert (grown < 80, sum(sent) < 200_000_000) == (True, True), (grown, sum(sent))


def test_the_results_of_a_bulk_job_are_read_from_disk_a_line_at_a_time() -> None:
    """Salesforce's, of which most are of no record that was sent: 60 MB are more than an answer may have."""
    head = b'"sf__Id","sf__Error","Id"\r\n'
    other = b'"","SOME_ERROR:it is of another batch:Name --","' + b"x" * 400 + b'"\r\n'
    mine = b'"003A","","a-1"\r\n'

    def script(connection: socket.socket, head_: bytes) -> None:
        asked = head_.split()[1]
        if asked.endswith(b"Results"):
            connection.sendall(OK + b"Connection: close\r\n\r\n" + head)
            for _ in range(60 if asked.endswith(b"failedResults") else 0):
                connection.sendall(other * 2_222)
            connection.sendall(mine if asked.endswith(b"successfulResults") else b"")
            return
        counts = b'"numberRecordsProcessed": 133321, "numberRecordsFailed": 133320'
        body = b'{"id": "7", "state": "JobComplete", ' + counts + b"}"
        connection.sendall(OK + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async def run(url: str) -> list[RowResult]:
        def call(method: str, path: str, *, json: Any = None, csv: str | None = None) -> httpx.Request:
            return httpx.Request(method, url + path, content=(csv or "{}").encode())

        async with Transport(webhook(url)) as transport:
            return (await converse(transport, run_job(call, {}, "Id", [{"Id": "a-1"}]))).value

    with raw_server(script) as server:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes = asyncio.run(run(server.url))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert outcomes == [RowResult("003A")]
    assert grown < 40


def test_the_limit_of_an_answer_is_the_destinations() -> None:
    body = b"{" + b" " * 9_000_000 + b"}"
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    assert outcome(says(answer), max_response_bytes=10_000_000) == (200, 1)
    found, _ = outcome(says(answer), max_response_bytes=1024)
    assert "larger than 0.000977 MiB" in str(found)
