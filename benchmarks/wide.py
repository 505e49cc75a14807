"""The plan of a sync without `fields:` over a wide audience, against the same over 100 columns.

    python benchmarks/wide.py [--columns 1000] [--rows 50] [--json]

Half of the rows are held with other values, so that the plan counts the fields that changed and shows sample
requests. Each plan runs in a process of its own, for the sake of its peak memory; seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _report import Report, peak_mb

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from revetl.sandbox import running_sandbox  # noqa: E402
from tests.helpers.project import ProjectFolder  # noqa: E402
from tests.helpers.wide import plan_of, wide_project, wide_query  # noqa: E402

_NARROW = 100


def measured(folder: str, rows: int) -> tuple[float, float]:
    """Seconds of the processor and peak MB of one plan, in this process."""
    start = time.process_time()
    plan = plan_of(ProjectFolder.existing(Path(folder)))
    assert plan.update == rows // 2, plan
    return time.process_time() - start, peak_mb()


def planned(columns: int, rows: int) -> tuple[float, float]:
    """`measured`, in a process of its own, of an audience that was synced before half of its rows changed."""
    with tempfile.TemporaryDirectory() as folder, running_sandbox() as url:
        project = wide_project(Path(folder), f"{url}/crm", columns, rows)
        project.open().sync()
        project.audience("wide", wide_query(columns, rows, changed=rows // 2))
        sizes = ["--columns", str(columns), "--rows", str(rows)]
        done = subprocess.run(
            [sys.executable, __file__, "--one", folder, *sizes], check=True, capture_output=True, text=True
        )
        seconds, peak = json.loads(done.stdout)
        return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--columns", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.one, given.rows)))
        return
    narrow, _ = planned(_NARROW, given.rows)
    seconds, peak = planned(given.columns, given.rows)
    Report(
        benchmark="wide",
        sizes={"columns": given.columns, "rows": given.rows, "floor_columns": _NARROW},
        seconds=seconds,
        floor_seconds=narrow,
        ratio=seconds / narrow,
        peak_mb=peak,
        goal="a plan of 1,000 columns takes at most 12 times one of 100, and 500 MB",
    ).print(given.json)


if __name__ == "__main__":
    main()
