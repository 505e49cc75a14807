"""Several targets on one state: each has its own history, and an upgrade loses none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.models.guest import Guest

pytestmark = pytest.mark.slow

BUILT = ("run", "--select", "vips", "people", "revetl_audience_membership")
HISTORIES = ("audience_changes", "audience_builds", "model_builds")
WITH_TARGETS = (*HISTORIES, "alert_states")


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    """One state schema for all targets."""
    made = Guest(tmp_path_factory.mktemp("guest") / "project")
    made.variables(state_schema="kept")
    return made


def build(guest: Guest, target: str, people: int) -> None:
    guest.dbt(*BUILT, "--target", target, "--vars", f"people: {people}")


def history(guest: Guest, target: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that a target has written."""
    return {
        name: guest.backend.sql(f"select * from kept.{name} where target = '{target}' order by all")
        for name in HISTORIES
    }


def members(guest: Guest, schema: str) -> list[tuple[Any, ...]]:
    """Key, and whether the stay has ended, by a target's model of membership."""
    return guest.backend.sql(
        f"select key, left_at is not null from {schema}.revetl_audience_membership order by all"
    )


def changes(guest: Guest, target: str) -> list[tuple[Any, ...]]:
    return guest.backend.sql(
        f"select key, change from kept.audience_changes where coalesce(target, '{target}') = '{target}' "
        "order by recorded_at, key"
    )


@pytest.mark.long
def test_a_build_of_another_target_leaves_the_history_as_it_is(guest: Guest) -> None:
    build(guest, "prod", 2)
    before = history(guest, "prod")
    assert len(before["audience_changes"]) == 2
    build(guest, "ci", 1)
    assert history(guest, "prod") == before
    assert members(guest, "main") == [("u1", False), ("u2", False)]
    assert members(guest, "ci") == [("u1", False)]
    build(guest, "prod", 3)
    assert changes(guest, "prod") == [("u1", "entered"), ("u2", "entered"), ("u3", "entered")]
    assert len(guest.backend.sql("select * from kept.model_builds where target = 'prod'")) == 1


@pytest.mark.long
@pytest.mark.parametrize("written_by", ["prod", None], ids=["known", "unknown"])
def test_an_upgrade_goes_on_with_the_history_that_is_there(guest: Guest, written_by: str | None) -> None:
    """The tables of an older version have no target; ci is the first to build with this one."""
    build(guest, "prod", 3)
    for name in WITH_TARGETS:
        guest.backend.sql(f"delete from kept.{name} where target <> 'prod'")
        guest.backend.sql(f"alter table kept.{name} drop column target")
    guest.backend.sql("delete from kept.sync_identities")
    if written_by is not None:
        said = orjson.dumps({"target": written_by, "type": "duckdb"}).decode()
        guest.backend.sql("insert into kept.sync_identities values ('vips.crm', ?, '{}', now())", said)
    kept = guest.backend.sql("select key, change from kept.audience_changes order by all")
    build(guest, "ci", 1)
    targets = guest.backend.sql(
        "select distinct target from kept.audience_changes where key <> 'u1' and change = 'entered'"
    )
    assert targets == [(written_by,)]
    if written_by is not None:
        assert changes(guest, "ci") == [("u1", "entered")]
    build(guest, "prod", 3)
    assert sorted(changes(guest, "prod")) == kept
    build(guest, "prod", 2)
    assert changes(guest, "prod")[-1] == ("u3", "left")
    build(guest, "prod", 3)
