"""A server over loopback that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.project import ProjectFolder
from tests.scenarios.losses.recorder import Bodies, recording


@pytest.fixture
def kept(project: ProjectFolder) -> Iterator[Bodies]:
    """The bodies that the project's destination is sent."""
    with recording() as (url, found):
        project.destinations({"crm": {"type": "webhook", "url": url}})
        yield found
