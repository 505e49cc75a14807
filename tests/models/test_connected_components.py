"""The materialization on graphs whose components are known by union-find."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pytest

from tests.helpers.built import ROOT
from tests.models.conftest import run_dbt

pytestmark = [pytest.mark.slow, pytest.mark.long]

Edges = list[tuple[str, str]]


def chains() -> Edges:
    return [(f"c{chain}-{i}", f"c{chain}-{i + 1}") for chain in range(3) for i in range(200)]


def stars() -> Edges:
    return [(f"hub{star}", f"leaf{star}-{i}") for star in range(3) for i in range(100)]


def shuffled(edges: Edges, seed: int) -> Edges:
    """The edges in another order, with other names and directions."""
    chance = random.Random(seed)
    names = {node: f"{chance.getrandbits(64):x}" for edge in edges for node in edge}
    turned = [(a, b) if chance.random() < 0.5 else (b, a) for a, b in edges]
    chance.shuffle(turned)
    return [(names[a], names[b]) for a, b in turned]


def scattered(seed: int) -> Edges:
    chance = random.Random(seed)
    return [(f"n{chance.randrange(2_000)}", f"n{chance.randrange(2_000)}") for _ in range(1_100)]


GRAPHS = {
    "no edges": [],
    "a node alone": [("a", "a")],
    "chains of 200": chains(),
    "chains of 200, shuffled": shuffled(chains(), 1),
    "stars": shuffled(stars(), 2),
    "a clique": [(f"k{i}", f"k{j}") for i in range(30) for j in range(i)],
    "edges twice and in both directions": [("a", "b"), ("b", "a"), ("a", "b"), ("c", "c"), ("c", "d")],
    "scattered, seed 3": scattered(3),
    "scattered, seed 4": scattered(4),
}


NODES = sorted({node for edges in GRAPHS.values() for edge in edges for node in edge})
NUMBERS = {node: number for number, node in enumerate(NODES)}
"""Some in the order of a chain, which is the hardest for hooks, and some in none."""


def components(edges: Edges) -> set[frozenset[str]]:
    """The components by union-find."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in edges:
        parent[root(a)] = root(b)
    groups: dict[str, set[str]] = {}
    for node in list(parent):
        groups.setdefault(root(node), set()).add(node)
    return {frozenset(group) for group in groups.values()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One build of a project with a model a graph, twice: the second replaces the first's tables."""
    folder = tmp_path_factory.mktemp("graphs")
    database = folder / "revetl.duckdb"
    (folder / "models").mkdir()
    (folder / "dbt_project.yml").write_text(
        "name: graphs\nprofile: graphs\nmodel-paths: [models]\nvars: {revetl: {sample_events: false}}\n"
    )
    (folder / "profiles.yml").write_text(
        f"graphs: {{target: t, outputs: {{t: {{type: duckdb, path: '{database}'}}}}}}\n"
    )
    (folder / "packages.yml").write_text(f"packages: [{{local: '{ROOT}'}}]\n")
    with duckdb.connect(str(database)) as connection:
        for number, edges in enumerate(GRAPHS.values()):
            connection.execute(f"create table edges_{number} (left_node bigint, right_node bigint)")
            if edges:
                pairs = [(NUMBERS[left], NUMBERS[right]) for left, right in edges]
                connection.executemany(f"insert into edges_{number} values (?, ?)", pairs)
            model = f"{{{{ config(materialized='connected_components') }}}}\nselect * from edges_{number}\n"
            (folder / "models" / f"graph_{number}.sql").write_text(model)
    run_dbt(database, "deps", project=folder)
    for _ in range(2):
        run_dbt(database, "run", "--select", "graphs", project=folder)
    return database


@pytest.mark.parametrize("number", range(len(GRAPHS)), ids=list(GRAPHS))
def test_components_are_those_of_union_find(built: Path, number: int) -> None:
    with duckdb.connect(str(built), read_only=True) as connection:
        rows = connection.execute(
            f"select component_id, list(node_id) from graph_{number} group by 1"
        ).fetchall()
    rows = [(NODES[component], [NODES[node] for node in nodes]) for component, nodes in rows]
    found = {frozenset(nodes) for _, nodes in rows}
    assert found == components(list(GRAPHS.values())[number])
    assert all(component in nodes for component, nodes in rows)


def test_no_working_tables_are_left(built: Path) -> None:
    with duckdb.connect(str(built), read_only=True) as connection:
        tables = connection.execute(
            "select table_name from duckdb_tables() where schema_name = 'main'"
        ).fetchall()
    numbers = range(len(GRAPHS))
    expected = {f"graph_{n}" for n in numbers} | {f"edges_{n}" for n in numbers}
    assert {name for (name,) in tables} == expected
