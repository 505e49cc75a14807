"""Staged messages in a project of `ProjectFolder`, as revetl's dbt package stages them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.helpers.project import ProjectFolder

RETAIL = Path(__file__).resolve().parents[2] / "examples" / "online_retail"
MODELS = {
    "track": ("stg_revetl__tracks", ("event", "event_text", "properties")),
    "page": ("stg_revetl__pages", ("name", "category", "properties")),
    "screen": ("stg_revetl__screens", ("name", "category", "properties")),
    "identify": ("stg_revetl__identifies", ("traits",)),
    "group": ("stg_revetl__groups", ("group_id", "traits")),
}
_COMMON = ("message_id", "user_id", "anonymous_id", "context", "timestamp", "received_at", "source_id")
_KINDS = {"properties": "json", "traits": "json", "context": "json", "timestamp": "timestamp"}
_KINDS["received_at"] = "timestamp"
Message = dict[str, Any]


def stage(project: ProjectFolder, messages: Iterable[Message]) -> None:
    """Have the staging models of every type contain these messages of Segment's spec, and no others."""
    by_type: dict[str, list[Message]] = {name: [] for name in MODELS}
    for message in messages:
        by_type[message["type"]].append(message)
    for name, (model, own) in MODELS.items():
        names = (*_COMMON, *own)
        columns = ", ".join(f"{each} {_KINDS.get(each, 'varchar')}" for each in names)
        project.sql(f"drop table if exists {model}")
        project.sql(f"create table {model} ({columns})")
        rows = [f"({', '.join(map(_quoted, _row(message, own)))})" for message in by_type[name]]
        for first in range(0, len(rows), 1_000):
            project.sql(f"insert into {model} values {', '.join(rows[first : first + 1_000])}")
        declare(project, model)


def declare(project: ProjectFolder, model: str) -> None:
    """Have the manifest say that a table is a model of revetl's package."""
    project._nodes[f"model.revetl.{model}"] = {
        "resource_type": "model",
        "package_name": "revetl",
        "unique_id": f"model.revetl.{model}",
        "name": model,
        "alias": model,
        "database": project.backend.database,
        "schema": project.backend.schema,
        "original_file_path": f"models/{model}.sql",
        "config": {"meta": {}},
        "depends_on": {"nodes": []},
    }
    project.write_manifest()


def _row(message: Message, own: tuple[str, ...]) -> Iterator[Any]:
    moment = datetime.fromisoformat(message["timestamp"]).astimezone(UTC).replace(tzinfo=None)
    name = message.get("event")
    values = {
        "message_id": message["messageId"],
        "user_id": message.get("userId"),
        "anonymous_id": message.get("anonymousId"),
        "context": message.get("context", {}),
        "timestamp": moment.isoformat(sep=" "),
        "received_at": moment.isoformat(sep=" "),
        "source_id": message.get("source"),
        "event": None if name is None else name.lower().replace(" ", "_"),
        "event_text": name,
        "group_id": message.get("groupId"),
        **{each: message.get(each) for each in ("name", "category")},
        **{each: message.get(each, {}) for each in ("properties", "traits")},
    }
    return (values[each] for each in (*_COMMON, *own))


def _quoted(value: Any) -> str:
    if value is None:
        return "null"
    text = json.dumps(value) if isinstance(value, dict) else str(value)
    return "'" + text.replace("'", "''") + "'"


def retail() -> list[Message]:
    """The messages of the online retail example."""
    with gzip.open(RETAIL / "events.ndjson.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def facts() -> dict[str, Any]:
    """What is true of them."""
    found: dict[str, Any] = json.loads((RETAIL / "facts.json").read_text())
    return found
