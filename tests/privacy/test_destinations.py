"""Every destination that the sandbox mocks: people are erased where the API can, and removed from audiences
everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from revetl.privacy.places import erases
from revetl.privacy.run import run_requests
from revetl.privacy.store import show_request
from revetl.sandbox.setups import setups
from tests.conftest import Cli, SandboxClient
from tests.destinations.test_round_trip import _shown
from tests.destinations.test_round_trip import people as everyone
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import only_fast
from tests.privacy.support import identity

PEOPLE = 4
GONE = 1
TEMPLATED = ("webhook.one_by_one", "webhook.templated")
"""Their bodies have fields of the audience, which an erasure does not send."""
REMOVING = sorted({name for name in setups() if not _shown(name).triggers} - set(TEMPLATED))
FAST = ("hubspot", "marketo", "pipedrive", "close", "copper", "salesforce", "braze", "facebook_ads")


def filled(tmp_path: Path, sandbox: SandboxClient, name: str, engine: str) -> ProjectFolder:
    """A project that has delivered four people to a destination."""
    setup, shown = setups()[name], _shown(name)
    project = ProjectFolder(tmp_path / "shop", {name: setup.destination(sandbox.url)}, engine)
    identity(
        project,
        [
            [("user_id", f"u{i}"), ("email", f"u{i}@example.com"), ("phone", f"+4479{i:08}")]
            for i in range(PEOPLE)
        ],
    )
    meta = {"key": shown.key, "sync": [{"to": name, "max_change": "200%", **setup.sync}]}
    project.audience("vips", everyone(0, PEOPLE, "7"), meta)
    (run,) = project.open().sync("vips")
    assert run.status == "success", run.error
    return project


def held(sandbox: SandboxClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = sandbox._client.get(f"{sandbox.url}/_/members/{name}").json()
    return found


@pytest.mark.parametrize("name", only_fast(REMOVING, *FAST))
def test_a_person_is_erased_where_the_api_can_and_in_no_audience(
    name: str, tmp_path: Path, sandbox: SandboxClient, cli: Cli
) -> None:
    project, shown = filled(tmp_path, sandbox, name, "duckdb"), _shown(name)
    assert shown.called(GONE) in sandbox.members(name, "vips")
    done = cli(project, "privacy", "request", "--delete", f"u{GONE}", "-o", "json")
    (request,) = json.loads(done.stdout)["requests"]
    ended = run_requests(project.open().workspace, build=False)
    assert ended.errors == {}
    (place,) = [
        each
        for each in show_request(project.open().workspace, request["request_id"]).places
        if each.place == f"destination:{name}"
    ]
    can_erase = erases(project.open().workspace, name)
    assert place.status == ("finished" if can_erase else "not_supported"), place.detail
    left = {shown.called(i) for i in range(PEOPLE) if i != GONE}
    assert set(sandbox.members(name, "vips")) == left
    if can_erase:
        assert place.erased > 0
        assert shown.called(GONE) not in held(sandbox, name)["profiles"]


@pytest.mark.parametrize("name", TEMPLATED)
def test_a_template_that_cannot_be_filled_keeps_the_request_open(
    name: str, tmp_path: Path, sandbox: SandboxClient, cli: Cli
) -> None:
    project = filled(tmp_path, sandbox, name, "duckdb")
    done = cli(project, "privacy", "request", "--delete", f"u{GONE}", "-o", "json")
    (request,) = json.loads(done.stdout)["requests"]
    ended = run_requests(project.open().workspace, build=False)
    assert "this sync does not send a field 'score'" in ended.errors[f"destination:{name}"]
    found = show_request(project.open().workspace, request["request_id"])
    assert [each.status for each in found.places if each.place == f"destination:{name}"] == ["failed"]
