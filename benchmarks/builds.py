"""dbt builds of a project made by `revetl init`: what the first, an idle, and a small one cost.

    python benchmarks/builds.py [--events 1000000 4000000] [--target postgres] [--dbt PATH] [--package DIR ...] [--json]

Generated messages of a tenth as many people over 400 days are written straight into the raw tables; `--events 0`
builds from the sample events instead. Each build is a process: `dbt build` at first, then without tests, once with
nothing new and once after `--small` messages. Columns: nodes; statements (`Using … connection` in dbt's debug log);
CPU seconds of dbt and of the server; seconds; peak memory of dbt; the database's size over that of its raw tables.
`of first` is the CPU above an idle build of 1,000 events (dbt's fixed cost), as a part of the first build's.

`--package DIR` (repeatable) is a checkout of another commit, whose `revetl init` makes the project: both are measured
in one run, in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg2  # type: ignore[import-untyped]
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.warehouses.postgres import running_postgres  # noqa: E402

DAYS = 400
TABLES = ("tracks", "pages", "identifies")
WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")

# A message: who (a few people do most), on which of their devices, when, and what. A person in eight never signs in;
# one device in 150 is also used by the next person. {first}, {last}: numbers of the messages; {people}: how many there
# are; {new}: how many of them are only seen from {first} on.
_MESSAGES = """
create or replace temp table messages as
with numbers as (
    select i, hash(i, 1) / 18446744073709551615.0 as share, (hash(i, 2) >> 2)::bigint as h, (hash(i, 3) >> 2)::bigint as g
    from range({first}, {last}) as numbers (i)
),
people as (
    select *, case when {new} > 0 and h % 40 = 0 then {people} - 1 - (g % greatest({new}, 1))
        else floor(pow(share, 1.5) * ({people} - {new})) end::bigint as person
    from numbers
),
devices as (
    select *,
        timestamp '{until}' - to_microseconds(({seconds} * 1000000.0 * (hash(i, 4) / 18446744073709551615.0))::bigint) as happened_at,
        (hash(person, 5) % 3 + 1)::bigint as devices
    from people
)
select i, h, g, happened_at, person,
    case when hash(person, g % devices, 6) % 150 = 0 then person + 1 else person end as owner, g % devices as device,
    hash(person, 7) % 8 > 0 and hash(i, 8) % 10 < 6 as is_signed_in,
    md5(i::varchar) as id,
    case when h % 100 < 62 then 'tracks' when h % 100 < 90 then 'pages' else 'identifies' end as kind
from devices
"""

_COMMON = {
    "id": "id",
    "user_id": "case when is_signed_in then 'user-' || person end",
    "anonymous_id": "md5('device' || owner || '-' || device)",
    "context": """'{"ip":"10.' || hash(person, 1) % 250 || '.' || hash(person, 2) % 250 || '.7","locale":"en-US","library":'
        || '{"name":"analytics.js","version":"2.' || h % 30 || '.0"},"campaign":{"source":"' || ['google', 'meta', 'mail'][h % 3 + 1]
        || '"},"userAgent":"Mozilla/5.0 (' || ['Macintosh', 'Windows NT 10.0', 'iPhone'][(hash(person, device) % 3)::int + 1] || ')"}'""",
    "timestamp": "happened_at",
    "original_timestamp": "happened_at",
    "sent_at": "happened_at + interval 1 second",
    "received_at": "happened_at + to_milliseconds((h % 9000)::bigint)",
    "uuid_ts": "happened_at + interval 60 seconds",
    "source_id": "'shop'",
}
_EVENTS = "['Product Viewed', 'Product Viewed', 'Product Viewed', 'Product Added', 'Cart Viewed', 'Checkout Started', 'Order Completed', 'Coupon Applied']"
_EVENT = f"case when g % 160 = 0 then 'Order Refunded' else {_EVENTS}[g % 8 + 1] end"
_OWN = {
    "tracks": {
        "event": f"lower(replace({_EVENT}, ' ', '_'))",
        "event_text": _EVENT,
        "properties": """'{"order_id":"order-' || i || '","total":' || (h % 20000) / 100.0 || ',"currency":"USD","coupon":"code ' || g % 9
            || '","products":[{"product_id":"sku-' || h % 900 || '","name":"Product ' || h % 900 || '","category":"category ' || h % 12
            || '","price":' || (g % 9000) / 100.0 || ',"quantity":' || (g % 4 + 1) || '}]}'""",
    },
    "pages": {
        "name": "['Home', 'Product', 'Category', 'Cart'][g % 4 + 1]",
        "category": "'shop'",
        "properties": """'{"url":"https://shop.example.com/products/sku-' || h % 900 || '?utm_source=mail&session=' || g % 100000
            || '","path":"/products/sku-' || h % 900 || '","title":"Product ' || h % 900 || '","referrer":"https://search.example.com/"}'""",
    },
    "identifies": {
        "traits": """'{"email":"person' || person || '@example.com","first_name":"First ' || hash(person, 9) % 5000
            || '","last_name":"Last ' || hash(person, 10) % 9000 || '","phone":"+1212' || (1000000 + person % 8999999)
            || '","country":"' || ['US', 'DE', 'GB', 'FR'][(hash(person, 11) % 4)::int + 1] || '","plan":"plan ' || h % 4 || '"}'""",
    },
}


@dataclass(frozen=True)
class Build:
    """What one build cost. Sizes are in MB; `of_first` is none where nothing was measured to compare with."""

    package: str
    events: int
    build: str
    nodes: int
    statements: int
    cpu_seconds: float
    server_cpu_seconds: float
    seconds: float
    peak_mb: float
    size_mb: float
    raw_mb: float
    of_first: float | None = None

    @property
    def cpu(self) -> float:
        """CPU seconds of dbt and of the server."""
        return self.cpu_seconds + self.server_cpu_seconds


class DuckDBFile:
    """The project's file; queries run in dbt's process."""

    def __init__(self, project: Path) -> None:
        self.file = project / "builds.duckdb"
        self.raw_mb = 0.0

    def output(self, made: dict[str, Any]) -> dict[str, Any]:
        """The target of a new project, which `revetl init` made, with the file."""
        return {**made, "path": str(self.file)}

    def fill(self, tables: dict[str, str], columns: dict[str, dict[str, str]], span: _Span) -> None:
        with duckdb.connect(str(self.file)) as connection:
            connection.execute("set enable_progress_bar = false")
            span.make(connection)
            for kind, relation in tables.items():
                connection.execute(f"create schema if not exists {relation.split('.')[0]}")
                listed = ", ".join(f'"{name}" {data_type}' for name, data_type in columns[kind].items())
                connection.execute(f"create table if not exists {relation} ({listed})")
                connection.execute(f"insert into {relation} by name {select(kind)}")
            connection.execute("checkpoint")
        self.raw_mb += self.grown()

    def grown(self) -> float:
        """How much larger the file is than when this was asked last."""
        size = self.size_mb()
        before, self._size = getattr(self, "_size", 0.0), size
        return max(size - before, 0.0)

    def size_mb(self) -> float:
        return self.file.stat().st_size / 1e6 if self.file.exists() else 0.0

    def cpu_seconds(self) -> float:
        return 0.0


class PostgresDatabase:
    """A database of a server; what it computes is counted apart from dbt."""

    def __init__(self, host: str, name: str, postmaster: int) -> None:
        self.target = {
            "type": "postgres",
            "host": host,
            "port": 5432,
            "user": "postgres",
            "password": "",
            "dbname": name,
            "schema": "main",
            "threads": 4,
        }
        self.name = name
        self.postmaster = postmaster
        self.raw_mb = 0.0
        self._relations: list[str] = []

    def fill(self, tables: dict[str, str], columns: dict[str, dict[str, str]], span: _Span) -> None:
        self._relations = list(tables.values())
        with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
            connection.execute("set enable_progress_bar = false")
            span.make(connection)
            Path(folder).chmod(0o755)
            for kind, relation in tables.items():
                types = {"varchar": "text", "json": "jsonb"}
                listed = ", ".join(
                    f'"{name}" {types.get(type_, type_)}' for name, type_ in columns[kind].items()
                )
                names = ", ".join(f'"{name}"' for name in {**_COMMON, **_OWN[kind]})
                file = f"{folder}/{kind}.csv"
                connection.execute(f"copy ({select(kind)}) to '{file}' (format csv, header false)")
                Path(file).chmod(0o644)
                self.run(
                    f"create schema if not exists {relation.split('.')[0]}",
                    f"create table if not exists {relation} ({listed})",
                    f"copy {relation} ({names}) from '{file}' (format csv)",
                    f"analyze {relation}",
                )
        self.raw_mb = (
            sum(self.ask(f"select pg_total_relation_size('{name}')") for name in self._relations) / 1e6
        )

    def output(self, _made: dict[str, Any]) -> dict[str, Any]:
        return self.target

    def run(self, *statements: str) -> None:
        with self._cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def ask(self, query: str) -> float:
        with self._cursor() as cursor:
            cursor.execute(query)
            return float(cursor.fetchone()[0])

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        connection = psycopg2.connect(host=self.target["host"], user="postgres", dbname=self.name)
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def size_mb(self) -> float:
        return self.ask("select pg_database_size(current_database())") / 1e6

    def cpu_seconds(self) -> float:
        """What the server has used, its connections that have ended included."""
        fields = Path(f"/proc/{self.postmaster}/stat").read_text().rsplit(") ", 1)[1].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Span:
    """Messages with the numbers from `first` to `last`, in the `seconds` before `until`."""

    first: int
    last: int
    people: int
    new: int
    seconds: float
    until: str

    def make(self, connection: duckdb.DuckDBPyConnection) -> None:
        """The temporary table `messages`."""
        connection.execute(_MESSAGES.format(**asdict(self)))


def select(kind: str) -> str:
    """A raw table's rows, of `messages`."""
    columns = ", ".join(f'{sql} as "{name}"' for name, sql in {**_COMMON, **_OWN[kind]}.items())
    return f"select {columns} from messages where kind = '{kind}'"


class Project:
    """A new project with messages, by the `revetl init` of a checkout."""

    def __init__(
        self, package: Path, folder: Path, dbt: str, database: DuckDBFile | PostgresDatabase
    ) -> None:
        self.package, self.folder, self.dbt, self.database = package, folder, dbt, database
        environment = {**os.environ, "PYTHONPATH": str(package)}
        command = [sys.executable, "-m", "revetl", "init", folder.name]
        subprocess.run(command, cwd=folder.parent, env=environment, check=True, capture_output=True)
        made = yaml.safe_load((folder / "profiles.yml").read_text())[folder.name]
        output = database.output(made["outputs"][made["target"]])
        profile = {folder.name: {"target": "bench", "outputs": {"bench": output}}}
        (folder / "profiles.yml").write_text(json.dumps(profile))
        self._dbt("deps")

    def use_own_events(self) -> None:
        """No sample events: what is in the raw tables is all there is."""
        file = self.folder / "dbt_project.yml"
        settings = yaml.safe_load(file.read_text())
        settings["vars"]["revetl"]["sample_events"] = False
        file.write_text(yaml.safe_dump(settings, sort_keys=False))

    def raw_tables(self) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """By kind: the raw table (schema.name), and its columns with their types, as the manifest has them."""
        self._dbt("parse")
        manifest = json.loads((self.folder / "target" / "manifest.json").read_text())
        found = {
            source["name"]: source
            for source in manifest["sources"].values()
            if source["package_name"] == "revetl"
        }
        tables = {kind: f"{found[kind]['schema']}.{found[kind]['identifier']}" for kind in TABLES}
        types = {
            kind: {name: column["data_type"] for name, column in found[kind]["columns"].items()}
            for kind in TABLES
        }
        shutil.rmtree(self.folder / "target")
        return tables, types

    def build(self, name: str, events: int, *options: str) -> Build:
        """One `dbt build`. Ends the benchmark with dbt's output where it fails."""
        logs = self.folder / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        cpu, start = self.database.cpu_seconds(), time.perf_counter()
        usage = self._dbt("build", *options)
        seconds = time.perf_counter() - start
        time.sleep(0.2)
        results = json.loads((self.folder / "target" / "run_results.json").read_text())["results"]
        log = "".join(file.read_text(errors="replace") for file in logs.glob("*.log*"))
        # dbt 2 has a log of its own for statements.
        queries = sum(file.read_text().count("-- created_at:") for file in logs.glob("query_log.sql"))
        unit = 1024 * 1024 if sys.platform == "darwin" else 1024
        self.slowest = sorted(
            ((result["execution_time"], result["unique_id"].split(".")[-1]) for result in results),
            reverse=True,
        )
        return Build(
            package=self.package.name,
            events=events,
            build=name,
            nodes=sum(not result["unique_id"].startswith("operation.") for result in results),
            statements=len(re.findall(r'Using \w+ connection "', log)) or queries,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            server_cpu_seconds=self.database.cpu_seconds() - cpu,
            seconds=seconds,
            peak_mb=usage.ru_maxrss / unit,
            size_mb=self.database.size_mb(),
            raw_mb=self.database.raw_mb,
        )

    def _dbt(self, *words: str) -> Any:
        """Run dbt; gives its rusage."""
        output = self.folder / "dbt.out"
        with output.open("wb") as file:
            command = [self.dbt, "--log-level-file", "debug", *words, "--profiles-dir", "."]
            process = subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"dbt {' '.join(words)} failed:\n{output.read_text(errors='replace')[-4000:]}")
        return usage


def measure(
    project: Project, events: int, small: int, first_options: tuple[str, ...], slowest: int
) -> list[Build]:
    """The first build, one with nothing new, one after `small` messages more (none: left out)."""
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 6 * 3600))
    people = max(events // 10, 1)
    if events:
        project.use_own_events()
        tables, columns = project.raw_tables()
        project.database.fill(tables, columns, _Span(0, events, people, 0, DAYS * 86400, until))
    builds = [project.build("first", events, *first_options)]
    print_slowest(project, slowest)
    builds.append(project.build("idle", events, *WITHOUT_TESTS))
    print_slowest(project, slowest)
    if events and small:
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 600))
        new = small // 200
        if isinstance(project.database, DuckDBFile):
            project.database.grown()
        project.database.fill(
            tables, columns, _Span(events, events + small, people + new, new, 5 * 3600, now)
        )
        builds.append(project.build("small", events, *WITHOUT_TESTS))
        print_slowest(project, slowest)
    return builds


def print_slowest(project: Project, number: int) -> None:
    for seconds, name in project.slowest[:number]:
        print(f"    {seconds:7.2f} s  {name}", file=sys.stderr)


@contextlib.contextmanager
def databases(target: str) -> Iterator[Any]:
    """Gives a function of a project's folder that makes its database."""
    if target == "duckdb":
        yield DuckDBFile
        return
    with tempfile.TemporaryDirectory() as folder, running_postgres(Path(folder)) as server:
        postmaster = int((Path(folder) / "postmaster.pid").read_text().splitlines()[0])

        def database(project: Path) -> PostgresDatabase:
            server.create_database(project.name)
            return PostgresDatabase(server.host, project.name, postmaster)

        yield database


def print_builds(builds: list[Build], as_json: bool) -> None:
    """Objects of JSON, or lines under the names of their columns."""
    if as_json:
        for build in builds:
            print(json.dumps(asdict(build)), flush=True)
        return
    print(
        f"{'package':<12} {'events':>9} {'build':<6} {'nodes':>5} {'statements':>10} {'cpu s':>7} {'server':>7} "
        f"{'wall s':>7} {'peak MB':>8} {'MB':>7} {'raw MB':>7} {'times':>6} {'of first':>8}"
    )
    for b in builds:
        times = f"{b.size_mb / b.raw_mb:.1f}" if b.raw_mb else ""
        print(
            f"{b.package:<12} {b.events:>9} {b.build:<6} {b.nodes:>5} {b.statements:>10} {b.cpu_seconds:>7.1f} "
            f"{b.server_cpu_seconds:>7.1f} {b.seconds:>7.1f} {b.peak_mb:>8.0f} {b.size_mb:>7.0f} {b.raw_mb:>7.0f} "
            f"{times:>6} {'' if b.of_first is None else f'{b.of_first:.3f}':>8}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument(
        "--small", type=int, default=100_000, help="messages before the small build; 0 for none"
    )
    parser.add_argument("--target", choices=["duckdb", "postgres"], default="duckdb")
    parser.add_argument("--dbt", default=str(Path(sys.executable).parent / "dbt"), help="the dbt that builds")
    parser.add_argument(
        "--package", type=Path, action="append", help="a checkout of revetl; default: this one"
    )
    parser.add_argument(
        "--no-tests", action="store_true", help="leave the tests out of the first build as well"
    )
    parser.add_argument("--no-fixed", action="store_true", help="do not measure dbt's fixed cost")
    parser.add_argument(
        "--slowest", type=int, default=0, metavar="N", help="also the N slowest nodes of each build"
    )
    parser.add_argument("--keep", type=Path, help="make the projects in this folder, and leave them there")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    first_options = WITHOUT_TESTS if arguments.no_tests else ()
    packages = [package.resolve() for package in arguments.package or [ROOT]]
    fixed: dict[Path, float] = {}
    sizes = list(arguments.events)
    if not arguments.no_fixed and sizes != [0]:
        sizes = [1000, *(size for size in sizes if size != 1000)]
    found: list[Build] = []
    with contextlib.ExitStack() as stack:
        make_database = stack.enter_context(databases(arguments.target))
        if arguments.keep:
            arguments.keep.mkdir(parents=True, exist_ok=True)
            folder = arguments.keep.resolve()
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for size in sizes:
            for number, package in enumerate(packages):
                place = folder / f"shop_{number}_{size}"
                shutil.rmtree(place, ignore_errors=True)
                dbt = arguments.dbt if "/" not in arguments.dbt else str(Path(arguments.dbt).absolute())
                project = Project(package, place, dbt, make_database(place))
                small = 0 if size == 1000 and arguments.events != [1000] else arguments.small
                builds = measure(project, size, small, first_options, arguments.slowest)
                if size == 1000 and not arguments.no_fixed:
                    fixed[package] = builds[1].cpu
                if package in fixed and size > 1000:
                    above = builds[0].cpu - fixed[package]
                    builds = [
                        Build(**{**asdict(build), "of_first": (build.cpu - fixed[package]) / above})
                        for build in builds
                    ]
                found += builds
                if arguments.json:
                    print_builds(builds, as_json=True)
                else:
                    print(
                        f"{package.name} {size:,}",
                        *(f"{b.build} {b.cpu:.1f} s" for b in builds),
                        file=sys.stderr,
                    )
                if not arguments.keep:
                    shutil.rmtree(place)
    if not arguments.json:
        print_builds(found, as_json=False)


if __name__ == "__main__":
    main()
