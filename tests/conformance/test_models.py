"""The models on every engine: built of the same messages, equal row for row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.worlds import World
from tests.warehouses import messages

pytestmark = [pytest.mark.slow, pytest.mark.long]
_AS_OF = ("--vars", f"as_of: {messages.AS_OF}")
Tables = dict[str, Counter[str]]


def history(engine: str, folder: Path) -> list[Tables]:
    """The tables after a first build, after one of what changed since, and made anew."""
    world = World(engine, folder)
    world.seeds(messages.CUTS, [])
    world.land(messages.MESSAGES, {})
    said = world.dbt("build", *_AS_OF)
    assert "ERROR=0 SKIP=0" in said
    built = [world.tables()]
    world.seeds(messages.CUTS[1:], messages.BLOCKED)
    world.land(messages.MORE_MESSAGES, messages.GONE)
    world.dbt("build", *_AS_OF)
    built.append(world.tables())
    world.dbt("build", "--full-refresh", *_AS_OF)
    return [*built, world.tables()]


@pytest.fixture(scope="session")
def on_duckdb(tmp_path_factory: pytest.TempPathFactory) -> list[Tables]:
    return history("duckdb", tmp_path_factory.mktemp("models") / "duckdb")


def test_models_are_as_on_duckdb(engine: str, tmp_path: Path, on_duckdb: list[Tables]) -> None:
    found = history(engine, tmp_path / engine)
    for build, expected, made in zip(("first", "second", "anew"), on_duckdb, found, strict=True):
        assert made.keys() == expected.keys()
        for name, rows in expected.items():
            assert sum(rows.values()) == sum(made[name].values()), f"{build} build: {name}"
            assert (rows - made[name], made[name] - rows) == (Counter(), Counter()), f"{build} build: {name}"
