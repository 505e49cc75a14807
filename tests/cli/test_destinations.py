"""`revetl destinations`, without any project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from revetl.destinations import TYPES
from tests.conftest import Cli


def test_all_types_are_listed(tmp_path: Path, cli: Cli) -> None:
    done = cli(tmp_path, "destinations", "-o", "json")
    assert done.returncode == 0, done.stderr
    listed = {each["type"]: each for each in json.loads(done.stdout)}
    assert set(listed) == set(TYPES)
    braze = listed["braze"]
    assert braze["modes"] == ["mirror", "upsert", "update", "archive", "events", "audience_events", "delete"]
    assert braze["batch"]["records"] == 75
    assert braze["rate"] == {"requests": 3_000, "per_seconds": 3}
    assert {each["name"]: each["column"] for each in braze["identifiers"]}["external_id"] == "user_id"
    text = cli(tmp_path, "destinations").stdout
    assert all(kind in text for kind in TYPES)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_type_is_shown(tmp_path: Path, cli: Cli, kind: str) -> None:
    shown = json.loads(cli(tmp_path, "destinations", "show", kind, "-o", "json").stdout)
    keys = {key["name"]: key for key in shown["configuration"]}
    assert keys["max_in_flight"] == {
        "name": "max_in_flight",
        "required": False,
        "default": {"file": 2, "google_ads": 2, "pendo": 1}.get(kind, 8),
        "secret": False,
    }
    text = cli(tmp_path, "destinations", "show", kind).stdout
    assert text.startswith(f"{kind}: ")
    for key in keys.values():
        assert f"  {key['name']}" in text


def test_secrets_and_what_is_required_are_told(tmp_path: Path, cli: Cli) -> None:
    text = cli(tmp_path, "destinations", "show", "webhook").stdout
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ")}
    assert "required" in lines["url"]
    assert "secret: name an environment variable" in lines["secret"]


def test_a_type_that_is_not_there(tmp_path: Path, cli: Cli) -> None:
    done = cli(tmp_path, "destinations", "show", "braise")
    assert done.returncode == 2
    assert "there is no destination type 'braise'. Did you mean 'braze'?" in done.stderr
