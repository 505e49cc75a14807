"""A list that was deleted at the tool: it is made again, and everyone is put into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from revetl.delivery.deliver import Delivery
from revetl.destinations import destination_class
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.iterable.destination import IterableProject
from revetl.sandbox.setups import setups
from tests.conftest import SandboxClient
from tests.destinations.test_round_trip import _shown, people
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import only_fast

NOT_MADE = {
    "braze": "an audience is an attribute, which is there as soon as somebody has it",
    "copper": "an audience is a tag, which is there as soon as somebody has it",
    "braze.subscription_group": "its API makes none",
}
MARKS = {"iterable": [], "facebook_ads": [pytest.mark.slow]}
WITH_AUDIENCES = [
    pytest.param(name, marks=MARKS.get(name, [pytest.mark.long]))
    for name, setup in sorted(setups().items())
    if issubclass(destination_class(setup.type, name), HasAudiences) and name not in NOT_MADE
]


def made(folder: Path, name: str, sandbox: SandboxClient) -> ProjectFolder:
    """A project with one sync to a destination, which 20 people went to, and a member more since."""
    setup, shown = setups()[name], _shown(name)
    project = ProjectFolder(folder / "shop", {name: setup.destination(sandbox.url)})
    project.audience("vips", people(0, 20, "7"), {"key": shown.key, "sync": [{"to": name, **setup.sync}]})
    (run,) = project.open().sync("vips")
    assert (run.status, run.delivered["add"]) == ("success", 20)
    project.audience("vips", people(0, 21, "7"))
    return project


def holds(sandbox: SandboxClient, name: str, count: int) -> bool:
    held = sandbox.members(name, "vips")
    return set(held) == {_shown(name).called(i) for i in range(count)}


@pytest.mark.parametrize("name", WITH_AUDIENCES)
def test_every_member_is_put_into_a_list_that_was_deleted_there_and_is_made_again(
    name: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    project = made(tmp_path, name, sandbox)
    sandbox.start_anew()
    said: list[str] = []
    (run,) = project.open(say=said.append).sync("vips")
    assert (run.status, run.delivered["add"], run.planned["update"]) == ("success", 21, 0)
    assert holds(sandbox, name, 21)
    assert [text for text in said if "no longer exists at" in text and "max_change" in text]
    (again,) = project.open().sync("vips")
    assert sum(again.planned.values()) == 0


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize(
    "moment",
    only_fast(["before it is made", "when it is made", "when some are in"], "when it is made"),
)
def test_a_run_that_dies_while_the_list_is_made_again_leaves_everyone_to_the_next(
    tmp_path: Path, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    project = made(tmp_path, "iterable", sandbox)
    sandbox.start_anew()

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "before it is made":
            patch.setattr(IterableProject, "create_audience", dies)
        elif moment == "when it is made":
            patch.setattr(Delivery, "_deliver", dies)
        else:
            patch.setattr(IterableProject, "batch", replace(IterableProject.batch, records=5))
            patch.setattr(IterableProject, "max_in_flight", 1, raising=False)
            answers = iter(range(2))
            answered = Delivery._answer

            async def answer(self: Delivery, *given: Any, **more: Any) -> None:
                await answered(self, *given, **more)
                if next(answers, None) is None:
                    raise Killed

            patch.setattr(Delivery, "_answer", answer)
        with pytest.raises(BaseException) as died:
            project.open().sync("vips")
        assert "Killed" in repr(died.value)
    project.sql("delete from revetl.revetl.sync_locks")
    (run,) = project.open().sync("vips")
    assert run.status == "success"
    assert holds(sandbox, "iterable", 21)


def test_a_list_that_somebody_made_again_by_hand_is_filled_too(
    tmp_path: Path, sandbox: SandboxClient
) -> None:
    project = made(tmp_path, "iterable", sandbox)
    sandbox.start_anew()
    address = setups()["iterable"].destination(sandbox.url)["base_url"]
    for name in ("other", "vips"):
        httpx.post(f"{address}/lists", json={"name": name}, headers={"Api-Key": "any"}).raise_for_status()
    (run,) = project.open().sync("vips")
    assert (run.status, run.delivered["add"]) == ("success", 21)
    assert holds(sandbox, "iterable", 21)


def test_a_table_that_was_dropped_at_the_destination_is_filled_again(tmp_path: Path) -> None:
    there = tmp_path / "there.duckdb"
    connection = {"type": "duckdb", "path": str(there)}
    config = {"type": "sql", "connection": connection, "table": "vips", "create": True}
    project = ProjectFolder(tmp_path / "shop", {"lake": config})
    sync = {"to": "lake", "fields": {"score": "score"}}
    project.audience("vips", people(0, 20, "7"), {"key": "user_id", "sync": [sync]})
    project.open().sync("vips")
    with duckdb.connect(str(there)) as connected:
        connected.execute("drop table vips")
    project.audience("vips", people(0, 21, "7"))
    (run,) = project.open().sync("vips")
    assert (run.status, run.delivered["add"]) == ("success", 21)
    with duckdb.connect(str(there)) as connected:
        assert connected.execute("select count(*) from vips").fetchall() == [(21,)]
