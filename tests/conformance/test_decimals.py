"""Decimals of another scale are the same numbers, on every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import synced

NUMBERS: dict[str, tuple[str, Any]] = {
    "half": ("1.50", 1.5),
    "nothing": ("0", 0),
    "negative": ("-12.30", -12.3),
    "negative_nothing": ("-0.00", 0),
    "whole": ("1200", 1200),
    "cent": ("0.01", 0.01),
}
WIDE: dict[str, tuple[str, Any]] = {
    "wide": ("12345678901234567.89", "12345678901234567.89"),
    "wide_and_whole": ("90071992547409930", "90071992547409930"),
}
"""More than a 64-bit float holds."""

SCALES = (((14, 2), (19, 2)), ((14, 4), (28, 4)), ((15, 8), (38, 10)), ((30, 12), (38, 20)))
"""The types of NUMBERS and of WIDE, one after the other."""


def people(some: tuple[int, int], large: tuple[int, int], **others: str) -> str:
    """A person who has the numbers in these types, and others in the place of some."""
    columns = [
        f"cast('{others.get(name, text)}' as decimal({digits}, {scale})) as {name}"
        for numbers, (digits, scale) in ((NUMBERS, some), (WIDE, large))
        for name, (text, _) in numbers.items()
    ]
    return f"select 'u1' as user_id, {', '.join(columns)}"


def test_a_change_of_decimal_scale_sends_nobody_again(
    engine: str, tmp_path: Path, sandbox: SandboxClient
) -> None:
    destination = {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}}
    project = ProjectFolder(tmp_path / engine, destination, engine)
    rows = [people(*types) for types in SCALES]
    rows.append(people(*SCALES[-1], wide="12345678901234567.88"))
    changes = []
    for each in rows:
        project.audience("vips", each, {"key": "user_id", "sync": [{"to": "crm"}]})
        changes.append(sum(synced(project).planned.values()))
    sent = {name: value for name, (_, value) in {**NUMBERS, **WIDE}.items()}
    members = {"u1": {**sent, "wide": "12345678901234567.88"}}
    assert (changes, sandbox.members("crm", "vips")) == ([1, 0, 0, 0, 1], members)
