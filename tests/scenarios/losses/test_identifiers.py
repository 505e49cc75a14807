"""Identifiers that change hands: nothing that one key has sent is taken for what another has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.sync.test_sync import EMAIL, people, synced

COLUMNS = "person, email, score"


def audience(project: ProjectFolder, *rows: tuple[object, ...], meta: dict[str, Any] | None = None) -> None:
    project.audience("vips", people(*rows, columns=COLUMNS), meta)


def synced_of(project: ProjectFolder, *rows: tuple[object, ...], meta: dict[str, Any] | None = None) -> Any:
    """The run after the audience became these rows."""
    audience(project, *rows, meta=meta)
    return synced(project)


def of_mode(mode: str, **more: Any) -> dict[str, Any]:
    sync = {"to": "crm", "mode": mode, "identifiers": {"id": "email"}, "fields": {"score": "score"}}
    return {"key": "person", "sync": [sync | more]}


def test_a_key_that_comes_back_is_sent_though_it_is_as_it_was(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    """p1 goes on as p9 for a while, in a run that somebody else's rejection keeps from a success."""
    synced_of(project, ("p1", "a@x", 1), meta=EMAIL)
    sandbox.misbehave({"kind": "reject", "pattern": "^b@x$"})
    assert synced_of(project, ("p9", "a@x", 9), ("p2", "b@x", 2)).status == "rejected"
    assert sandbox.members("crm", "vips") == {"a@x": {"score": 9}}
    synced_of(project, ("p1", "a@x", 1), ("p2", "b@x", 2))
    assert sandbox.members("crm", "vips") == {"a@x": {"score": 1}}
    sandbox.behave()
    synced(project, retry=True)
    assert sandbox.members("crm", "vips") == {"a@x": {"score": 1}, "b@x": {"score": 2}}
    assert sorted(project.sql("select key from revetl.revetl.sync_state")) == [("p1",), ("p2",)]
    assert sum(synced(project).planned.values()) == 0


def test_so_it_is_where_nobody_is_removed(project: ProjectFolder, sandbox: SandboxClient) -> None:
    synced_of(project, ("p1", "a@x", 1), meta=of_mode("upsert"))
    synced_of(project, ("p9", "a@x", 9))
    synced_of(project, ("p1", "a@x", 1))
    assert sandbox.members("crm", "vips") == {"a@x": {"score": 1}}
    assert sum(synced(project).planned.values()) == 0


@pytest.mark.parametrize("mode", first_fast(["mirror", "upsert"]))
def test_who_gets_an_identifier_back_that_another_had_is_sent(
    project: ProjectFolder, sandbox: SandboxClient, mode: str
) -> None:
    """p1 is to be known by b@x, which is rejected, while p2 has a@x; then p1 is as before."""
    synced_of(project, ("p1", "a@x", 1), meta=of_mode(mode))
    sandbox.misbehave({"kind": "reject", "pattern": "^b@x$"})
    assert synced_of(project, ("p1", "b@x", 1), ("p2", "a@x", 5)).status == "rejected"
    assert sandbox.members("crm", "vips") == {"a@x": {"score": 5}}
    audience(project, ("p1", "a@x", 1))
    for _ in range(2):
        synced(project)
    assert sandbox.members("crm", "vips") == {"a@x": {"score": 1}}
    assert sum(synced(project).planned.values()) == 0


@pytest.mark.parametrize("mode", first_fast(["mirror", "archive"]))
def test_an_old_identifier_whose_remove_was_rejected_is_taken_out_later(
    project: ProjectFolder, sandbox: SandboxClient, mode: str
) -> None:
    """In every mode that takes out old identifiers."""
    more = {"archive": {"state": "gone"}, "constants": {"state": "here"}} if mode == "archive" else {}
    synced_of(project, ("p1", "old@x", 1), meta=of_mode(mode, **more))
    sandbox.misbehave({"kind": "reject", "pattern": "^old@x$"})
    assert synced_of(project, ("p1", "new@x", 1)).rejected["remove"] == 1
    sandbox.behave()
    for _ in range(2):
        synced(project, retry=True)
    there = sandbox.members("crm", "vips")
    assert {name for name, fields in there.items() if fields.get("state") != "gone"} == {"new@x"}
    assert project.sql("select key from revetl.revetl.sync_state") == [("p1",)]
    assert project.open().rejections() == []
