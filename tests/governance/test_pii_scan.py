"""`revetl pii scan`: findings, without complete values."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from revetl.governance.pii_scan import judged, passes_luhn
from revetl.governance.transformations import TransformationsFile
from revetl.project.scaffolding import make_project
from tests.conftest import Cli
from tests.models.conftest import run_dbt

CARD = "4111 1111 1111 1111"


@pytest.mark.parametrize(
    ("digits", "is_right"),
    [("4111111111111111", True), ("4111111111111112", False), ("378282246310005", True), ("0", True)],
)
def test_luhn(digits: str, is_right: bool) -> None:
    assert passes_luhn(digits) is is_right


VALUES: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "an email": ("email", "ann@x.example", [("email", "a***@x.example")]),
    "an email in a text": ("note", "write to ann@x.example!", [("email", "a***@x.example")]),
    "no email": ("handle", "@ann", []),
    "a phone": ("contact", "+44 20 7946 0958", [("phone", "***58")]),
    "a phone in groups": ("contact", "(020) 7946-0958", [("phone", "***58")]),
    "a plain phone": ("mobile", "02079460958", [("phone", "***58")]),
    "an order's number": ("order_id", "02079460958", []),
    "a date": ("day", "2026-01-02", []),
    "an address": ("ip", "192.168.100.200", []),
    "a card": ("note", f"card {CARD} please", [("card", "***11")]),
    "a card as a number": ("pan", "4111111111111111", [("card", "***11")]),
    "no card": ("pan", "4111111111111112", []),
}


@pytest.mark.parametrize(("path", "value", "expected"), VALUES.values(), ids=VALUES.keys())
def test_kinds_of_values(path: str, value: str, expected: list[tuple[str, str]]) -> None:
    row: dict[str, str | None] = {
        "message_type": "track",
        "document_name": "properties",
        "path": f".{path}",
        "email_count": "1",
        "phone_count": "1",
        "card_count": "1",
        "message_count": "4",
        "value": value,
    }
    found = judged([row]).found
    assert [(each.kind, each.example) for each in found] == expected
    assert all(each.share == 0.25 and each.path == path for each in found)


@pytest.mark.slow
@pytest.mark.long
def test_a_scan_of_loaded_messages(tmp_path: Path, cli: Cli) -> None:
    shop = tmp_path / "shop"
    make_project(shop)
    run_dbt(shop / "shop.duckdb", "deps", project=shop)
    common = {"userId": "u1", "timestamp": "2026-01-01T00:00:00Z"}
    messages = [
        {
            **common,
            "type": "track",
            "event": "E",
            "messageId": f"t{place}",
            "properties": {"form": {"contact": {"Email": f"ann{place}@x.example"}}, "n": place, "paid": CARD}
            if place < 2
            else {"n": 20260101, "who": [{"phone": "+44 20 7946 0958"}]},
            "context": {"ip": "10.0.0.1"},
        }
        for place in range(4)
    ]
    messages.append({**common, "type": "identify", "messageId": "i", "traits": {"email": "ann@x.example"}})
    (shop / "a.ndjson").write_text("\n".join(map(json.dumps, messages)))
    assert cli(shop, "load", "a.ndjson").returncode == 0
    done = cli(shop, "pii", "scan", "-o", "json")
    assert done.returncode == 0, done.stderr
    scanned = json.loads(done.stdout)
    assert [
        (each["kind"], each["message_type"], each["place"], each["path"], each["messages"], each["share"])
        for each in scanned["found"]
    ] == [
        ("email", "identify", "traits", "email", 1, 1.0),
        ("email", "track", "properties", "form.contact.Email", 2, 0.5),
        ("card", "track", "properties", "paid", 2, 0.5),
        ("phone", "track", "properties", "who", 2, 0.5),
    ]
    text = cli(shop, "pii", "scan", "--limit", "1")
    for printed in (done.stdout, text.stdout, done.stderr + text.stderr):
        assert not [secret for secret in ("ann", "7946", "4111") if secret in printed]
    # The rules are as the file has them, and hide what was found.
    proposed = text.stdout[text.stdout.index("salt:") :]
    file = TransformationsFile.model_validate(yaml.safe_load(proposed))
    assert ("email", "traits", "hash") in [(each.match, each.place, each.action) for each in file.pii]
