"""Connected components by others, over the same edges: scipy's, which is the floor, networkx's and splink's.

Each reads a table (left_id, right_id) of a DuckDB file, writes one (identifier_id, component), and runs in a
process of its own. The file must not be open elsewhere meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import duckdb
from _report import peak_mb, timed


@dataclass(frozen=True)
class Run:
    """Seconds from edges to components, both in the file, and the most memory the process had, in MB."""

    seconds: float
    peak_mb: float


Peer = Callable[[duckdb.DuckDBPyConnection, str, str], None]


def scipy(database: Path, edges: str = "bench.edges", into: str = "bench.scipy", **settings: str) -> Run:
    """The floor: ids become whole numbers in DuckDB, and scipy labels them. `settings` are DuckDB's."""
    return _run(_scipy, ["scipy.sparse", "scipy.sparse.csgraph"], database, edges, into, settings)


def networkx(
    database: Path, edges: str = "bench.edges", into: str = "bench.networkx", **settings: str
) -> Run:
    """networkx.connected_components over the ids as they are, held as Python objects."""
    return _run(_networkx, ["networkx", "pyarrow"], database, edges, into, settings)


def splink(database: Path, edges: str = "bench.edges", into: str = "bench.splink", **settings: str) -> Run:
    """splink's clustering of pairs that all match, in the same DuckDB file."""
    return _run(_splink, ["splink", "splink.clustering"], database, edges, into, settings)


def same_partition(connection: duckdb.DuckDBPyConnection, left: str, right: str) -> bool:
    """Whether two tables (identifier, label) have the same identifiers, once each, in the same groups."""
    query = f"""
        with pairs as (
            select l.label as left_label, r.label as right_label, count(*) as identifiers,
                count(*) filter (where l.identifier is null or r.identifier is null) as alone
            from {left} as l (identifier, label)
            full join {right} as r (identifier, label) on l.identifier = r.identifier
            group by all
        )
        select coalesce(sum(alone), 0) = 0
            and count(*) = count(distinct left_label) and count(*) = count(distinct right_label)
            and coalesce(sum(identifiers), 0) = (select count(*) from {left})
            and coalesce(sum(identifiers), 0) = (select count(*) from {right})
        from pairs
    """
    return bool(connection.execute(query).fetchall()[0][0])


def _run(
    peer: Peer, modules: list[str], database: Path, edges: str, into: str, settings: dict[str, str]
) -> Run:
    """Run a peer in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, peer, modules, database, edges, into, settings).result()


def _measure(
    peer: Peer, modules: list[str], database: Path, edges: str, into: str, settings: dict[str, str]
) -> Run:
    # Loading a library is no part of its time.
    for module in modules:
        import_module(module)
    with duckdb.connect(str(database), config=dict(settings)) as connection:
        connection.execute("set enable_progress_bar = false")
        connection.execute(f"drop table if exists {into}")
        with timed() as clock:
            peer(connection, edges, into)
    return Run(clock.seconds, own_peak_mb())


def own_peak_mb() -> float:
    """The most memory this process has had; on Linux getrusage would count its parent's as well."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return peak_mb()


def _scipy(connection: duckdb.DuckDBPyConnection, edges: str, into: str) -> None:
    numpy, sparse = import_module("numpy"), import_module("scipy.sparse")
    csgraph = import_module("scipy.sparse.csgraph")
    connection.execute(
        f"""
        create temp table nodes as
        select identifier_id, (row_number() over () - 1)::int as node
        from (select left_id as identifier_id from {edges} union select right_id from {edges})
        """
    )
    ends = connection.execute(
        f"""
        select l.node as a, r.node as b from {edges} as e
        join nodes as l on l.identifier_id = e.left_id join nodes as r on r.identifier_id = e.right_id
        """
    ).fetchnumpy()
    ((size,),) = connection.execute("select count(*) from nodes").fetchall()
    ones = numpy.ones(len(ends["a"]), dtype=numpy.int8)
    graph = sparse.coo_matrix((ones, (ends["a"], ends["b"])), shape=(size, size))
    _, components = csgraph.connected_components(graph, directed=False)
    connection.register("labels", {"node": numpy.arange(size, dtype=numpy.int32), "component": components})
    connection.execute(
        f"create table {into} as select identifier_id, component::bigint as component from nodes join labels using (node)"
    )


def _networkx(connection: duckdb.DuckDBPyConnection, edges: str, into: str) -> None:
    library, arrow = import_module("networkx"), import_module("pyarrow")
    graph = library.Graph()
    rows = connection.execute(f"select left_id, right_id from {edges}")
    while batch := rows.fetchmany(100_000):
        graph.add_edges_from(batch)
    ids: list[str] = []
    labels: list[int] = []
    for label, component in enumerate(library.connected_components(graph)):
        ids.extend(component)
        labels.extend([label] * len(component))
    connection.register("labels", arrow.table({"identifier_id": ids, "component": labels}))
    connection.execute(f"create table {into} as select * from labels")


def _splink(connection: duckdb.DuckDBPyConnection, edges: str, into: str) -> None:
    library, clustering = import_module("splink"), import_module("splink.clustering")
    connection.execute(
        f"create temp table nodes as select left_id as id from {edges} union select right_id from {edges}"
    )
    clusters = clustering.cluster_pairwise_predictions_at_threshold(
        "nodes",
        edges,
        library.DuckDBAPI(connection=connection),
        node_id_column_name="id",
        edge_id_column_name_left="left_id",
        edge_id_column_name_right="right_id",
    )
    connection.execute(
        f"create table {into} as select id as identifier_id, cluster_id as component from {clusters.physical_name}"
    )
    clusters.drop_table_from_database_and_remove_from_cache()
