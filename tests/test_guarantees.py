"""docs/explanation/guarantees.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_promise_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "explanation" / "guarantees.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    promises = [line for line in text.splitlines() if line.startswith("| ") and "proved by" not in line]
    assert len(promises) > 20
    assert all("`tests/" in line for line in promises)
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []
