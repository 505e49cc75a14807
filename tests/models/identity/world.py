"""A project whose messages, cuts and blocked identifiers a test sets, and dbt builds in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Set
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb

from revetl.identifiers.trimming import TRIMMABLE_CHARACTERS
from tests.helpers.built import ROOT, SCHEMAS, connect
from tests.models.identity.reference import Identifier, Message, Rules

START = datetime(2026, 1, 1)
MODELS = (
    "world",
    "revetl.staging",
    "revetl.intermediate.messages",
    "revetl.intermediate.identity",
    "revetl.marts.identity",
)
"""What a build of identities is made of."""


class World:
    """A folder with a dbt project that has revetl as its package; its DuckDB file is `database`."""

    def __init__(self, folder: Path, rules: Rules, package: Path = ROOT) -> None:
        self.folder = folder
        self.database = folder / "world.duckdb"
        self._manifest: Any = None
        (folder / "models").mkdir()
        output = {"type": "duckdb", "path": str(self.database), "threads": 2}
        profiles = {"world": {"target": "t", "outputs": {"t": output}}}
        (folder / "profiles.yml").write_text(json.dumps(profiles))
        (folder / "models" / "shown.sql").write_text(
            "{{ config(materialized='view') }} select * from seeded_messages"
        )
        self.rule(rules)
        with duckdb.connect(str(self.database)) as connection:
            columns = ", ".join(f"{kind} varchar" for kind in sorted(rules.types))
            connection.execute(f"create table seeded_messages (id varchar, shown_at timestamp, {columns})")
        self.install(package)
        self._dbt("seed", "--select", "revetl_blocked_identifiers", "revetl_cut_edges")

    def install(self, package: Path) -> None:
        """Put another version of the package in the place of the one there."""
        (self.folder / "packages.yml").write_text(json.dumps({"packages": [{"local": str(package)}]}))
        (self.folder / "package-lock.yml").unlink(missing_ok=True)
        self._dbt("deps")

    def rule(self, rules: Rules) -> None:
        """Put other rules in force."""
        self.rules = rules
        identifiers: dict[str, dict[str, object]] = {
            kind: {"limit": dict(rules.limits[kind]) if rules.limits.get(kind) else "none"}
            for kind in rules.types
        }
        identity = {
            "identifiers": identifiers,
            "priority": list(rules.types),
            "blocked": [],
            "models": {
                "shown": {
                    "message_id": "id",
                    "timestamp": "shown_at",
                    "identifiers": {kind: kind for kind in rules.types},
                }
            },
        }
        project = {
            "name": "world",
            "profile": "world",
            "vars": {
                "revetl": {**SCHEMAS, "sample_events": False, "identity": identity, "as_of": "2027-01-01"}
            },
        }
        (self.folder / "dbt_project.yml").write_text(json.dumps(project))

    def show(
        self,
        messages: Iterable[Message],
        cuts: Set[tuple[Identifier, Identifier]] = frozenset(),
        blocked: Set[Identifier] = frozenset(),
    ) -> None:
        """Put messages, cuts and blocked identifiers in the place of those there."""
        messages = list(messages)
        shown = [
            (
                message.id,
                _time(message),
                *(_written(message, message.identifiers.get(kind)) for kind in sorted(self.rules.types)),
            )
            for message in messages
            if not message.previous_id
        ]
        aliases = [
            (
                message.id,
                message.identifiers["user_id"],
                _written(message, message.previous_id),
                _time(message),
                _time(message),
            )
            for message in messages
            if message.previous_id
        ]
        marks = ", ".join("?" for _ in range(len(self.rules.types) + 2))
        with duckdb.connect(str(self.database)) as connection:
            connection.execute("create schema if not exists raw")
            connection.execute(
                "create table if not exists raw.aliases (id varchar, user_id varchar, previous_id varchar, "
                "timestamp timestamp, received_at timestamp)"
            )
            for table in ("seeded_messages", "raw.aliases", "revetl_cut_edges", "revetl_blocked_identifiers"):
                connection.execute(f"delete from {table}")
            _fill(connection, f"insert into seeded_messages values ({marks})", shown)
            _fill(
                connection,
                "insert into raw.aliases (id, user_id, previous_id, timestamp, received_at) "
                "values (?, ?, ?, ?, ?)",
                aliases,
            )
            _fill(
                connection,
                "insert into revetl_cut_edges (left_type, left_value, right_type, right_value) "
                "values (?, ?, ?, ?)",
                [(*left, *right) for left, right in cuts],
            )
            _fill(
                connection,
                "insert into revetl_blocked_identifiers (identifier_type, identifier_value) values (?, ?)",
                list(blocked),
            )

    def build(self, *arguments: str, select: Iterable[str] = MODELS) -> None:
        """`dbt run` of the identity models."""
        self._dbt("run", "--select", *select, *arguments)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with connect(self.database) as connection:
            return connection.execute(statement).fetchall()

    def profiles(self) -> dict[Identifier, str]:
        """Identifier to canonical id, as the graph has it."""
        rows = self.ask(
            "select identifier_type, identifier_value, canonical_id from int_revetl__identity_graph"
        )
        found = {(kind, value): canonical_id for kind, value, canonical_id in rows}
        assert len(found) == len(rows)
        return found

    def parse(self, variables: str) -> str:
        """What `dbt parse` says with other variables."""
        return self._run("parse", "--vars", variables)[1]

    def operate(self, macro: str, variables: str) -> str:
        """What dbt says while a macro runs with other variables, in the project as it was first parsed."""
        if self._manifest is None:
            from dbt.cli.main import dbtRunner

            folders = ["--project-dir", str(self.folder), "--profiles-dir", str(self.folder)]
            self._manifest = dbtRunner().invoke(["--quiet", "parse", *folders]).result
        return self._run("run-operation", macro, "--vars", variables, manifest=self._manifest)[1]

    def render(self, expression: str, variables: str) -> str:
        """The text of a Jinja expression with other variables, in dbt's output."""
        done, said = self._run("compile", "--inline", f"{{{{ {expression} }}}}", "--vars", variables)
        assert done, said[-4000:]
        return said

    def _dbt(self, *arguments: str) -> None:
        done, said = self._run(*arguments)
        assert done, said[-4000:]

    def _run(self, *arguments: str, manifest: Any = None) -> tuple[bool, str]:
        # Here, for dbt takes seconds to import, and most runs of pytest only collect this.
        from dbt.cli.main import dbtRunner

        folders = ["--project-dir", str(self.folder), "--profiles-dir", str(self.folder)]
        out = StringIO()
        here = Path.cwd()
        os.chdir(self.folder)
        try:
            with redirect_stdout(out), redirect_stderr(out):
                done = dbtRunner(manifest=manifest).invoke(["--no-use-colors", *arguments, *folders])
        finally:
            os.chdir(here)
        return done.success, f"{out.getvalue()} {done.exception or ''}"


def _written(message: Message, value: str | None) -> str | None:
    """A value with characters around it that nobody sees, different ones in different messages."""
    if value is None:
        return None
    first, last = (
        TRIMMABLE_CHARACTERS[(message.second + len(message.id) + step) % len(TRIMMABLE_CHARACTERS)]
        for step in (0, 7)
    )
    return f"{first}{value}{last}{first}"


def _time(message: Message) -> datetime:
    return START + timedelta(seconds=message.second)


def _fill(connection: duckdb.DuckDBPyConnection, statement: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        connection.executemany(statement, rows)
