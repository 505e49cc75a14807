"""What has to hold after every run that came to its end, however badly it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from tests.helpers.project import ProjectFolder
from tests.scenarios.chaos.server import Chaos

_UNEQUAL = """
select run_id from revetl.revetl.sync_runs
where planned_{op} <> attempted_{op} + aborted_{op} or attempted_{op} < delivered_{op} + rejected_{op}
or least(planned_{op}, attempted_{op}, delivered_{op}, rejected_{op}, aborted_{op}) < 0
"""
_UNBOOKED = """
select run_id, delivered_{op}, rejected_{op}, n_delivered, n_rejected from revetl.revetl.sync_runs
left join (
    select run_id,
        count(*) filter (outcome = 'delivered') as n_delivered,
        count(*) filter (outcome = 'rejected') as n_rejected
    from revetl.revetl.sync_changes where operation = '{op}' group by run_id
) using (run_id)
where delivered_{op} <> coalesce(n_delivered, 0) or rejected_{op} <> coalesce(n_rejected, 0)
"""
_TWICE = """
select run_id, key, operation from revetl.revetl.sync_changes group by all having count(*) > 1
"""


class Warehouse:
    """A project's warehouse, opened once for many questions."""

    def __init__(self, project: ProjectFolder) -> None:
        self.project = project
        self._connection = duckdb.connect(str(project.database))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self._connection.execute(query).fetchall()

    def close(self) -> None:
        """Let others open it."""
        self._connection.close()


@contextmanager
def opened(project: ProjectFolder) -> Iterator[Warehouse]:
    """The warehouse of a project."""
    warehouse = Warehouse(project)
    try:
        yield warehouse
    finally:
        warehouse.close()


def check_state(warehouse: Warehouse, server: Chaos, mode: str) -> None:
    """Nobody is at the destination of whom the state does not know, for nobody could take them out again; and
    whom the state has as acknowledged is there, as it says; but for old identifiers that are to be taken out,
    which may be there."""
    rows = warehouse.rows(
        "select key, identifiers ->> 'id', (fields ->> 'score')::int, "
        "row_hash is not null and pending_operation is null from revetl.revetl.sync_state"
    )
    named = Counter(name for _, name, _, _ in rows)
    present = scores(server, mode)
    # Where nobody is removed, an old identifier stays there.
    unknown = present.keys() - named.keys() if mode in ("mirror", "archive") else set()
    assert unknown == set(), f"held, and not known: {unknown}"
    untrue = {
        key: (name, score, present.get(name))
        for key, name, score, acknowledged in rows
        # Whose identifier another key has, too, is known by either.
        if acknowledged
        and named[name] == 1
        and " was {" not in key
        and _differs(mode, present.get(name), score)
    }
    assert untrue == {}, f"taken for acknowledged, and not so: {untrue}"


def _differs(mode: str, there: int | None, score: int) -> bool:
    # Whom an insert finds there, it leaves as they are.
    return there is None if mode in ("insert", "events") else there != score


def scores(server: Chaos, mode: str) -> dict[str, int]:
    """Id to score of those who are at the destination, or of their events."""
    if mode == "events":
        return {name: fields["score"] for name, fields in server.events.values()}
    held = server.audiences.get("vips", {})
    return {name: fields["score"] for name, fields in held.items() if fields.get("state") != "gone"}


def check_books(warehouse: Warehouse) -> None:
    """Every run has ended, what it counts adds up, and is what is booked of it; no change is booked twice."""
    sql = warehouse.rows
    assert sql("select run_id from revetl.revetl.sync_runs where status = 'running'") == []
    for operation in ("add", "update", "remove"):
        assert sql(_UNEQUAL.format(op=operation)) == [], operation
        assert sql(_UNBOOKED.format(op=operation)) == [], operation
    assert sql(_TWICE) == []
    for table in ("sync_intents", "sync_locks"):
        assert sql(f"select * from revetl.revetl.{table}") == [], table
    assert list((warehouse.project.root / ".revetl" / "runs").glob("*/*/*")) == []
