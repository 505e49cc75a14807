"""Exports of another form than their tool's: what cannot be read is noted, and nothing is a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from revetl.errors import UsageError
from revetl.importers.census import read_census
from revetl.importers.hightouch import read_hightouch

MODEL = {"name": "m", "slug": "m", "primaryKey": "id", "rawSql": "select 1 as id"}
SYNC: dict[str, Any] = {
    "model": "m",
    "destination": "braze",
    "config": {
        "mode": "upsert",
        "externalIdMapping": {"from": "id", "to": "external_id"},
        "mappings": [{"from": "a", "to": "b", "type": "standard"}],
    },
    "schedule": {"type": "interval", "schedule": {"interval": {"quantity": 1, "unit": "hour"}}},
}
CENSUS: dict[str, Any] = {
    "id": 1,
    "label": "vips",
    "operation": "upsert",
    "source_attributes": {"object": {"type": "model", "name": "m", "query": "select 1 as id"}},
    "destination_attributes": {"connection_id": 2, "object": "user"},
    "mappings": [
        {"from": {"type": "column", "data": "id"}, "to": "external_id", "is_primary_identifier": True}
    ],
    "mode": {"triggers": {"schedule": {"frequency": "hourly"}}},
}
ODD: tuple[Any, ...] = (None, 5, "x", [], {}, [1], {"a": 1}, True, [[{}]], [None])


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    yield path
    inside = document.items() if isinstance(document, dict) else []
    for name, value in enumerate(document) if isinstance(document, list) else inside:
        yield from places(value, (*path, name))


def spoiled(document: Any) -> Iterator[Any]:
    """The document with something odd in each of its places."""
    for path in places(document):
        for odd in ODD:
            made = {"": copy.deepcopy(document)}
            there: Any = made
            for name in ("", *path)[:-1]:
                there = there[name]
            there[("", *path)[-1]] = odd
            yield made[""]


@pytest.mark.parametrize("folder", ["models", "syncs"])
def test_hightouch(tmp_path: Path, folder: str) -> None:
    sound = {"models": MODEL, "syncs": SYNC}
    for at, document in enumerate(spoiled(sound[folder])):
        there = tmp_path / str(at)
        for name, each in {**sound, folder: document}.items():
            (there / name).mkdir(parents=True)
            (there / name / "m.yaml").write_text(yaml.safe_dump(each))
        try:
            found = read_hightouch(there)
        except UsageError:
            continue
        taken = sum(len(model.syncs) for model in found.models)
        # An empty file says nothing, and so nothing is said of it.
        assert taken or found.notes or not document, document


def test_census(tmp_path: Path) -> None:
    for at, document in enumerate(spoiled(CENSUS)):
        there = tmp_path / str(at)
        there.mkdir()
        (there / "syncs.json").write_text(json.dumps([document]))
        (there / "destinations.json").write_text(json.dumps([{"id": 2, "name": "b", "type": "braze"}]))
        try:
            found = read_census(there)
        except UsageError:
            continue
        taken = sum(len(model.syncs) for model in found.models)
        # An empty file says nothing, and so nothing is said of it.
        assert taken or found.notes or not document, document
