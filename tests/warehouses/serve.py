"""Servers of the warehouses that run here, found by the variables that profiles.yml names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(engine: str, folder: Path) -> Iterator[dict[str, str]]:
    """A server of an engine in a folder (none for DuckDB); gives the variables that say where it is."""
    if engine == "postgres":
        from tests.warehouses.postgres import running_postgres

        with running_postgres(folder) as postgres:
            yield postgres.environment("postgres")
    elif engine == "spark":
        from tests.warehouses.spark import running_spark

        with running_spark(folder) as spark:
            yield spark.environment
    else:
        assert engine == "duckdb", f"no server of {engine} runs here"
        yield {}
