"""Whole syncs, from the plan to the last checkpoint, of audiences that grow tenfold: time and memory.

    python benchmarks/scale.py [--most 10000000] [--json]

Each size is synced twice by `revetl sync` in a process of its own: everybody is new, and then 10 % have
changed, 1 % left and 1 % are new. DuckDB is given 1 GB. Ratio: seconds over those of the size before, divided
by how much n log n grew; at most 1 is no faster than n log n.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from _report import Report, timed

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.helpers.project import ProjectFolder  # noqa: E402

_MEMBERS = """
    select 'u' || lpad(i::varchar, 9, '0') as user_id, 'user' || i || '@example.com' as email,
        (hash(i) % 10000) / 100.0 + case when hash(i, 4) % 10 < {changed} then 1 else 0 end as ltv,
        (hash(i, 1) % 100)::int as orders
    from range({first}, {last}) as numbers (i)
"""


@contextmanager
def sink() -> Iterator[str]:
    """A sink in a process of its own."""
    command = [sys.executable, str(ROOT / "tests" / "helpers" / "sink.py")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
    finally:
        server.kill()


def sync(folder: Path) -> tuple[float, float]:
    """Seconds of one `revetl sync`, and the most memory a child of this process has had, in MB."""
    command = [sys.executable, "-m", "revetl", "sync", "--all", "-q"]
    with timed() as clock:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return clock.seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def measure(rows: int) -> dict[str, tuple[float, float]]:
    """(seconds, MB) of the first and of the second sync of `rows` members."""
    with sink() as url, tempfile.TemporaryDirectory() as name:
        project = ProjectFolder(Path(name), {"crm": {"type": "webhook", "url": url}})
        output = {"type": "duckdb", "path": "revetl.duckdb", "settings": {"memory_limit": "1GB"}}
        profiles = {"shop": {"target": "dev", "outputs": {"dev": output}}}
        (project.root / "profiles.yml").write_text(yaml.safe_dump(profiles))
        meta = {"key": "user_id", "sync": [{"to": "crm"}]}
        project.audience("everybody", _MEMBERS.format(changed=0, first=0, last=rows), meta)
        found = {"first": sync(project.root)}
        edge = rows // 100
        project.audience("everybody", _MEMBERS.format(changed=1, first=edge, last=rows + edge))
        found["changed"] = sync(project.root)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=10_000_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    before: dict[str, tuple[int, float]] = {}
    rows = 10_000
    while rows <= arguments.most:
        for name, (seconds, peak) in measure(rows).items():
            last_rows, last_seconds = before.get(name, (rows, seconds))
            growth = rows * math.log(rows) / (last_rows * math.log(last_rows))
            Report(
                benchmark=f"scale {name}",
                sizes={"members": rows, "members_per_second": int(rows / seconds)},
                seconds=seconds,
                floor_seconds=last_seconds * growth,
                ratio=seconds / (last_seconds * growth),
                peak_mb=peak,
                goal="no faster than n log n (ratio at most 1); memory bounded",
            ).print(arguments.json)
            before[name] = (rows, seconds)
        rows *= 10


if __name__ == "__main__":
    main()
