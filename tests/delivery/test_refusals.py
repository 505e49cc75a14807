"""A destination that refuses everybody, and one that refuses some: who is booked as rejected."""

from __future__ import annotations

from typing import Any

import pytest

from revetl.delivery.refusals import words_of
from revetl.destinations.base.destination import Record
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people, synced


def persons(bad: int, good: int) -> list[tuple[str, int]]:
    """So many people who are refused, and so many who are not."""
    return [(f"bad{n}", n) for n in range(bad)] + [(f"good{n}", n) for n in range(good)]


def refuse(
    project: ProjectFolder,
    sandbox: SandboxClient,
    rows: list[tuple[str, int]],
    rule: dict[str, Any],
    **config: Any,
) -> Any:
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", **config}})
    sandbox.misbehave({"kind": "reject", "reason": "the list was deleted", **rule})
    project.audience("vips", people(*rows), META)
    return synced(project)


LONG = pytest.mark.long
WHOLE: dict[str, Any] = {"status": 400}


@pytest.mark.parametrize(
    ("count", "rule", "config"),
    [
        pytest.param(300, WHOLE, {}, id="whole: one batch"),
        pytest.param(300, WHOLE, {"batch_size": 100}, id="whole: three batches", marks=LONG),
        pytest.param(60, WHOLE, {"batch_size": 10, "max_in_flight": 2}, id="whole: six batches", marks=LONG),
        pytest.param(25, WHOLE, {"batch_size": 5}, id="whole: five small batches"),
        pytest.param(300, {}, {"batch_size": 100}, id="one by one: three batches", marks=LONG),
        pytest.param(60, {}, {"batch_size": 10, "max_in_flight": 2}, id="one by one: six", marks=LONG),
        pytest.param(25, {}, {"batch_size": 5}, id="one by one: five small batches"),
    ],
)
def test_a_refusal_of_all_stops_the_run_and_rejects_nobody(
    project: ProjectFolder, sandbox: SandboxClient, count: int, rule: dict[str, Any], config: dict[str, Any]
) -> None:
    run = refuse(project, sandbox, persons(count, 0), rule, **config)
    assert (run.status, run.exit_code, run.unsent) == ("refused", 4, count)
    assert run.error is not None
    assert "the list was deleted" in run.error
    assert "none counts as rejected" in run.error
    assert len(sandbox.requests("crm")) < 10
    assert project.open().rejections() == []
    assert project.sql("select count(*) from revetl.revetl.sync_state") == [(0,)]
    # Once the cause is gone, all go out, without being asked to.
    sandbox.behave()
    assert synced(project).delivered["add"] == count


@pytest.mark.parametrize(
    ("rule", "rows", "config"),
    [
        pytest.param(WHOLE, persons(2, 0), {"batch_size": 1}, id="whole: two, and nobody else", marks=LONG),
        pytest.param(WHOLE, persons(2, 28), {"batch_size": 10}, id="whole: two of thirty in three batches"),
        pytest.param(
            WHOLE,
            persons(2, 28),
            {"batch_size": 1, "max_in_flight": 1},
            id="whole: two of thirty, one by one",
            marks=LONG,
        ),
        pytest.param(
            WHOLE, persons(2, 28), {"batch_size": 30}, id="whole: two of thirty in one batch", marks=LONG
        ),
        pytest.param(WHOLE, persons(19, 0), {"batch_size": 10}, id="whole: nineteen, and nobody else"),
        pytest.param(
            WHOLE,
            persons(22, 200),
            {"batch_size": 300},
            id="whole: twenty-two, and two hundred who are taken",
            marks=LONG,
        ),
        pytest.param({}, persons(2, 0), {"batch_size": 1}, id="two, and nobody else"),
        pytest.param({}, persons(19, 0), {"batch_size": 10}, id="nineteen, and nobody else", marks=LONG),
        pytest.param({}, persons(25, 0), {"batch_size": 100}, id="twenty-five in one batch", marks=LONG),
        pytest.param(
            {},
            persons(20, 1),
            {"batch_size": 7, "max_in_flight": 1},
            id="twenty and one, one batch after the other",
            marks=LONG,
        ),
        pytest.param({}, persons(20, 1), {"batch_size": 7}, id="twenty and one, batches at once"),
        pytest.param({}, persons(20, 1), {"batch_size": 100}, id="twenty and one in one batch", marks=LONG),
        pytest.param(
            {}, persons(25, 10), {"batch_size": 5, "max_in_flight": 1}, id="twenty-five and ten", marks=LONG
        ),
    ],
)
def test_bad_records_are_rejected_and_never_stop_a_sync(
    project: ProjectFolder,
    sandbox: SandboxClient,
    rule: dict[str, Any],
    rows: list[tuple[str, int]],
    config: dict[str, Any],
) -> None:
    run = refuse(project, sandbox, rows, {"pattern": "bad", **rule}, **config)
    bad = sum("bad" in name for name, _ in rows)
    assert (run.status, run.rejected["add"], run.delivered["add"]) == ("rejected", bad, len(rows) - bad)
    assert len(project.open().rejections()) == bad


def test_people_whom_a_destination_does_not_know_do_not_stop_a_sync(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations(
        {"desk": {"type": "intercom", "base_url": f"{sandbox.url}/intercom", "access_token": "t"}}
    )
    meta = {"key": "user_id", "sync": [{"to": "desk", "mode": "update", "fields": {"name": "user_id"}}]}
    project.audience("vips", people(*persons(25, 0)), meta)
    run = synced(project)
    assert (run.status, sum(run.rejected.values())) == ("rejected", 25)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("400 Bad Request u1: no such list", "400 Bad Request u27: no such list"),
        ("Invalid 'ada@example.com'", "Invalid 'bob@example.org'"),
        ('{"error":"no","trace":"A1b2C3"}', '{"error":"no","trace":"Z9y8"}'),
        ("ada is not allowed", "bob is not allowed"),
        ("(#100) row 3 is bad", "(#100) row 17 is bad"),
    ],
)
def test_reasons_are_compared_without_whom_they_are_about(one: str, other: str) -> None:
    ada, bob = (Record(name, {"id": name}, {}, "run") for name in ("ada", "bob"))
    assert words_of(one, [ada]) == words_of(other, [bob])


def test_reasons_that_differ_are_not_the_same_words() -> None:
    assert words_of("the list was deleted") != words_of("the email is invalid")
