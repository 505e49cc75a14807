"""The project's SQL on the engines that are not to be had here: it parses, and a change is seen in review.

The files in `golden/` hold what each model says to each engine, working tables included, in a first build and
(where that is otherwise) in one on what the first has left. (Not as .sql, which dbt would take for tests.)
They are written anew with

    REVETL_WRITE_GOLDEN=1 pytest -m warehouses tests/warehouses/test_rendered.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from tests.helpers.built import EXAMPLES, ROOT
from tests.warehouses.rendered import ENGINES, Said
from tests.warehouses.tsql import refused

pytestmark = pytest.mark.warehouses

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def said(engine: str) -> Said:
    """What dbt says to the engine, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.warehouses.rendered", engine],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: Said = json.loads(done.stdout)
    return found


def statements(said: Said) -> Iterator[tuple[str, str]]:
    """Node and statement."""
    for node, builds in said.items():
        for build in builds.values():
            for statement in build:
                yield node, statement


def golden_text(builds: dict[str, list[str]]) -> str:
    """A node's file: the first build, and the next where a table is not only made again."""
    first, following = builds["first"], builds.get("next", [])
    text = ["-- First build.", *(f"{statement};" for statement in first)]
    made = max(first, key=len)
    if made not in following or len(following) > len(first) + 4:
        text += ["-- Next build.", *(f"{statement};" for statement in following)]
    return "\n\n".join(text) + "\n"


def test_every_statement_parses(engine: str, said: Said) -> None:
    wrong = {}
    for node, statement in statements(said):
        try:
            sqlglot.parse(statement, dialect=engine, error_level=sqlglot.ErrorLevel.RAISE)
        except sqlglot.errors.SqlglotError as error:
            wrong[node] = f"{error}\n{statement}"
    assert not wrong
    models = [
        file
        for file in (*ROOT.glob("models/**/*.sql"), *EXAMPLES.glob("*.sql"))
        if "materialized='ephemeral'" not in file.read_text()
    ]
    assert sum(node.startswith("model.") for node in said) == len(models)


def test_what_is_said_is_as_it_was(engine: str, said: Said) -> None:
    folder = GOLDEN / engine
    now = {
        f"{node.rsplit('.')[-1]}.txt": golden_text(builds)
        for node, builds in said.items()
        if "first" in builds
    }
    if os.environ.get("REVETL_WRITE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for file in folder.glob("*.txt"):
            file.unlink()
        for name, text in now.items():
            (folder / name).write_text(text)
    before = {file.name: file.read_text() for file in folder.glob("*.txt")}
    assert now.keys() == before.keys()
    for name, text in now.items():
        assert text == before[name], f"{engine}/{name}"


@pytest.mark.parametrize("engine", ["bigquery", "redshift"], indirect=True)
def test_no_name_is_a_reserved_word(engine: str, said: Said) -> None:
    # Redshift lists two that it takes: a type's name may be a column's.
    taken = {"timestamp", "type", "oid"} if engine == "redshift" else set()
    reserved = sqlglot.Dialect.get_or_raise(engine).generator_class.RESERVED_KEYWORDS - taken
    assert reserved
    found = {
        name.name.lower()
        for _, statement in statements(said)
        for query in sqlglot.parse(statement, dialect=engine)
        if query
        for name in query.find_all(exp.Identifier)
        if not name.args.get("quoted")
    }
    assert not found & reserved


@pytest.mark.parametrize("engine", ["fabric"], indirect=True)
def test_fabric_takes_every_model(said: Said) -> None:
    models = [(node, text) for node, text in statements(said) if node.startswith("model.")]
    assert len(models) > len(list((GOLDEN / "fabric").glob("*.txt")))
    assert not {node: why for node, text in models if (why := refused(text))}
