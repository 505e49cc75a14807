"""Wide and large rows: what a plan of many columns costs, and records that are larger than memory is wide."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.wide import plan_of, wide_project, wide_query
from tests.scenarios.losses.conftest import kept as kept
from tests.scenarios.losses.recorder import Bodies, records
from tests.sync.test_sync import synced

ROWS = 20


def cpu_of_a_plan(project: ProjectFolder) -> float:
    """The better of two, without what the first plan of a process imports."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        plan = plan_of(project)
        seconds.append(time.process_time() - start)
        assert plan.preview is not None
        assert plan.preview.changed_fields == {"column_0": 5}
    return min(seconds)


@pytest.mark.long
def test_ten_times_the_columns_make_a_plan_at_most_twelve_times_as_long(
    tmp_path: Path, sandbox: SandboxClient
) -> None:
    cost: dict[str, dict[int, float]] = {"changed values": {}, "hashes of another version": {}}
    for columns in (40, 400):
        project = wide_project(tmp_path / f"{columns}", f"{sandbox.url}/crm", columns, ROWS)
        synced(project, "wide")
        project.audience("wide", wide_query(columns, ROWS, changed=5))
        cost["changed values"][columns] = cpu_of_a_plan(project)
        project.sql("update revetl.revetl.sync_state set hash_by = 'duckdb 0.1'")
        cost["hashes of another version"][columns] = cpu_of_a_plan(project)
    assert {why: each[400] <= 12 * each[40] for why, each in cost.items()} == dict.fromkeys(cost, True)


@pytest.mark.long
def test_records_of_twenty_megabytes_are_delivered_and_booked(project: ProjectFolder, kept: Bodies) -> None:
    project.audience(
        "vips",
        "select 'u' || i as user_id, repeat(chr(97 + i::int), 20000000) as value from range(5) as r (i)",
        {"key": "user_id", "sync": [{"to": "crm"}]},
    )
    run = synced(project)
    assert (run.status, run.delivered) == ("success", {"remove": 0, "update": 0, "add": 5})
    assert sorted((each["id"], len(each["fields"]["value"])) for each in records(kept)) == [
        (f"u{i}", 20_000_000) for i in range(5)
    ]
    assert sum(synced(project).planned.values()) == 0
