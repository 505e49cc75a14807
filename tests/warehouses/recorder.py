"""A connection that keeps what it is told, and answers from a small table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from unittest import mock

ANSWERS: list[tuple[str, list[str], list[tuple[Any, ...]]]] = [
    # One round of everything that goes on until nothing is left, with aliases, cuts and a day that changed.
    (r"^select count\(\*\) from \S*(__edges_1|__live_1)\W*$", ["n"], [(1,)]),
    (r"^select count\(\*\) from \S+ union all select count", ["n"], [(1,), (0,)]),
    (r"^select count\(\*\) from \S+ as stale", ["n"], [(1,)]),
    (
        r"^select count\(\*\), cast\(min\(landed_at\)[\s\S]* as changed$",
        ["n", "first", "last"],
        [(1, "2011-07-01 00:00:00", "2011-07-01 05:00:00")],
    ),
    (r"^select count\(\*\)", ["n"], [(0,)]),
    (r"^select distinct kind from", ["kind"], [("alias",), ("cut",), ("seen",)]),
    (r"^select cast\(sum\(", ["total"], [("1",)]),
    (r"^select cast\(max\(as_of\)", ["as_of"], [("2011-06-01 00:00:00",)]),
    (r"^select distinct cast\(day as", ["day"], [("2011-07-01",)]),
    (r"as failures", ["failures", "should_warn", "should_error"], [(0, False, False)]),
]
"""Pattern of a statement, and the columns and rows that it is answered with; no rows for any other."""


class Recorder:
    """What was said to the warehouse, by node; and what the warehouse says it holds: by schema and name the
    kind of relation, and the columns."""

    def __init__(self) -> None:
        self.said: dict[str, list[str]] = {}
        self.relations: dict[tuple[str, str], str] = {}
        self.columns: dict[tuple[str, str], list[str]] = {}
        self.settled_rules: str | None = None
        self.made_by: dict[str, str] = {}

    def answer(self, node: str | None, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Keep a statement; gives its columns and rows."""
        text = plain(statement)
        self.said.setdefault(node or "", []).append(text)
        if settled := re.search(r"as select '(\w{32})' as rules", text):
            self.settled_rules = settled[1]
        if made := re.search(r"'(\w{32})' as made_by", text):
            self.made_by[node or ""] = made[1]
        if text.startswith("select rules from"):
            return ["rules"], [(self.settled_rules,)]
        if text.startswith("select min(made_by)"):
            made_by = self.made_by.get(node or "")
            return ["first", "last", "is_later"], [(made_by, made_by, 0)]
        for pattern, columns, rows in ANSWERS:
            if re.search(pattern, text):
                return columns, rows
        return [], []


def plain(statement: str) -> str:
    """A statement without dbt's comment, and with nothing in it that another run has otherwise."""
    text = re.sub(r'/\* \{"app": "dbt".*?\} \*/', "", statement, flags=re.DOTALL)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "INVOCATION", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+", "MOMENT", text)
    lines = [line.rstrip() for line in text.strip().removesuffix(";").rstrip().splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


class Cursor:
    """A DB-API cursor; also what some drivers add to one."""

    sqlstate = None
    sfqid = "1"
    stats = None
    query_id = "1"
    rowcount = 0
    messages: Sequence[Any] = ()

    def __init__(self, handle: Handle) -> None:
        self.connection = handle
        self.rows: list[tuple[Any, ...]] = []
        self.description: list[tuple[Any, ...]] = []

    def execute(self, statement: str, *_: Any, **__: Any) -> Cursor:
        """Keep it; its answer is there to be fetched."""
        columns, self.rows = self.connection.recorder.answer(self.connection.dbt.name, statement)
        self.description = [(name, None, None, None, None, None, None) for name in columns]
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        return self.rows[:size]

    def fetchone(self) -> tuple[Any, ...] | None:
        return self.rows[0] if self.rows else None

    def nextset(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Handle:
    """A DB-API connection. dbt's own names the node that it is used for."""

    session_id = 1

    def __init__(self, recorder: Recorder, dbt: Any) -> None:
        self.recorder = recorder
        self.dbt = dbt

    def cursor(self, *_: Any, **__: Any) -> Cursor:
        return Cursor(self)

    def get_session_id_hex(self) -> str:
        return "1"

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass

    def close(self) -> None:
        pass


class BigQueryClient:
    """As much of google.cloud.bigquery.Client as dbt uses for SQL. What it asks for without SQL is kept as a
    comment."""

    def __init__(self, recorder: Recorder, dbt: Any) -> None:
        self.recorder = recorder
        self.dbt = dbt

    def query(self, query: str, **_: Any) -> Any:
        """Keep it; gives a job that is done."""
        columns, rows = self.recorder.answer(self.dbt.name, query)
        job = mock.Mock(location=None, project=None, destination=None, job_id="1", statement_type="SCRIPT")
        job.total_bytes_processed = job.slot_millis = job.total_bytes_billed = 0
        job.result = lambda **_: BigQueryRows(columns, rows)
        return job

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        def call(table: Any = None, *_: Any, **__: Any) -> Any:
            self.recorder.answer(self.dbt.name, f"-- {name} {table}")
            place = (getattr(table, "dataset_id", ""), getattr(table, "table_id", ""))
            if name == "get_table" and place not in self.recorder.relations:
                from google.api_core.exceptions import NotFound

                raise NotFound(f"{table}")  # type: ignore[no-untyped-call]
            return mock.MagicMock()

        return call


class BigQueryRows(list[dict[str, Any]]):
    """A result's rows, by column, and its schema."""

    def __init__(self, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
        super().__init__(dict(zip(columns, row, strict=True)) for row in rows)
        self.schema = [mock.Mock() for _ in columns]
        for field, name in zip(self.schema, columns, strict=True):
            field.name = name
