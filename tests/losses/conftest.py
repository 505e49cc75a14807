"""A server over loopback that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.losses.recorder import Bodies, recording
from tests.support.project import ProjectFolder


@pytest.fixture
def kept(project: ProjectFolder) -> Iterator[Bodies]:
    """The bodies that the project's destination is sent."""
    with recording() as (url, found):
        project.destinations({"crm": {"type": "webhook", "url": url}})
        yield found
