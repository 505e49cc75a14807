"""A list that was deleted at the tool: it is made again, and everyone is put into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from revetl.destinations import destination_class
from revetl.destinations.audiences import HasAudiences
from revetl.sandbox.setups import setups
from tests.conftest import SandboxClient
from tests.destinations.test_round_trip import _shown, people
from tests.support.project import ProjectFolder

NOT_MADE = {
    "braze": "an audience is an attribute, which is there as soon as somebody has it",
    "braze.subscription_group": "its API makes none",
}
LONG = {"linkedin_ads"}
"""It waits for a segment that was made."""
WITH_AUDIENCES = [
    pytest.param(name, marks=[pytest.mark.long] if name in LONG else [])
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
    assert [text for text in said if "no longer at" in text and "max_change" in text]
    (again,) = project.open().sync("vips")
    assert sum(again.planned.values()) == 0
