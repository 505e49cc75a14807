"""Paths of revetl's own files: inside the package in a wheel, or at the root of a source tree."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def dbt_project_dir() -> Path:
    """Return the folder of revetl's dbt project."""
    packaged = _PACKAGE / "_dbt"
    return packaged if packaged.is_dir() else _PACKAGE.parent


def examples_dir() -> Path:
    """Return the folder of the example events."""
    packaged = _PACKAGE / "_examples"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "examples"
