"""The diff of an audience against the state, against the floor: scan and hash both tables once.

    python benchmarks/diff.py [--rows 10000000] [--json]

1 % of the rows were added, 1 % removed and 1 % changed; six columns, of which five are sent.
"""

from __future__ import annotations

import argparse
import tempfile

import duckdb
from _report import Report, peak_mb, timed

from revetl.config import SyncConfig
from revetl.destinations.webhook import Webhook
from revetl.mapping import make_mapping
from revetl.sql import table
from revetl.sync.diff import Diff
from revetl.sync.membership import Members
from revetl.sync.tables import Tables
from revetl.warehouse.duckdb import DuckDB

_COLUMNS = """
    'u' || lpad(i::varchar, 9, '0') as user_id, 'user' || i || '@example.com' as email,
    (hash(i) % 10000) / 100.0 as ltv, (hash(i, 1) % 100)::int as orders,
    date '2026-01-01' + (hash(i, 2) % 300)::int as last_order, 'segment ' || (hash(i, 3) % 12) as segment
"""


def prepare(warehouse: DuckDB, rows: int) -> Diff:
    """An audience of `rows`, and the state that a sync of its older self left."""
    connection = warehouse.connection
    connection.execute(f"create table old as select {_COLUMNS} from range(0, {rows}) as numbers (i)")
    connection.execute(
        f"""
        create table audience as
        select * exclude (ltv), case when hash(user_id) % 100 = 7 then ltv + 1 else ltv end as ltv
        from (select {_COLUMNS} from range({rows // 100}, {rows + rows // 100}) as numbers (i))
        """
    )
    tables = Tables("revetl", warehouse.database)
    tables.create(warehouse)
    columns = warehouse.columns(table("audience"))
    sync = SyncConfig(to="crm")
    webhook = Webhook.model_validate({"type": "webhook", "url": "http://localhost"})
    mapping = make_mapping("user_id", sync, webhook, columns, "benchmark")
    diffs = {
        name: Diff(
            warehouse, tables, "audience.crm", Members(table(name)), mapping, mode="mirror", has_state=True
        )
        for name in ("old", "audience")
    }
    hashed = warehouse.row_hash([item.of("a") for item in mapping.hashed()]).sql("duckdb")
    fields = warehouse.json_object({item.name: (item.of("a"), item.type) for item in mapping.fields}).sql(
        "duckdb"
    )
    connection.execute(
        f"""
        insert into revetl.sync_state (sync, key, row_hash, hash_by, identifiers, fields, acknowledged_at, run_id)
        select 'audience.crm', user_id, {hashed}, '{diffs["old"].hash_by}',
            '{{"id":"' || user_id || '"}}', {fields}, timestamp '2026-01-01', 'r1'
        from old as a
        """
    )
    connection.execute("checkpoint")
    return diffs["audience"]


def floor(warehouse: DuckDB) -> None:
    """Scan and hash both tables once."""
    for name in ("old", "audience"):
        query = f"select bit_xor(hash(user_id, email, ltv, orders, last_order, segment)) from {name}"
        warehouse.connection.execute(query).fetchall()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        warehouse = DuckDB(duckdb.connect(f"{folder}/bench.duckdb"))
        diff = prepare(warehouse, arguments.rows)
        floor(warehouse)
        with timed() as lowest:
            floor(warehouse)
        with timed() as ours:
            warehouse.rows(diff.probe())
            warehouse.run(diff.changes(uncertain=False, otherwise=False, full_refresh=False))
            counts = {row[0]: row[2] for row in warehouse.rows(diff.counts())}
        Report(
            benchmark="diff",
            sizes={"rows": arguments.rows, **counts},
            seconds=ours.seconds,
            floor_seconds=lowest.seconds,
            ratio=ours.seconds / lowest.seconds,
            peak_mb=peak_mb(),
            goal="at most 4 times",
        ).print(arguments.json)


if __name__ == "__main__":
    main()
