"""Spark, really run: a Connect server on a standalone cluster of two workers, all in one folder.

    with running_spark(folder) as spark:
        run_dbt(..., env=spark.environment)

Tables lie as Parquet in `warehouse`, and their catalog is a Hive metastore in Derby beside it. The folder
outlives the server: another one started in it has the same tables.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 120
STOP_SECONDS = 20

# Small statements on a small machine: what is quick to start is quick.
JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Duser.timezone=UTC"

HERE = ("--host", "127.0.0.1", "--webui-port", "0")
MASTER = ("spark-class", "org.apache.spark.deploy.master.Master", *HERE)
WORKER = ("spark-class", "org.apache.spark.deploy.worker.Worker", *HERE, "--cores", "1", "--memory", "1g")
SERVER = ("spark-submit", "--class", "org.apache.spark.sql.connect.service.SparkConnectServer")


class Spark:
    """Where a server listens, and the folder it keeps its tables in."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"sc://127.0.0.1:{port}"

    @property
    def warehouse(self) -> Path:
        """Where the tables lie."""
        return self.folder / "warehouse"

    @property
    def environment(self) -> dict[str, str]:
        """What dbt's `method: session` needs, to be a client of this server."""
        # PySpark says at each start that it knows no such pandas, and may not set what is set already.
        return {"SPARK_REMOTE": self.url, "PYTHONWARNINGS": "ignore"}


@contextmanager
def running_spark(folder: Path, workers: int = 2, **settings: str) -> Iterator[Spark]:
    """A server in a folder, until the end of the block; without workers it does its work itself. Settings are
    Spark's, with `_` for dots."""
    folder.mkdir(parents=True, exist_ok=True)
    port, master_port = _free_ports(2)
    spark = Spark(folder, port)
    master = f"spark://127.0.0.1:{master_port}" if workers else "local[2]"
    started: list[subprocess.Popen[bytes]] = []
    try:
        if workers:
            started.append(_start(folder, "master", *MASTER, "--port", str(master_port)))
            _wait(started, master_port)
        work = str(folder / "work")
        started.extend(
            _start(folder, f"worker_{number}", *WORKER, "--work-dir", work, master)
            for number in range(workers)
        )
        own = {name.replace("_", "."): value for name, value in settings.items()}
        options = [f"--conf={name}={value}" for name, value in (_settings(spark, port) | own).items()]
        started.append(_start(folder, "server", *SERVER, "--master", master, *options, "spark-internal"))
        _wait(started, port)
        yield spark
    finally:
        for process in reversed(started):
            _stop(process)


def _settings(spark: Spark, port: int) -> dict[str, str]:
    derby = f"-Dderby.system.home={spark.folder / 'metastore'} -Dderby.system.durability=test"
    return {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": f"{JAVA} {derby}",
        "spark.executor.cores": "1",
        "spark.executor.memory": "900m",
        "spark.executor.extraJavaOptions": JAVA,
        "spark.local.dir": str(spark.folder / "local"),
        "spark.ui.enabled": "false",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": str(spark.warehouse),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.timestampType": "TIMESTAMP_NTZ",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "true",
    }


def _start(folder: Path, name: str, command: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start one of Spark's programs, in a group of its own with what it starts; it writes to NAME.log."""
    found = importlib.util.find_spec("pyspark")
    assert found is not None and found.origin is not None
    home = Path(found.origin).parent
    environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    if command == "spark-class":
        environment |= {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": JAVA}
    for mine in ("SPARK_REMOTE", "SPARK_CONF_DIR", "SPARK_CONNECT_MODE"):
        environment.pop(mine, None)
    # It ends with who started it, even where that is killed.
    setpriv = shutil.which("setpriv")
    with_me = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [*with_me, str(home / "bin" / command), *arguments],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait(started: list[subprocess.Popen[bytes]], port: int) -> None:
    """Wait until the last of them listens."""
    until = time.monotonic() + START_SECONDS
    while True:
        for process in started:
            assert process.poll() is None, f"{process.args!r} has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < until, f"{started[-1].args!r} is not there after {START_SECONDS} seconds"
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
