"""The warehouse-native customer data platform.

>>> import revetl
>>> project = revetl.Project(".")
>>> project.audience("high_churn").to_pandas()
>>> project.sync("high_churn")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from revetl._version import __version__

__all__ = ["Project", "__version__"]

if TYPE_CHECKING:
    from revetl.api import Project


def __getattr__(name: str) -> object:
    # `import revetl` costs nothing until a project is opened.
    if name == "Project":
        from revetl.api import Project

        return Project
    raise AttributeError(f"module 'revetl' has no attribute '{name}'")
