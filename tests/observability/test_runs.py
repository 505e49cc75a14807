"""Alerts, redacted logs, the commit and the dbt invocation of real runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.observability.support import Receiver, receiving
from tests.sync.test_sync import META, people, synced


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_an_alert_for_each_change_of_state(
    project: ProjectFolder, sandbox: SandboxClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_URL", receiver.url)
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    project.destinations({"crm": crm}, alerts=[{"to": "{{ env_var('ALERT_URL') }}"}])
    project.audience("vips", people(("u1", 1)), META)
    assert synced(project).status == "success"
    sandbox.misbehave({"kind": "status", "status": 401, "reason": "who are you"})
    for score in (2, 3):
        project.audience("vips", people(("u1", score)))
        assert synced(project).status == "refused"
    sandbox.behave()
    assert synced(project).status == "success"
    project.audience("vips", people(("u1", 1), ("u1", 2)))
    assert synced(project).status == "stopped"
    titles = [json.loads(request.body)["title"] for request in receiver.requests]
    assert titles == [
        "revetl: vips.crm failed",
        "revetl: vips.crm has recovered",
        "revetl: vips.crm was stopped by the guard keys",
    ]


def test_logs_of_a_run_are_json_lines_without_secrets(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", "secret": "top-secret"}})
    sandbox.misbehave({"kind": "status", "status": 401, "reason": "not top-secret"})
    project.audience("vips", people(("u1", 1)), META)
    done = cli(project, "sync", "audience", "vips", "-q", "--log-format", "json")
    assert done.returncode == 4
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines] == ["run_started", "planned", "run_finished"]
    assert (lines[1]["planned"]["add"], lines[2]["status"], lines[2]["level"]) == (1, "refused", "error")
    assert len({line["run_id"] for line in lines}) == 1
    assert "top-secret" not in done.stderr + done.stdout


def test_a_run_names_the_commit_and_the_dbt_invocation(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1)), META)
    assert synced(project).git_sha is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", "-C", str(project.root)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    sha = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    project.sql(
        "insert into revetl.revetl.model_builds "
        "values ('model.shop.vips', 'success', current_timestamp, 'i-1', 'dev')"
    )
    project.audience("vips", people(("u1", 2)))
    run = synced(project)
    assert (run.git_sha, run.dbt_invocation_id) == (sha, "i-1")
    assert project.sql(
        "select git_sha, dbt_invocation_id from revetl.revetl.sync_runs order by started_at desc limit 1"
    ) == [(sha, "i-1")]
