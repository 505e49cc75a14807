"""What a destination's misbehaviour does to a run, and what the next run makes of it."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.conftest import SandboxClient
from tests.helpers.http import JsonHandler, LoopbackServer
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people, synced

TEN = [(f"u{i}", i) for i in range(10)]


def configure(project: ProjectFolder, sandbox: SandboxClient, **config: Any) -> None:
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", **config}})


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "status", "status": 429, "retry_after": 0.2, "times": 3},
        {"kind": "status", "status": 500, "times": 2},
        {"kind": "status", "status": 503, "times": 1},
        {"kind": "drop", "when": "before", "times": 1},
        {"kind": "drop", "when": "after", "times": 1},
        {"kind": "slow", "seconds": 1.5, "times": 1},
    ],
    ids=["429 with Retry-After", "500", "503", "dropped before", "dropped after", "slower than the timeout"],
)
def test_a_passing_fault_is_retried(
    project: ProjectFolder, sandbox: SandboxClient, rule: dict[str, Any]
) -> None:
    configure(project, sandbox, timeout=1)
    sandbox.misbehave(rule)
    project.audience("vips", people(*TEN), META)
    assert synced(project).status == "success"
    assert set(sandbox.members("crm", "vips")) == {key for key, _ in TEN}


def test_429_more_often_than_there_are_retries(project: ProjectFolder, sandbox: SandboxClient) -> None:
    configure(project, sandbox, retries=0)
    sandbox.misbehave({"kind": "status", "status": 429, "retry_after": 0.05, "times": 8})
    project.audience("vips", people(*TEN), META)
    assert synced(project).status == "success"


def test_rejected_ids_are_kept_and_wait_until_their_row_changes(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "^u[37]$", "reason": "no such person"})
    project.audience("vips", people(*TEN), META)
    first = synced(project)
    assert (first.status, first.exit_code, first.delivered["add"], first.rejected["add"]) == (
        "rejected",
        1,
        8,
        2,
    )
    rows = project.open().rejections("vips")
    assert [(r["key"], r["operation"], r["reason"], r["attempts"]) for r in rows] == [
        ("u3", "add", "no such person", 1),
        ("u7", "add", "no such person", 1),
    ]
    second = synced(project)
    assert (second.status, sum(second.planned.values())) == ("success", 0)
    sandbox.behave()
    project.audience("vips", people(*[(k, v + (k == "u3")) for k, v in TEN]))
    assert synced(project).delivered == {"add": 1, "update": 0, "remove": 0}
    assert [row["key"] for row in project.open().rejections("vips")] == ["u7"]
    assert synced(project, retry=True).delivered["add"] == 1
    assert project.open().rejections("vips") == []
    assert set(sandbox.members("crm", "vips")) == {key for key, _ in TEN}


def test_attempts_add_up_over_retries(project: ProjectFolder, sandbox: SandboxClient) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "u3"})
    project.audience("vips", people(*TEN), META)
    synced(project)
    synced(project, retry=True)
    ((attempts,),) = project.sql("select attempts from revetl.revetl.sync_rejections")
    assert attempts == 2


def test_a_rejection_of_someone_who_left_is_dropped(project: ProjectFolder, sandbox: SandboxClient) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "^u[37]$"})
    project.audience("vips", people(*TEN), META)
    assert synced(project).rejected["add"] == 2
    project.audience("vips", people(*TEN[:7]))
    synced(project)
    assert [row["key"] for row in project.open().rejections("vips")] == ["u3"]


@pytest.mark.parametrize("status", [400, 422])
def test_one_bad_record_is_found_by_halving(
    project: ProjectFolder, sandbox: SandboxClient, status: int
) -> None:
    sandbox.misbehave({"kind": "reject", "status": status, "pattern": "^u6$", "reason": "bad score"})
    project.audience("vips", people(*TEN), META)
    run = synced(project)
    assert (run.delivered["add"], run.rejected["add"]) == (9, 1)
    (row,) = project.open().rejections()
    assert row["key"] == "u6"
    assert str(status) in row["reason"]
    assert "bad score" in row["reason"]
    assert set(sandbox.members("crm", "vips")) == {key for key, _ in TEN} - {"u6"}


def test_a_batch_that_is_too_large_is_halved(project: ProjectFolder, sandbox: SandboxClient) -> None:
    sandbox.misbehave({"kind": "status", "status": 413, "times": 2})
    project.audience("vips", people(*TEN), META)
    assert synced(project).delivered["add"] == 10
    sizes = [len(e["ids"]) for e in sandbox.requests("crm") if e["applied"]]
    assert sum(sizes) == 10
    assert max(sizes) <= 5


@pytest.mark.parametrize("status", [401, 403])
def test_bad_credentials_stop_the_run(project: ProjectFolder, sandbox: SandboxClient, status: int) -> None:
    sandbox.misbehave({"kind": "status", "status": status, "reason": "who are you"})
    configure(project, sandbox, batch_size=2, max_in_flight=1)
    project.audience("vips", people(*TEN), META)
    run = synced(project)
    assert (run.status, run.exit_code, run.unsent) == ("refused", 4, 10)
    assert run.error is not None
    assert f"127.0.0.1 refused the request: {status}" in run.error
    assert len(sandbox.requests("crm")) == 1
    assert project.sql("select count(*) from revetl.revetl.sync_state") == [(0,)]


def test_a_destination_that_is_not_there(project: ProjectFolder) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    project.destinations({"crm": {"type": "webhook", "url": f"http://127.0.0.1:{port}/", "retries": 1}})
    project.audience("vips", people(*TEN), META)
    run = synced(project)
    assert (run.status, run.exit_code, run.unsent) == ("refused", 4, 10)
    assert run.error is not None
    assert "Could not deliver to 127.0.0.1: no connection" in run.error
    assert project.sql("select count(*) from revetl.revetl.sync_state") == [(0,)]


def test_an_unknown_outcome_is_settled_by_the_next_run(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    """The destination applied a batch and its answer was lost; then one of its people left the audience."""
    configure(project, sandbox, retries=0)
    sandbox.misbehave({"kind": "drop", "when": "after"})
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    assert synced(project).status == "refused"
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}
    sandbox.behave()
    project.audience("vips", people(("u2", 2)))
    run = synced(project)
    assert run.delivered == {"add": 1, "update": 0, "remove": 1}
    assert set(sandbox.members("crm", "vips")) == {"u2"}
    assert sum(synced(project).planned.values()) == 0


def test_a_sign_in_page_with_status_200_delivers_nobody(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    configure(project, sandbox, retries=1)
    sandbox.misbehave({"kind": "page"})
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    run = synced(project)
    assert (run.status, run.exit_code, run.unsent) == ("refused", 4, 2)
    assert run.error is not None
    assert "its response is an HTML page" in run.error
    assert [entry["ids"] for entry in sandbox.requests("crm")] == [["u1", "u2"]] * 2
    assert project.sql("select pending_operation from revetl.revetl.sync_state") == [("add",)] * 2
    sandbox.behave()
    # Who left meanwhile may be there all the same: they are removed.
    project.audience("vips", people(("u2", 2)))
    run = synced(project)
    assert (run.status, run.delivered) == ("success", {"add": 1, "update": 0, "remove": 1})


def test_a_passing_page_is_sent_again_and_then_delivered(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    sandbox.misbehave({"kind": "page", "times": 2})
    project.audience("vips", people(*TEN), META)
    assert synced(project).status == "success"
    assert set(sandbox.members("crm", "vips")) == {key for key, _ in TEN}


@pytest.mark.parametrize(
    ("status", "kind", "body", "delivered"),
    [
        (200, "text/plain", b"", 2),
        (204, "text/plain", b"", 2),
        (202, "text/plain", b"queued", 2),
        (200, "application/json", b"[1]", 2),
        (200, "application/json", b'{"rejected": null}', 2),
        (200, "application/json", b'{"rejected": [{"id": "u1"}]}', 1),
        (200, "text/html", b"welcome", 2),
        (200, "text/html", b"welcome <br>", 0),
        (200, "text/plain", b"<html>welcome</html>", 0),
        (200, "application/json", b'{"rejected": [{"id": "u', 0),
        (200, "application/json", b'{"rejected": ["u1"]}', 0),
        (200, "application/json", b'{"rejected": {"id": "u1"}}', 0),
        (200, "application/json", b'{"rejected": [{"reason": "bad"}]}', 0),
        (200, "application/json", b'{"rejected": [{"id": {"user_id": "u1"}}]}', 0),
        (200, "application/json", b'{"rejected": [{"id": "u9"}]}', 0),
    ],
)
def test_what_a_webhook_may_answer_to_accept_a_batch(
    project: ProjectFolder, status: int, kind: str, body: bytes, delivered: int
) -> None:
    class Handler(JsonHandler):
        def do_POST(self) -> None:  # noqa: N802
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with LoopbackServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        project.destinations({"crm": {"type": "webhook", "url": url, "retries": 0}})
        project.audience("vips", people(("u1", 1), ("u2", 2)), META)
        run = synced(project)
        server.shutdown()
    assert (run.delivered["add"], run.exit_code) == (delivered, {2: 0, 1: 1, 0: 4}[delivered])
    held = project.sql("select count(*) from revetl.revetl.sync_state where row_hash is not null")
    assert held == [(delivered,)]


def test_what_a_destination_could_not_take_for_now_is_left_to_the_next_run(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations({"braze": {"type": "braze", "base_url": f"{sandbox.url}/braze", "api_key": "k"}})
    sandbox.misbehave({"kind": "reject", "pattern": "^u7$", "reason": "internal error, try again later"})
    project.audience("vips", people(*TEN), {"key": "user_id", "sync": [{"to": "braze"}]})
    run = synced(project)
    assert (run.status, run.exit_code, run.delivered["add"], run.unsent) == ("refused", 4, 9, 1)
    assert "internal error" in str(run.error)
    assert project.open().rejections() == []
    sandbox.behave()
    assert synced(project).delivered["add"] == 1


def test_a_change_that_is_sent_again_keeps_its_message_id(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations(
        {"cdp": {"type": "segment", "base_url": f"{sandbox.url}/cdp", "write_key": "wk", "retries": 0}}
    )
    project.audience("vips", people(("u1", 1)), {"key": "user_id", "sync": [{"to": "cdp"}]})
    sandbox.misbehave({"kind": "drop", "when": "after"})
    assert synced(project).status == "refused"
    sandbox.behave()
    assert synced(project).status == "success"
    first, second = (entry["message_ids"] for entry in sandbox.requests("cdp"))
    assert first == second
    # One who leaves and comes back is a new change: Segment must not drop it as a duplicate.
    for query in (people(("u2", 2)), people(("u1", 1), ("u2", 2))):
        project.audience("vips", query)
        synced(project)
    assert set(sandbox.members("cdp", "vips")) == {"u1", "u2"}


def test_braze_errors_name_their_record(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.destinations({"braze": {"type": "braze", "base_url": f"{sandbox.url}/braze", "api_key": "k"}})
    sandbox.misbehave({"kind": "reject", "pattern": "^u77$", "reason": "'external_id' is too long"})
    rows = [(f"u{i}", i) for i in range(200)]
    project.audience("vips", people(*rows), {"key": "user_id", "sync": [{"to": "braze"}]})
    run = synced(project)
    assert (run.delivered["add"], run.rejected["add"]) == (199, 1)
    assert sorted(len(entry["ids"]) for entry in sandbox.requests("braze")) == [50, 75, 75]
    (row,) = project.open().rejections()
    assert (row["key"], row["reason"]) == ("u77", "'external_id' is too long")
    assert len(sandbox.members("braze", "vips")) == 199
