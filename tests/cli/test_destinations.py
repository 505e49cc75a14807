"""`revetl destinations`, without any project."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from revetl.config.models import SyncConfig
from revetl.destinations import TYPES, make_destination
from revetl.destinations.base.destination import Destination
from revetl.mapping.fields import make_mapping
from tests.conftest import Cli

CASES = Path(__file__).parents[1] / "destinations" / "cases"


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


OTHER_NAMES = {"copper": "123456", "hubspot": "shop_id", "salesforce": "Shop_Id__c"}
"""By type, what people may be looked up by besides what is usual."""


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_each_identifier_that_is_shown_can_be_mapped(tmp_path: Path, cli: Cli, kind: str) -> None:
    shown = json.loads(cli(tmp_path, "destinations", "show", kind, "-o", "json").stdout)["identifiers"]
    text = cli(tmp_path, "destinations", "show", kind).stdout
    there = set()
    for each in shown:
        name = each["name"] or OTHER_NAMES.get(kind, "shop_id")
        given = {**each["when"], **({each["named_by"]: name} if each["named_by"] else {})}
        made = destination_of(kind, given)
        mode = made.modes()[0]
        event = {"event": "Seen"} if mode == "events" else {}
        sync = SyncConfig.model_validate(
            {"to": kind, "mode": mode, "identifiers": {name: each["column"]}, "fields": {}, **event}
        )
        required = {field.name: each["column"] for field in made.declared if field.required}
        sync = sync.model_copy(update={"fields": required})
        mapping = make_mapping(each["column"], sync, made, {each["column"]: "VARCHAR"}, "meta")
        assert [item.name for item in mapping.identifiers] == [name]
        there.add(name)
        assert f"  {each['name'] or '(' + each['named_by'] + ')'}" in text
    usual = destination_of(kind, {})
    named = getattr(usual, usual.identifier_key) if usual.identifier_key else ()
    assert {each.name for each in usual.known_by} <= {*there, *([named] if isinstance(named, str) else named)}


def destination_of(kind: str, given: dict[str, str]) -> Destination:
    """A destination of a type as one of its cases configures it, with some keys given instead."""
    cases = json.loads((CASES / f"{kind}.json").read_bytes())["cases"]
    case = next(each for each in cases if each["operation"] != "create_audience")
    config = {"type": kind, **case.get("config", {}), **case.get("secrets", {})}
    if kind == "google_analytics" and given:
        # One stream stands in for the other.
        streams = {"measurement_id": "G-1234567890", "firebase_app_id": "1:123456789012:ios:a1b2c3d4e5f6"}
        config = {key: value for key, value in config.items() if key not in streams}
        given = {key: streams[key] for key in given}
    return make_destination({**config, **given}, kind)


def test_secrets_and_what_is_required_are_told(tmp_path: Path, cli: Cli) -> None:
    text = cli(tmp_path, "destinations", "show", "webhook").stdout
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ")}
    assert "required" in lines["url"]
    assert "secret: name an environment variable" in lines["secret"]


def test_a_type_that_is_not_there(tmp_path: Path, cli: Cli) -> None:
    done = cli(tmp_path, "destinations", "show", "braise")
    assert done.returncode == 2
    assert "unknown destination type 'braise'. Did you mean 'braze'?" in done.stderr
