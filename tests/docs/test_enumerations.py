"""The values that the YAML of the delivery models lists, against those that the code writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from revetl.cli.render import CAUSES
from revetl.config.models import MODES
from revetl.delivery.spool import OPERATIONS
from revetl.privacy.requests import STATUSES as STATUSES_OF_REQUESTS
from revetl.privacy.requests import STATUSES_OF_PLACES
from revetl.sync.plan.only import CAUSE as UNDONE
from revetl.sync.replay import store as replays
from revetl.sync.state.run_log import STATUSES
from tests.helpers.built import ROOT

DELIVERY = ROOT / "models" / "marts" / "delivery"
OF_OTHERS: dict[tuple[str, str], tuple[str, ...]] = {
    ("replays", "status"): replays.STATES,
    ("privacy_requests", "status"): STATUSES_OF_REQUESTS,
    ("privacy_places", "status"): STATUSES_OF_PLACES,
}
"""The columns of a name that others have for something else, and their values."""
WRITTEN = {"mode": set(MODES), "operation": set(OPERATIONS), "status": set(STATUSES)}


def columns(file: str, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each column of the models, or of the tables of a source, with the name of its model."""
    document = yaml.safe_load((DELIVERY / file).read_text(encoding="utf-8"))
    found = document["models"] if kind == "models" else document["sources"][0]["tables"]
    for model in found:
        for column in model.get("columns", []):
            yield model["name"], column


def accepted(column: dict[str, Any]) -> set[str] | None:
    """The values of a column's test `accepted_values`; None if it has none."""
    for test in column.get("data_tests", []):
        if isinstance(test, dict) and "accepted_values" in test:
            return set(test["accepted_values"]["arguments"]["values"])
    return None


def test_tests_of_the_models_accept_what_runs_write() -> None:
    seen = set()
    for model, column in columns("_delivery.yml", "models"):
        if (values := accepted(column)) is None:
            continue
        name = column["name"]
        # A size is that of an ended run.
        ended = {"running"} if (model, name) == ("revetl_audience_sizes", "status") else set()
        assert values == WRITTEN[name] - ended, f"{model}.{name}"
        seen.add(name)
    assert seen == WRITTEN.keys()


@pytest.mark.parametrize(("column", "values"), [("status", set(STATUSES)), ("cause", {*CAUSES, UNDONE})])
def test_descriptions_name_every_value(column: str, values: set[str]) -> None:
    """Of those that list values: one that refers to another column's does not."""
    described = descriptions(column)
    assert described
    for model, description in described.items():
        listed = OF_OTHERS.get((model, column), values)
        missing = {value for value in listed if value not in description}
        assert not missing, f"{model}.{column}"


def descriptions(column: str) -> dict[str, str]:
    """The descriptions that list values of a column, by model."""
    return {
        model: each["description"]
        for file, kind in (("_delivery.yml", "models"), ("_sources.yml", "sources"))
        for model, each in columns(file, kind)
        if each["name"] == column and model != "model_builds" and "," in each["description"]
    }
