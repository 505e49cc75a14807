"""Run dbt on a project, as a process."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from revetl.dbt.program import find_dbt, run_dbt
from revetl.dbt.project_files import DbtProject, Options


def run(
    project: DbtProject, options: Options, *words: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run dbt, found by `find_dbt`, with the options. Raises UsageError if it isn't found."""
    folder = project.root if options.project_dir is None else None
    every = [*words, *options.as_arguments()]
    return run_dbt(find_dbt(options.dbt), every, folder=folder, environment=environment)
