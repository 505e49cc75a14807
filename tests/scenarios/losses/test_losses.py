"""Ways in which syncs are known to lose or double records, each as a test that it does not happen here."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import Any

import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.scenarios.test_kill import acknowledged, start
from tests.scenarios.test_lost import cut_the_journal, garble_the_journal, lose_all
from tests.sync.test_sync import META, people, synced

# In no order that a watermark could follow.
UNORDERED = "select 'u' || (i * 7919) % 3000 as user_id, i as score from range(3000) as numbers (i)"
FOUR_HUNDRED = "select 'u' || i as user_id, i as score from range(400) as numbers (i)"


def configure(project: ProjectFolder, sandbox: SandboxClient, **config: Any) -> None:
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", **config}})


def times_sent(sandbox: SandboxClient) -> Counter[str]:
    return Counter(person for _, ids in acknowledged(sandbox) for person in ids)


@pytest.mark.slow
def test_sigterm_in_mid_run_on_unordered_rows_loses_none(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    configure(project, sandbox, batch_size=100, max_in_flight=2, requests_per_second=20)
    project.audience("vips", UNORDERED, META)
    run = start(project)
    deadline = time.monotonic() + 20
    while len(acknowledged(sandbox)) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGTERM)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 143, errors
    delivered = sum(times_sent(sandbox).values())
    assert 600 <= delivered < 3_000
    ((status, aborted),) = project.sql("select status, aborted_add from revetl.revetl.sync_runs")
    assert (status, aborted) == ("interrupted", 3_000 - delivered)
    configure(project, sandbox, batch_size=100)
    assert cli(project, "sync", "audience", "vips").returncode == 0
    assert times_sent(sandbox) == Counter({f"u{i}": 1 for i in range(3_000)})


def test_a_rejected_row_goes_out_once_it_is_mended(project: ProjectFolder, sandbox: SandboxClient) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "^u2$", "reason": "the score is too high"})
    project.audience("vips", people(("u1", 1), ("u2", 200)), META)
    assert synced(project).status == "rejected"
    sandbox.behave()
    project.audience("vips", people(("u1", 1), ("u2", 20)))
    assert synced(project).delivered["add"] == 1
    assert sandbox.members("crm", "vips") == {"u1": {"score": 1}, "u2": {"score": 20}}


def test_a_rejected_row_goes_out_unchanged_by_retry(project: ProjectFolder, sandbox: SandboxClient) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "^u2$"})
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    sandbox.behave()
    assert synced(project, retry=True).delivered["add"] == 1
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}


@pytest.mark.parametrize("status", [None, 422], ids=["the answer names it", "the whole request is refused"])
def test_one_bad_row_blocks_no_other(
    project: ProjectFolder, sandbox: SandboxClient, status: int | None
) -> None:
    rule: dict[str, Any] = {"kind": "reject", "pattern": "^u7$"}
    sandbox.misbehave(rule if status is None else rule | {"status": status})
    project.audience("vips", FOUR_HUNDRED, META)
    run = synced(project)
    assert (run.delivered["add"], run.rejected["add"]) == (399, 1)
    assert times_sent(sandbox)["u8"] == 1
    assert set(sandbox.members("crm", "vips")) == {f"u{i}" for i in range(400)} - {"u7"}


def test_two_runs_at_once_deliver_once(project: ProjectFolder, sandbox: SandboxClient) -> None:
    configure(project, sandbox, batch_size=20, requests_per_second=30)
    project.audience("vips", FOUR_HUNDRED, META)
    both = [start(project), start(project)]
    codes = sorted(process.wait(timeout=60) for process in both)
    assert codes == [0, 6]
    assert times_sent(sandbox) == Counter({f"u{i}": 1 for i in range(400)})


@pytest.mark.parametrize(
    "damage", first_fast([cut_the_journal, garble_the_journal, lose_all]), ids=lambda d: d.__name__
)
def test_a_damaged_local_file_does_not_send_all_again(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, damage: Any
) -> None:
    project.audience("vips", FOUR_HUNDRED, META)
    synced(project)
    configure(project, sandbox, batch_size=5, max_in_flight=1, requests_per_second=20)
    project.audience("vips", FOUR_HUNDRED.replace("i as score", "i + (i < 40)::int as score"))
    run = start(project)
    deadline = time.monotonic() + 20
    while len(acknowledged(sandbox)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    damage(project.root / ".revetl" / "runs")
    assert cli(project, "sync", "audience", "vips").returncode == 0
    sent = times_sent(sandbox)
    # The 40 that changed, and of them at most those once more that were acknowledged and not yet booked.
    assert sum(sent.values()) <= 400 + 40 + 40
    assert {person for person, times in sent.items() if times > 1} == {f"u{i}" for i in range(40)}
    assert sandbox.members("crm", "vips")["u39"] == {"score": 40}


def test_a_quote_in_a_value_breaks_no_body(project: ProjectFolder, sandbox: SandboxClient) -> None:
    name = 'Ann "The Cat" O\'Neill \\ {{ x }} {"a": 1}'
    project.sql("create table named as select 'u1' as user_id, ?::varchar as name", name)
    project.audience("vips", "select * from named", {"key": "user_id", "sync": [{"to": "crm"}]})
    assert synced(project).status == "success"
    assert sandbox.members("crm", "vips") == {"u1": {"name": name}}


@pytest.mark.parametrize(
    "sync",
    [
        {"to": "cdp", "mode": "insert"},
        {"to": "crm", "mode": "mirrored"},
        {"to": "crm", "identifiers": {"email": "user_id"}},
        {"to": "cdp", "set_if_empty": ["score"]},
        {"to": "crm", "exclude": ["nobody"]},
        {"to": "crm", "priority": "offers"},
        {"to": "nowhere"},
    ],
    ids=lambda sync: "-".join(map(str, sync.values())),
)
def test_validate_finds_what_a_run_would_refuse(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli, sync: dict[str, Any]
) -> None:
    project.destinations(
        {
            "crm": {"type": "webhook", "url": f"{sandbox.url}/crm"},
            "cdp": {"type": "segment", "base_url": f"{sandbox.url}/cdp", "write_key": "wk"},
        }
    )
    project.audience("vips", people(("u1", 1)), {"key": "user_id", "sync": [sync]})
    run = cli(project, "sync", "audience", "vips")
    validated = cli(project, "validate")
    assert (run.returncode, validated.returncode) == (2, 2)
    assert run.stderr.removeprefix("Error: ").strip() in validated.stderr + validated.stdout


def test_a_row_that_is_always_bad_does_not_send_the_others_again(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    sandbox.misbehave({"kind": "reject", "pattern": "^u7$"})
    project.audience("vips", FOUR_HUNDRED, META)
    for _ in range(3):
        synced(project)
    sent = times_sent(sandbox)
    assert sent == Counter({f"u{i}": 1 for i in range(400)})
    # Sent again on request, it is sent alone.
    synced(project, retry=True)
    assert times_sent(sandbox) - sent == Counter({"u7": 1})
