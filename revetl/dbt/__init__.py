"""dbt as an external program: its files as data, its selectors and lineage, and running it."""

from revetl.dbt.manifest import Manifest, Model
from revetl.dbt.parsing import read_manifest
from revetl.dbt.project_files import (
    DbtProject,
    Options,
    Target,
    read_profile,
    read_project,
    read_target,
)
from revetl.dbt.runner import run

__all__ = [
    "DbtProject",
    "Manifest",
    "Model",
    "Options",
    "Target",
    "read_manifest",
    "read_profile",
    "read_project",
    "read_target",
    "run",
]
