"""fakesnow's server in Snowflake's place, and dbt-snowflake on it. It runs Snowflake's SQL on DuckDB.

It cannot run dbt's unit tests (TEMPORARY table names can *only* use the "temp" catalog), does not list what
is in a schema `main`, and gives a driver 1970 for a timestamp that is null.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.helpers.built import ROOT, in_fixed_schemas

# Not the schema main: fakesnow does not list what is in it.
PROFILE = """\
revetl:
  target: snowflake
  outputs:
    snowflake:
      type: snowflake
      account: {account}
      user: {user}
      password: {password}
      host: {host}
      port: {port}
      protocol: http
      database: analytics
      schema: shop
      threads: 1
"""


@dataclass
class Snowflake:
    """A running server: how a driver connects to it, and a folder with dbt's profile of it."""

    driver: dict[str, Any]
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which dbt uses it."""
        return {"DBT_PROFILES_DIR": str(self.folder)}

    def dbt(self, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run dbt on it in a project's folder; whether it succeeded is for the caller to look at."""
        environment = {
            **os.environ,
            **self.environment,
            "DBT_TARGET_PATH": str(self.folder / "target"),
            "DBT_LOG_PATH": str(self.folder / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
        }
        command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "dbt.cli.main", "--no-use-colors"]
        return subprocess.run(
            [*command, *in_fixed_schemas(arguments), "--project-dir", str(project)],
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Add rows; a document is JSON, and a moment a timestamp."""
        import snowflake.connector

        with snowflake.connector.connect(**self.driver, database="ANALYTICS", schema="RAW") as connection:
            for start in range(0, len(rows), 100):
                selects = [
                    "select " + ", ".join(literal(name, value) for name, value in row.items())
                    for row in rows[start : start + 100]
                ]
                connection.cursor().execute(
                    f"insert into {table} ({', '.join(rows[0])}) {' union all '.join(selects)}"
                )

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask it."""
        import snowflake.connector

        with snowflake.connector.connect(**self.driver, database="ANALYTICS", schema="SHOP") as connection:
            rows: list[tuple[Any, ...]] = connection.cursor().execute(statement).fetchall()
        return rows


def literal(name: str, value: Any) -> str:
    """A value as Snowflake's SQL writes it, by the column's name and its type in Python."""
    if value is None:
        return "null"
    text = "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"
    if name in ("properties", "traits", "context"):
        return f"parse_json({text})"
    return f"cast({text} as timestamp_ntz)" if isinstance(value, datetime) else text


@contextmanager
def running_snowflake(folder: Path, server_module: str = __name__) -> Iterator[Snowflake]:
    """A server with an empty database, on a free port of this machine; `folder` is taken for dbt's files."""
    import snowflake.connector

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = {"account": "fakesnow", "user": "fake", "password": "snow", "host": "127.0.0.1", "port": port}
    (folder / "profiles.yml").write_text(PROFILE.format(**driver))
    command = [sys.executable, "-W", "ignore", "-m", server_module, str(port)]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(port, server)
            served = Snowflake({**driver, "protocol": "http"}, folder)
            with snowflake.connector.connect(**served.driver) as connection:
                connection.cursor().execute("create database analytics")
            yield served
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for(port: int, server: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Until something answers at a port of this machine; raises when the process ends first, or it takes
    longer."""
    end = time.monotonic() + seconds
    while server.poll() is None and time.monotonic() < end:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("fakesnow's server did not start")


def serve(port: int) -> None:
    """Be the server, until interrupted. It is given a function that Snowflake has and fakesnow does not, by
    the name that sqlglot writes; and sums of exact numbers are left exact."""
    from fakesnow import cli, macros, transforms

    own = macros.creation_sql

    def creation_sql(catalog: str) -> str:
        return f"""
            {own(catalog)}
            create or replace macro {catalog}.m_d5_number_upper64(value) as
                cast('0x' || left(md5(value), 16) as ubigint);
        """

    macros.creation_sql = creation_sql
    transforms.numeric_agg_implicit_cast = lambda expression: expression
    cli.main(["--server", "--port", str(port)])


if __name__ == "__main__":
    serve(int(sys.argv[1]))
