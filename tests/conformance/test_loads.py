"""Landing on every engine: the same files, landed and rejected alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from revetl.ingest.raw_tables import REJECTED, raw_columns
from tests.conformance.worlds import alike
from tests.helpers.project import ProjectFolder

AT = {"timestamp": "2026-01-01T00:00:00Z"}
LINES: list[str | bytes | dict[str, Any]] = [
    {
        "type": "track",
        "messageId": "m1",
        "userId": "u1",
        "event": "Order Completed",
        "properties": {"n": 9.5},
    },
    # Told twice in one file.
    {"type": "track", "messageId": "m1", "userId": "u2", "event": "Order Cancelled"},
    {
        "type": "identify",
        "messageId": "m2",
        "userId": "ü",
        "traits": {"name": "Zoë 🎈", "none": None, "deep": [1]},
    },
    {"type": "page", "messageId": "m3", "anonymousId": "a1", "name": 'It\'s \\ "home"', "category": ""},
    {
        "type": "screen",
        "messageId": "m4",
        "anonymousId": "a1",
        "name": "Main",
        "timestamp": "2026-01-02T03:04:05+02:00",
    },
    {
        "type": "group",
        "messageId": "m5",
        "userId": "u1",
        "groupId": "g1",
        "traits": {"n": 12345678901234567890},
    },
    {"type": "alias", "messageId": "m6", "userId": "u1", "previousId": "a1"},
    {"type": "track", "userId": "u3", "event": "No id", "timestamp": "2026-01-02T03:04:05.123456Z"},
    {"type": "track", "messageId": "m7", "event": "Nobody"},
    # As SDKs write them, and not every engine's reader takes them.
    *(
        '{"timestamp": "2026-01-01T00:00:00Z", ' + line
        for line in (
            '"type": "track", "messageId": "n1", "userId": 123.0, "event": "E", "properties": {"a": [NaN]}}',
            '"type": "track", "messageId": "n2", "userId": "u1", "event": "E", "properties": {"a": 1e99999}}',
            '"type": "identify", "messageId": "n3", "userId": "u3", "context": {"traits": {"a": "\\ud83d"}}}',
        )
    ),
    {"type": "purchase", "messageId": "m8", "userId": "u1"},
    "{",
    b'{"type": "track", "messageId": "\xff"}',
    "",
]
MORE: list[str | bytes | dict[str, Any]] = [
    {"type": "track", "messageId": "m1", "userId": "u1", "event": "Order Completed"},
    {"type": "track", "messageId": "m9", "userId": "u1", "event": "Order Completed"},
]


def landed(engine: str, root: Path) -> list[Any]:
    """What three loads say, two of them of one file, and what is in the raw tables then."""
    project = ProjectFolder(root / engine, {}, engine)
    found: list[Any] = []
    for name, lines in (("events", LINES), ("events", LINES), ("more", MORE)):
        # Where a file lies is kept with what is rejected.
        file = root / f"{name}.ndjson"
        file.write_bytes(b"\n".join(map(_line, lines)))
        said = project.open().load([file])
        found.append((said.landed, said.already_landed, said.rejected))
    for name, columns in raw_columns().items():
        kept = [each for each in columns if each not in ("uuid_ts", "received_at")]
        texts = [f'cast("{each}" as varchar)' if columns[each] == "json" else f'"{each}"' for each in kept]
        rows = project.sql(f"select {', '.join(texts)} from {project.raw_schema}.{name}")
        documents = [columns[each] == "json" for each in kept]
        told = [
            [alike(value, is_document) for value, is_document in zip(row, documents, strict=True)]
            for row in rows
        ]
        found.append((name, sorted(told, key=str)))
    return found


def test_what_is_landed_is_as_on_duckdb(engine: str, tmp_path: Path) -> None:
    expected = landed("duckdb", tmp_path)
    assert expected[:3] == [(10, 1, 4), (0, 11, 4), (1, 1, 0)]
    assert {name: len(rows) for name, rows in expected[3:]}[REJECTED] == 4
    for ours, theirs in zip(landed(engine, tmp_path), expected, strict=True):
        assert ours == theirs


def _line(line: str | bytes | dict[str, Any]) -> bytes:
    if isinstance(line, bytes):
        return line
    # Without a time of its own, a message has that of its landing.
    timed = line if isinstance(line, str) else json.dumps({**AT, **line}, ensure_ascii=False)
    return timed.encode()
