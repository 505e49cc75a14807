"""Reads Census. Census has no file export, so responses of its Management API are saved as syncs.json and
destinations.json, with models.json or datasets.json if syncs refer to a model without its query."""

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

_WORDS = {"hourly", "daily", "weekly", "continuous", "quarter_hourly"}
_SYNC_WORDS = (
    "id label operation source_attributes destination_attributes mappings paused status mode"
    " schedule_frequency schedule_day schedule_hour schedule_minute cron_expression created_at updated_at"
    " field_behavior failed_run_notifications_enabled failed_record_notifications_enabled triggers"
    " match_rate_details failed_record_notifications_threshold_percent alert_attributes"
    " resource_identifier sync_behavior_family workspace_id last_run_at"
)
_SYNC_KEYS = frozenset(_SYNC_WORDS.split())


def read_census(folder: Path) -> Export:
    """Read saved responses of Census. Raises UsageError if the folder has none."""
    found = Export("census")
    syncs = list(documents(folder, "syncs"))
    if not syncs:
        raise UsageError(
            f"{folder}: syncs.json not found. Save the response of GET /api/v1/syncs: "
            "docs/how-to/migrating.md"
        )
    kinds = {
        str(each.data.get("id")): (str(each.data.get("name") or each.data.get("type")), each.data.get("type"))
        for each in documents(folder, "destinations")
    }
    queries = {str(each.data.get("id")): each.data for each in documents(folder, "models", "datasets")}
    models: dict[str, FoundModel] = {}
    for document in syncs:
        label = str(document.data.get("label") or document.data.get("id") or document.slug)
        file = f"{document.file} ({label})"
        with found.reading(file):
            if document.data.get("paused"):
                found.note(file, "paused", "the sync is paused there, so it is skipped")
                continue
            model = _model(document, file, queries, found)
            if model is None:
                continue
            sync = _sync(document, file, kinds, found)
            model = models.setdefault(model.name, model)
            model.syncs.append(sync)
            model.key = model.key or next(iter(sync.identifiers.values()), None)
    found.models += models.values()
    return found


def _model(
    document: Resource, file: str, queries: Mapping[str, Mapping[str, Any]], found: Export
) -> FoundModel | None:
    source = (document.data.get("source_attributes") or {}).get("object") or {}
    kind, name = str(source.get("type")), source.get("name") or source.get("table_name")
    known = {**queries.get(str(source.get("id")), {}), **source}
    sql = known.get("query")
    about = named(str(known.get("name") or name))
    if isinstance(sql, str):
        return FoundModel(file, about, None, sql=sql, description=str(known.get("description") or ""))
    if kind.startswith("dbt") and name:
        return FoundModel(file, about, None, ref=str(name).rpartition(".")[2])
    if kind == "table" and source.get("table_name"):
        parts = [source.get("table_catalog"), source.get("table_schema"), source["table_name"]]
        return FoundModel(file, about, None, table=".".join(column(str(part)) for part in parts if part))
    why = f"a source of type '{kind}' without its query; save GET /sources/ID/models as models.json"
    found.note(file, "source_attributes.object", why)
    return None


def _sync(document: Resource, file: str, kinds: Mapping[str, tuple[str, Any]], found: Export) -> FoundSync:
    data = document.data
    there = data.get("destination_attributes") or {}
    id_ = str(there.get("connection_id"))
    name, kind = kinds.get(id_, (f"census_{id_}", None))
    thing = there.get("object")
    sync = FoundSync(
        file,
        named(name),
        None if kind is None else str(kind),
        str(data.get("operation") or "upsert"),
        object=None if thing is None else str(thing),
        takes_all_columns=data.get("field_behavior") == "sync_all_properties",
    )
    skipping = [
        _mapped(mapping, sync, f"mappings[{at}]", found)
        for at, mapping in enumerate(data.get("mappings") or ())
    ]
    leave_nulls_out(sync, skipping, "mappings", found)
    if sync.mode == "append":
        sync.mode, sync.event = "events", None
    for odd in sorted(set(data) - _SYNC_KEYS):
        if data[odd] not in (None, [], {}, False):
            found.note(file, odd, "is not converted")
    _schedule(data, sync, found)
    return sync


def _mapped(mapping: Mapping[str, Any], sync: FoundSync, key: str, found: Export) -> bool | None:
    """Convert a mapping; returns whether it skips nulls, if it maps a field."""
    to, source = str(mapping.get("to")), mapping.get("from") or {}
    kind, data = source.get("type"), source.get("data")
    if mapping.get("lookup_object"):
        found.note(sync.source, f"{key} ({to})", "looks up a record; join its id in the model's SQL")
    elif kind == "column" and isinstance(data, str):
        if mapping.get("is_primary_identifier"):
            sync.identifiers[to] = column(data)
        else:
            sync.fields[to] = column(data)
            if mapping.get("preserve_values"):
                sync.set_if_empty.append(to)
            return mapping.get("sync_null_values") is False
    elif kind == "constant_value":
        sync.constants[to] = data.get("value") if isinstance(data, Mapping) else data
    elif kind == "liquid_template":
        why = "is a Liquid template; rewrite it as a SQL expression in fields:"
        found.note(sync.source, f"{key} ({to})", why)
    else:
        found.note(sync.source, f"{key} ({to})", f"a mapping from '{kind}' is not converted")
    return None


def _schedule(data: Mapping[str, Any], sync: FoundSync, found: Export) -> None:
    """Convert a schedule to a tag; the scheduler of dbt has to apply it."""
    triggers = (data.get("mode") or {}).get("triggers") or data.get("triggers") or {}
    given = triggers.get("schedule") or {}
    often = given.get("frequency") or data.get("schedule_frequency") or "never"
    if often in _WORDS:
        sync.tags.append(often)
    elif often not in ("never", "manual"):
        said = given.get("cron_expression") or data.get("cron_expression") or often
        found.note(sync.source, "schedule", f"{said}: schedule `revetl sync` accordingly; tagged 'scheduled'")
        sync.tags.append("scheduled")
    for other in sorted(set(triggers) - {"schedule"}):
        if triggers[other]:
            found.note(sync.source, f"triggers.{other}", "is not converted; run `revetl sync` after the job")
