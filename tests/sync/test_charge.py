"""What a plan says that it will cost, where a destination charges by more than requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Cli
from tests.helpers.project import ProjectFolder

BRAZE = {"braze": {"type": "braze", "api_key": "k", "region": "us-01"}}


@pytest.mark.parametrize(
    ("sync", "points"),
    [
        # Two fields and the audience's own attribute; of who leaves, that one alone.
        ({}, 10 * 3),
        ({"mode": "upsert", "fields": ["score"]}, 10),
        ({"mode": "update"}, 10 * 2),
        ({"mode": "events", "event": "Scored"}, 10),
    ],
    ids=str,
)
def test_data_points_of_braze(project: ProjectFolder, cli: Cli, sync: dict[str, Any], points: int) -> None:
    project.destinations(BRAZE)
    query = "select 'u' || i as user_id, i as score, 'x' as grade from range(10) as n (i)"
    project.audience("vips", query, {"key": "user_id", "sync": [{"to": "braze", **sync}]})
    (plan,) = json.loads(cli(project, "plan", "audience", "vips", "-o", "json").stdout)
    assert (plan["preview"]["charge"], plan["preview"]["charged_in"]) == (points, "data points")
    shown = cli(project, "plan", "audience", "vips").stdout
    assert f"about {points} data points" in shown
