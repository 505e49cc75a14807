"""Reads Hightouch's Git Sync: `models/`, `syncs/`, and the manifests that list sources and destinations; or
the same data from the API, saved as models.json, syncs.json and destinations.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from revetl.errors import UsageError
from revetl.importers.found import (
    Export,
    FoundModel,
    FoundSync,
    Resource,
    column,
    documents,
    leave_nulls_out,
    named,
)

_MODEL_WORDS = (
    "id name slug description source sourceId primaryKey primary_key key rawSql sql raw dbt dbt_cloud"
    " dbtModelId dbtModel table query queryType type syncs createdAt updatedAt workspaceId"
    " folderId lastRunSize isSchema tags"
)
_MODEL_KEYS = frozenset(_MODEL_WORDS.split())
_SYNC_WORDS = (
    "id slug name description model modelId destination destinationId config configuration schedule"
    " schedulePaused disabled paused primaryKey status lastRunAt referencedColumns externalSegment tags"
    " createdAt updatedAt workspaceId"
)
_SYNC_KEYS = frozenset(_SYNC_WORDS.split())
_CONFIG_WORDS = (
    "mode type object objectType mappings customMappings externalIdMapping configVersion eventName"
    " eventTimestamp timestampColumn"
)
_CONFIG_KEYS = frozenset(_CONFIG_WORDS.split())


def read_hightouch(folder: Path) -> Export:
    """Read an export of Hightouch. Raises UsageError if the folder has none."""
    found = Export("hightouch")
    models: dict[str, FoundModel] = {}
    for document in documents(folder, "models"):
        with found.reading(document.file):
            if (model := _model(document, found)) is not None:
                found.models.append(model)
                names = (document.slug, document.data.get("id"))
                models |= {str(name): model for name in names if name is not None}
    syncs = list(documents(folder, "syncs"))
    if not found.models and not syncs:
        raise UsageError(
            f"{folder}: neither models/*.yaml nor syncs/*.yaml found. Use the folder that Git Sync writes to."
        )
    kinds = _kinds(folder)
    for document in syncs:
        named_model = str(document.data.get("model", document.data.get("modelId")))
        of = models.get(named_model)
        if of is None:
            found.note(document.file, "model", f"model '{named_model}' not found in models/")
            continue
        with found.reading(document.file):
            if (sync := _sync(document, kinds, found)) is not None:
                of.syncs.append(sync)
    return found


def _kinds(folder: Path) -> dict[str, tuple[str, str]]:
    """Return slug and type of the destinations, by slug and by id."""
    kinds: dict[str, tuple[str, str]] = {}
    manifests = sorted({file.stem for file in folder.glob("manifest*")})
    for document in documents(folder, "destinations", *manifests):
        each = document.data
        if "type" in each:
            slug = str(each.get("slug") or each.get("name"))
            kinds |= {str(name): (slug, str(each["type"])) for name in (slug, each.get("id")) if name}
    return kinds


def _model(document: Resource, found: Export) -> FoundModel | None:
    data = document.data
    if data.get("isSchema"):
        found.note(document.file, "isSchema", "is a model of Customer Studio's schema, which is never synced")
        return None
    query, raw = _mapping(data, "query"), _mapping(data, "raw")
    sql = data.get("rawSql") or data.get("sql") or raw.get("sql") or query.get("sql") or query.get("rawSql")
    dbt = next((data[key] for key in ("dbt", "dbt_cloud", "dbtModel", "dbtModelId") if data.get(key)), None)
    table = data.get("table")
    key = data.get("primaryKey") or data.get("primary_key") or data.get("key")
    model = FoundModel(
        document.file,
        named(document.slug),
        None if key is None else str(key),
        sql=sql if isinstance(sql, str) else data["query"] if isinstance(data.get("query"), str) else None,
        ref=_dbt_name(dbt),
        table=str(table["name"] if isinstance(table, Mapping) else table) if table else None,
        description=str(data.get("description") or data.get("name") or ""),
    )
    for odd in sorted(set(data) - _MODEL_KEYS):
        found.note(document.file, odd, "is not converted")
    if model.sql is None and model.ref is None and model.table is None:
        found.note(document.file, "rawSql", "the model has no SQL, dbt model or table; write its SQL by hand")
        return None
    return model


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the mapping under a key; empty for any other value."""
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _dbt_name(dbt: Any) -> str | None:
    """Extract the model's name: `model.shop.customers` is `customers`."""
    if isinstance(dbt, Mapping):
        dbt = dbt.get("name") or dbt.get("dbtUniqueId") or dbt.get("uniqueId")
    return None if dbt is None else str(dbt).rpartition(".")[2]


def _sync(document: Resource, kinds: Mapping[str, tuple[str, str]], found: Export) -> FoundSync | None:
    data, file = document.data, document.file
    if data.get("disabled") or data.get("paused"):
        found.note(file, "disabled", "the sync is disabled there, so it is skipped")
        return None
    config = data.get("config") or data.get("configuration") or {}
    to = str(data.get("destination", data.get("destinationId")))
    slug, kind = kinds.get(to, (to, None))
    is_events = str(config.get("type", "")).startswith("event")
    thing = config.get("object") or config.get("objectType")
    sync = FoundSync(
        file,
        named(slug),
        kind,
        "events" if is_events else str(config.get("mode") or config.get("type") or "upsert"),
        object=None if thing is None else str(thing),
    )
    skipping = []
    for key in ("mappings", "customMappings"):
        for at, mapping in enumerate(config.get(key) or ()):
            skipping.append(_mapped(mapping, sync, f"config.{key}[{at}]", found))
    outside = config.get("externalIdMapping")
    if isinstance(outside, Mapping) and isinstance(outside.get("from"), str) and outside.get("to"):
        sync.identifiers[str(outside["to"])] = column(outside["from"])
    elif outside:
        found.note(file, "config.externalIdMapping", "uses more than one column; write identifiers: by hand")
    leave_nulls_out(sync, skipping, "config.mappings", found)
    if is_events:
        event = config.get("eventName")
        event = event.get("value") if isinstance(event, Mapping) else event
        sync.event = event if isinstance(event, str) else None
        at_ = config.get("eventTimestamp") or config.get("timestampColumn")
        at_ = at_.get("from") if isinstance(at_, Mapping) else at_
        sync.timestamp = None if at_ is None else column(str(at_))
    for odd in sorted(set(config) - _CONFIG_KEYS):
        if config[odd] not in (None, [], {}, False):
            found.note(file, f"config.{odd}", "is not converted")
    for odd in sorted(set(data) - _SYNC_KEYS):
        found.note(file, odd, "is not converted")
    _schedule(data, sync, found)
    return sync


def _mapped(mapping: Mapping[str, Any], sync: FoundSync, key: str, found: Export) -> bool | None:
    """Convert a mapping; returns whether it skips nulls, if it maps a field."""
    to, kind = str(mapping.get("to")), mapping.get("type", "standard")
    source = mapping.get("from")
    if kind == "standard" and isinstance(source, str) and "lookup" not in mapping:
        sync.fields[to] = column(source)
        return bool(mapping.get("ignoreNull"))
    value = mapping.get("value", source)
    if kind in ("static", "constant") and isinstance(value, str | int | float | bool):
        sync.constants[to] = value
        return None
    whys = {
        "template": "is a Liquid template; rewrite it as a SQL expression in fields:",
        "variable": "is a Hightouch variable, which has no equivalent here",
        "reference": "looks up a record; join its id in the model's SQL",
    }
    found.note(sync.source, f"{key} ({to})", whys.get(kind, f"a mapping of type '{kind}' is not converted"))
    return None


def _schedule(data: Mapping[str, Any], sync: FoundSync, found: Export) -> None:
    """Convert a schedule to a tag; the scheduler of dbt has to apply it."""
    given = data.get("schedule")
    if not isinstance(given, Mapping) or data.get("schedulePaused") or given.get("type") in (None, "manual"):
        return
    inner = _mapping(given, "schedule") or given
    every = _mapping(inner, "interval") or inner
    unit, count = str(every.get("unit", "")).rstrip("s"), every.get("quantity", every.get("amount"))
    if unit in ("minute", "hour", "day", "week") and count is not None:
        words = {"hour": "hourly", "day": "daily", "week": "weekly"}
        count = int(count)
        sync.tags.append(words[unit] if count == 1 and unit in words else f"every_{count}_{unit}s")
        return
    said = inner.get("expression") or inner.get("expressions") or given.get("type")
    found.note(sync.source, "schedule", f"{said}: schedule `revetl sync` accordingly; tagged 'scheduled'")
    sync.tags.append("scheduled")
