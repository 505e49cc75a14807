"""Splits: who is in which variant, who is sent where, and events of who enters and leaves."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from revetl.errors import UsageError
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast
from tests.sync.test_modes import meta
from tests.sync.test_options import MANY
from tests.sync.test_sync import people, synced

SPLIT = {"a": 45, "b": 45, "control": 10}
KEYS = [f"u{number}" for number in range(2_000)]


def variant(key: str, salt: str = "vips") -> str:
    """By the first 32 bits of md5(salt:key), modulo 10,000: control below 1,000, a below 5,500, b above."""
    bucket = int(hashlib.md5(f"{salt}:{key}".encode()).hexdigest()[:8], 16) % 10_000
    return "control" if bucket < 1_000 else "a" if bucket < 5_500 else "b"


def in_variants(*names: str, salt: str = "vips") -> set[str]:
    return {key for key in KEYS if variant(key, salt) in names}


def test_the_control_group_of_a_split_is_sent_nowhere(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", MANY.format(2_000), {**meta(), "split": SPLIT})
    synced(project)
    assert set(sandbox.members("crm", "vips")) == in_variants("a", "b")
    held_out = {key for (key,) in project.sql("select key from revetl.revetl.audience_holdouts")}
    assert held_out == in_variants("control")


def test_a_sync_of_some_variants_sends_those(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", MANY.format(2_000), {**meta(variants="b"), "split": SPLIT, "salt": "spring"})
    synced(project)
    assert set(sandbox.members("crm", "vips")) == in_variants("b", salt="spring")
    # Who is of another variant is not held out.
    held_out = {key for (key,) in project.sql("select key from revetl.revetl.audience_holdouts")}
    assert held_out == in_variants("control", salt="spring")
    project.audience("vips", MANY.format(2_000), {**meta(variants=["a"]), "split": SPLIT, "salt": "spring"})
    synced(project, force=["max_change"])
    assert set(sandbox.members("crm", "vips")) == in_variants("a", salt="spring")


@pytest.mark.parametrize(
    ("further", "options", "sentence"),
    [
        ({}, {"variants": "a"}, "variants: 'a' is not a variant it can send: none"),
        ({"split": SPLIT}, {"variants": "c"}, "'c' is not a variant it can send: a, b"),
        ({"split": SPLIT}, {"variants": "control"}, "'control' is not a variant it can send: a, b"),
        ({"split": SPLIT}, {"holdout": "10%"}, "holdout: can't be combined with split:, which has a control"),
        ({"split": {"a": 1}}, {}, "split"),
        ({"split": {"a": 1, "b": 0}}, {}, "split.b"),
        ({"salt": "x"}, {}, "salt: requires split:"),
        ({"goal": {"within": "14 days"}}, {}, "goal.event is missing"),
        ({"goal": {"event": "Ordered", "within": "soon"}}, {}, "'soon' is not a valid duration"),
    ],
)
def test_a_wrong_experiment_is_named(
    project: ProjectFolder, further: dict[str, Any], options: dict[str, Any], sentence: str
) -> None:
    project.audience("vips", MANY.format(3), {**meta(**options), **further})
    with pytest.raises(UsageError) as raised:
        synced(project)
    assert "vips: meta.revetl" in str(raised.value)
    assert sentence in str(raised.value)


TOOLS = [
    ("crm", {"type": "webhook"}, "crm"),
    ("segment", {"type": "segment", "write_key": "wk"}, "segment"),
    ("braze", {"type": "braze", "api_key": "k"}, "braze"),
]


@pytest.mark.parametrize(("to", "config", "path"), first_fast(TOOLS))
def test_who_enters_and_leaves_is_tracked(
    project: ProjectFolder, sandbox: SandboxClient, to: str, config: dict[str, Any], path: str
) -> None:
    where = "url" if config["type"] == "webhook" else "base_url"
    project.destinations({to: {**config, where: f"{sandbox.url}/{path}"}})

    def audience(*who: tuple[str, int]) -> None:
        entry = {"to": to, "mode": "audience_events", "fields": ["score"]}
        project.audience("vips", people(*who), {"key": "user_id", "sync": [entry]})

    def tracked() -> list[tuple[str, str, Any, Any]]:
        events = httpx.get(f"{sandbox.url}/_/members/{to}").json()["events"]
        found = [(e["person"], e["event"], e["properties"]["vips"], e["properties"]["score"]) for e in events]
        sandbox.start_anew()
        return sorted(found)

    audience(("u1", 1), ("u2", 2), ("u3", 3))
    assert synced(project).delivered == {"add": 3, "update": 0, "remove": 0}
    assert tracked() == [(f"u{n}", "Audience Entered", True, n) for n in (1, 2, 3)]
    # A changed field is no entry, and who left takes along what was sent of them.
    audience(("u1", 9), ("u3", 3))
    assert synced(project).delivered == {"add": 0, "update": 0, "remove": 1}
    assert tracked() == [("u2", "Audience Exited", False, 2)]
    assert sum(synced(project).planned.values()) == 0
    audience(("u1", 9), ("u2", 5), ("u3", 3))
    assert synced(project).delivered == {"add": 1, "update": 0, "remove": 0}
    assert tracked() == [("u2", "Audience Entered", True, 5)]


def test_each_entry_is_an_event_of_its_own(project: ProjectFolder, sandbox: SandboxClient) -> None:
    """An attempt whose answer was lost has the message id it had: the sandbox drops what it knows."""
    destination = {"type": "segment", "write_key": "wk", "base_url": f"{sandbox.url}/segment"}
    project.destinations({"segment": destination})
    entry = {"to": "segment", "mode": "audience_events"}
    for who in ([("u1", 1), ("u2", 2)], [("u2", 2)], [("u1", 1), ("u2", 2)]):
        project.audience("vips", people(*who), {"key": "user_id", "sync": [entry]})
        sandbox.misbehave({"kind": "drop", "when": "after", "times": 1})
        synced(project)
    events = httpx.get(f"{sandbox.url}/_/members/segment").json()["events"]
    assert sorted((e["person"], e["event"]) for e in events) == [
        ("u1", "Audience Entered"),
        ("u1", "Audience Entered"),
        ("u1", "Audience Exited"),
        ("u2", "Audience Entered"),
    ]
    assert len(sandbox.requests("segment")) > 3
