"""Where revetl's own files are: beside the package in an installed wheel, at the root of a source tree."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def dbt_project_dir() -> Path:
    """The folder of the dbt project that revetl brings."""
    packaged = _PACKAGE / "_dbt"
    return packaged if packaged.is_dir() else _PACKAGE.parent


def examples_dir() -> Path:
    """The folder of the example events."""
    packaged = _PACKAGE / "_examples"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "examples"
