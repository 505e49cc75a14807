"""A server for one command: `python -m tests.warehouses postgres revetl demo --target postgres`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.warehouses.serve import serving

engine, *command = sys.argv[1:]
with (
    tempfile.TemporaryDirectory(prefix=f"revetl-{engine}-") as folder,
    serving(engine, Path(folder)) as given,
):
    done = subprocess.run(command, env={**os.environ, **given}, check=False)
sys.exit(done.returncode)
