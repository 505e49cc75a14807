"""What has drifted apart between audience, state and destination, as a report tells it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest

from revetl.errors import DestinationRefused, UsageError
from revetl.sandbox import running_sandbox
from tests.conftest import Cli, SandboxClient
from tests.helpers.drift import by_hand, drift_in, readable, readable_shop, reconciled, state
from tests.helpers.http import LoopbackServer
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people, synced

MANY = "select 'u' || i as user_id, i % 7 as score from range(2500) as numbers (i)"


@pytest.fixture
def shop(project: ProjectFolder, sandbox: SandboxClient) -> ProjectFolder:
    """A project whose three members are at the destination, which can be read back."""
    return readable_shop(project, sandbox)


def test_nothing_has_drifted_after_a_sync(shop: ProjectFolder, cli: Cli) -> None:
    done = cli(shop, "reconcile", "vips.crm")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "vips.crm (mirror): 3 in the audience, 3 in the state, 3 in crm",
        "  nothing has drifted",
    ]


def test_a_report_names_what_drifted_and_changes_nothing(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    drift_in(sandbox)
    shop.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 30), ("u4", 4)))
    before = shop.database.read_bytes()
    done = cli(shop, "reconcile", "vips.crm")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "vips.crm (mirror): 4 in the audience, 3 in the state, 3 in crm",
        "  audience and state: add 1, update 1, remove 0",
        "    add: u4",
        "    update: u3",
        "  state and crm: 1 missing there, 1 different there, 1 extra there",
        "    missing: u1 (id u1)",
        "    different: u2 (id u2): score is 99, sent was 2",
        "    extra: x9 (id x9)",
        "    fields: score 1",
    ]
    assert done.stderr == "Repair it: revetl reconcile vips.crm --repair\n"
    data = json.loads(cli(shop, "reconcile", "vips.crm", "-o", "json").stdout)
    assert (data["drifted"], data["exit_code"], data["repair"]) == (True, 1, None)
    assert {kind: data["there"][kind] for kind in ("read", "missing", "different", "extra", "fields")} == {
        "read": 3,
        "missing": 1,
        "different": 1,
        "extra": 1,
        "fields": {"score": 1},
    }
    assert data["there"]["examples"]["different"] == [
        {"key": "u2", "identifiers": {"id": "u2"}, "fields": {"score": ["2", "99"]}}
    ]
    assert (data["plan"]["add"], data["plan"]["update"], data["keys"]) == (
        1,
        1,
        {"add": ["u4"], "update": ["u3"]},
    )
    assert shop.database.read_bytes() == before


VALUES = """
    select 'u1' as user_id, 12.50::decimal(10, 2) as money, 2.0::double as ratio,
        9007199254740993::bigint as big, true as flag, timestamp '2026-01-02 03:04:05.678' as moment,
        [1, 2] as list, {'a': 1} as struct, null as missing, 'a "quote", é and 😀' as text
"""


def test_values_that_came_back_as_they_were_sent_are_no_difference(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations({"crm": readable(sandbox)})
    project.audience("vips", VALUES, {"key": "user_id", "sync": [{"to": "crm"}]})
    synced(project)
    assert not reconciled(project).drifted
    # A tool that writes 2.0 as 2, and drops what is null, says the same; one that rounds an integer does not.
    kept = sandbox.members("crm", "vips")["u1"]
    by_hand(sandbox, "update", u1={**kept, "ratio": 2})
    assert not reconciled(project).drifted
    by_hand(sandbox, "update", u1={"big": 9007199254740992, "flag": False, "missing": 0})
    found = reconciled(project)
    assert found.there is not None
    assert found.there.fields == {"big": 1, "flag": 1, "missing": 1}


@pytest.mark.parametrize(
    ("sync", "row", "by_hand_fields", "different"),
    [
        ({"set_if_empty": ["score"]}, ("u1", 1), {"score": 5}, 0),
        ({"null": "skip"}, ("u1", None), {"score": 5}, 0),
        ({"null": "send"}, ("u1", None), {"score": 5}, 1),
        ({"mode": "upsert"}, ("u1", 1), {"score": 5}, 1),
    ],
    ids=["a value that is kept", "a null that was not sent", "a null that was sent", "in mode upsert"],
)
def test_what_counts_as_another_value(
    project: ProjectFolder,
    sandbox: SandboxClient,
    sync: dict[str, Any],
    row: tuple[Any, ...],
    by_hand_fields: dict[str, Any],
    different: int,
) -> None:
    project.destinations({"crm": readable(sandbox)})
    meta = {"key": "user_id", "sync": [{"to": "crm", "fields": {"score": "score"}, **sync}]}
    project.audience("vips", people(row), meta)
    synced(project)
    by_hand(sandbox, "update", u1=by_hand_fields)
    found = reconciled(project)
    assert found.there is not None
    assert found.there.different == different


def test_a_field_that_is_given_back_of_nobody_is_not_compared(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations({"crm": readable(sandbox)})
    project.audience("vips", people(("u1", 1)), META.copy())
    synced(project)
    httpx.post(f"{sandbox.url}/_/reset")
    by_hand(sandbox, "add", u1={"other": 1})
    found = reconciled(project)
    assert not found.drifted
    assert found.notes == ("Not compared, because crm does not return it: score.",)


def test_uncertain_outcomes_and_rejections_are_reported_and_not_doubled(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "u5", "reason": "no such person"})
    shop.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3), ("u5", 5)))
    assert synced(shop).status == "rejected"
    shop.sql(
        "update revetl.revetl.sync_state set row_hash = null, pending_operation = 'update', "
        "pending_hash = row_hash, pending_run_id = 'r0' where key = 'u1'"
    )
    by_hand(sandbox, "remove", u1={})
    done = cli(shop, "reconcile", "vips.crm")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "vips.crm (mirror): 4 in the audience, 3 in the state, 2 in crm",
        "  audience and state: add 0, update 1, remove 0",
        "    update: u1",
        "    1 of these were sent before without an answer",
        "  1 wait, rejected before and unchanged since (revetl retry sends them)",
    ]


@pytest.mark.parametrize("kind", ["braze", "segment"])
def test_tools_without_a_list_of_members_say_so(project: ProjectFolder, kind: str) -> None:
    secret = {"braze": {"api_key": "k", "region": "us-05"}, "segment": {"write_key": "k"}}[kind]
    project.destinations({"crm": {"type": kind, **secret}})
    sync = {"to": "crm", "mode": "upsert", "fields": {"score": "score"}}
    project.audience("vips", people(("u1", 1)), {"key": "user_id", "sync": [sync]})
    found = reconciled(project)
    assert (found.there, found.plan.add) == (None, 1)
    assert found.notes == (
        "Only the audience and the state were compared: "
        f"crm ({kind}) does not support reading an audience back.",
    )


@pytest.mark.parametrize(
    ("mode", "more"),
    [("events", {"event": "joined"}), ("insert", {}), ("archive", {"archive": {"score": 0}})],
)
def test_modes_that_say_nothing_of_members_are_not_compared(
    project: ProjectFolder, sandbox: SandboxClient, mode: str, more: dict[str, Any]
) -> None:
    project.destinations({"crm": readable(sandbox)})
    sync = {"to": "crm", "mode": mode, "fields": {"score": "score"}, **more}
    project.audience("vips", people(("u1", 1)), {"key": "user_id", "sync": [sync]})
    synced(project)
    found = reconciled(project)
    assert (found.there, found.drifted) == (None, False)
    assert f"in mode '{mode}'" in found.notes[0]
    with pytest.raises(UsageError, match="which never removes members"):
        reconciled(project, repair=True, remove_extra=True)


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ({"kind": "status", "status": 403}, "127.0.0.1 refused the request: 403"),
        ({"kind": "status", "status": 404}, "127.0.0.1 refused the request: 404"),
        ({"kind": "status", "status": 400}, "Could not read 127.0.0.1 back: 400"),
        ({"kind": "status", "status": 500}, "500"),
    ],
    ids=["no permission", "no such address", "a wrong question", "out of order"],
)
def test_a_read_that_fails_leaves_all_as_it_was(
    shop: ProjectFolder, sandbox: SandboxClient, rule: dict[str, Any], error: str
) -> None:
    shop.destinations({"crm": readable(sandbox, retries=0)})
    sandbox.misbehave(rule)
    before = state(shop)
    for repair in (False, True):
        with pytest.raises(DestinationRefused, match=error):
            reconciled(shop, repair=repair)
    assert state(shop) == before
    assert shop.sql("select count(*) from revetl.revetl.sync_locks") == [(0,)]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("<html>", "its response is an HTML page"),
        ('{"people": []}', "read_url must respond with"),
        ('{"members": [{"id": null}]}', "read_url must respond with"),
        ('{"members": [], "next": "again"}', "points to itself as the next page"),
    ],
    ids=["no JSON", "another form", "nobody's id", "a page that has no end"],
)
def test_an_answer_that_is_no_page(shop: ProjectFolder, body: str, error: str) -> None:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with LoopbackServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        shop.destinations({"crm": {"type": "webhook", "url": url, "read_url": url}})
        with pytest.raises(DestinationRefused, match=error):
            reconciled(shop)
        server.shutdown()


def test_the_read_is_signed_by_what_it_asks_for(project: ProjectFolder) -> None:
    with running_sandbox(secrets={"signed": "s3cret"}) as url:
        config = {"type": "webhook", "url": f"{url}/signed", "read_url": f"{url}/signed?team=a b"}
        project.destinations({"crm": {**config, "secret": "s3cret"}})
        project.audience("vips", MANY, META.copy())
        synced(project)
        assert not reconciled(project).drifted
        log = httpx.get(f"{url}/_/requests/signed").json()
        assert [entry["status"] for entry in log if entry["method"] == "GET"] == [200, 200, 200]
        project.destinations({"crm": {**config, "secret": "another"}})
        with pytest.raises(DestinationRefused, match="401"):
            reconciled(project)


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["vips.crn"], 2, "vips has no sync to 'crn'. Did you mean 'crm'?"),
        (["vips.crm", "--remove-extra"], 2, "--remove-extra requires --repair."),
        (["vips.crm", "--force", "empty"], 2, "--force overrides a guard of a repair. Add --repair."),
        (["vips.crm", "--repair", "--force", "emty"], 2, "unknown guard. Did you mean 'empty'?"),
    ],
)
def test_a_wrong_command_line(
    shop: ProjectFolder, cli: Cli, arguments: list[str], code: int, error: str
) -> None:
    done = cli(shop, "reconcile", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
