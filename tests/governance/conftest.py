"""A PostgreSQL for the tests of what the plan's macros make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.governance.rendering import Renderer
from tests.warehouses.postgres import running_postgres


@pytest.fixture(scope="module")
def cursor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A database of its own."""
    import adbc_driver_postgresql.dbapi as adbc

    with (
        running_postgres(tmp_path_factory.mktemp("postgres")) as server,
        adbc.connect(server.uri(), autocommit=True) as connection,
        connection.cursor() as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    """The macros as they are there."""
    return Renderer(tmp_path_factory.mktemp("rendered"), "postgres")
