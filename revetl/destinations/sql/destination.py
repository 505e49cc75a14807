"""Tables of the user's own warehouse or database: docs/destinations/sql.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote

import httpx
from pydantic import BeforeValidator, Field, model_validator

from revetl.destinations.base.answers import EMPTY, SuccessShape
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Destination,
    Flow,
    Identifier,
    Record,
    Records,
    Result,
)
from revetl.destinations.base.field_check import BOOLEAN, check_fields, kind_of
from revetl.destinations.base.flow import AudienceMissing, Refused
from revetl.destinations.base.portable_types import MOMENT, TEXT, portable_type
from revetl.destinations.base.records import SyncContext
from revetl.destinations.base.spec import looked_up_by
from revetl.destinations.sql.rows import (
    EVENT,
    events_of,
    keys_of,
    rows_by_columns,
)

_WHERE = ("type", "port", "account", "project", "database", "dbname", "catalog", "dataset", "schema", "path")
"""The connection options that identify its target."""
MARKS = "revetl_marks"
"""The table of run markers, in the same schema as the target table: one row per sync."""

_MARK = {"sync": TEXT, "mark": TEXT}
UNDERSTOOD = (
    SuccessShape("POST *", (EMPTY, dict)),
    SuccessShape("PUT *", (EMPTY, dict)),
    SuccessShape("GET *", {"columns?": dict, "rows?": list}),
)


class Sql(Destination):
    """People as rows of a table in any supported warehouse, with one MERGE per batch."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=5_000, bytes=8_000_000)
    can_set_if_empty: ClassVar[bool] = True
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("user_id", column="user_id"),
        Identifier("email", column="email"),
        Identifier("phone", column="phone"),
    )
    identifier_key: ClassVar[str | None] = "key"
    container_fields: ClassVar[tuple[str, ...]] = ("table",)

    type: Literal["sql"]
    connection: Mapping[str, Any]
    table: Annotated[str, Field(pattern=r"^[^./?#\s]+(\.[^./?#\s]+){0,2}$")]
    base_url: str = "sql://warehouse"
    create: bool = False
    key: Annotated[
        tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
    ] = ("user_id",)
    removed: Literal["delete", "flag"] = "delete"
    removed_column: str = "_removed_at"

    @model_validator(mode="before")
    @classmethod
    def _addressed(cls, given: Any) -> Any:
        """Derive the URL that identifies a connection in errors and rate limits."""
        if (
            not isinstance(given, Mapping)
            or "base_url" in given
            or not isinstance(given.get("connection"), Mapping)
        ):
            return given
        options = given["connection"]
        host = options.get("host") or options.get("account") or options.get("type") or "warehouse"
        return {**given, "base_url": f"sql://{quote(str(host).strip('/'), safe='.:-_')}"}

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        if len(self.key) == 1:
            return looked_up_by(self.key[0], self.identifiers)
        return tuple(Identifier(name, column=name) for name in self.key)

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """Records need the complete key."""
        return (frozenset(self.key),)

    def unidentified(self, mode: str, record: Record) -> str | None:
        lacking = [name for name in self.key if record.identifiers.get(name) in (None, "")]
        return f"its key lacks {', '.join(lacking)}" if lacking else None

    def placed(self, root: Path) -> Self:
        path = self.connection.get("path")
        if (
            self.connection.get("type") != "duckdb"
            or not isinstance(path, str)
            or "://" in path
            or ":" in path[:4]
        ):
            return self
        return self.model_copy(update={"connection": {**self.connection, "path": str(root.resolve() / path)}})

    def delivers_to(self, audience: str, mode: str, base_url: str | None = None) -> dict[str, str]:
        there = {name: str(self.connection[name]) for name in _WHERE if self.connection.get(name)}
        named = ", ".join(f"{name} {value.partition('?')[0]}" for name, value in there.items())
        return {**super().delivers_to(audience, mode, base_url), "account": named}

    def connection_options(self) -> Mapping[str, Any]:
        return self.connection

    def upsert(self, records: Records) -> Flow:
        return self.send("upsert", records, self.flag(records, gone=False))

    def remove(self, records: Records) -> Flow:
        if self.removed == "delete":
            return self.delete(records)
        return self.send("update", keys_of(records), self.flag(records, gone=True))

    def insert(self, records: Records) -> Flow:
        return self.send("insert", records, {})

    def change(self, records: Records) -> Flow:
        return self.send("update", records, {})

    def delete(self, records: Records) -> Flow:
        return self.send("delete", keys_of(records), {})

    def track(self, records: Records) -> Flow:
        return self.send("insert", events_of(records), {}, key=("message_id",))

    def send(
        self, operation: str, records: Records, more: Mapping[str, Any], key: tuple[str, ...] = ()
    ) -> Flow:
        """Send the rows of a batch, one request per set of columns."""
        for columns, rows in rows_by_columns(records, more).items():
            asked = {"operation": operation, "key": key or self.key, "columns": columns, "rows": rows}
            keep = [name for name in columns if name in records.set_if_empty]
            yield self.post(f"/{quote(self.table)}", json={**asked, "keep": keep} if keep else asked)
        return Result()

    def flag(self, records: Records, *, gone: bool) -> dict[str, Any]:
        """Return the marker of a removed row, if rows are kept: a timestamp or a boolean."""
        if self.removed == "delete" or (records.fields and self.removed_column not in records.fields):
            return {}
        if kind_of(records.fields.get(self.removed_column, MOMENT)) == BOOLEAN:
            return {self.removed_column: gone}
        return {self.removed_column: records.at if gone else None}

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        own = dict.fromkeys(self.key, TEXT)
        if mode in ("events", "audience_events"):
            own |= EVENT
        if mode == "audience_events":
            own |= {"audience_key": TEXT, context.audience: BOOLEAN}
        if mode == "mirror" and self.removed == "flag":
            own[self.removed_column] = MOMENT
        wanted = {**own, **{name: portable_type(given) for name, given in fields.items() if name not in own}}
        address = f"/{quote(self.table)}"
        there = (yield self.probe()).json()["columns"]
        if there is None:
            if not self.create:
                raise Refused(f"table {self.table} does not exist. Create it, or set create: true.")
            if not context.creates:
                raise AudienceMissing(self.table, everything=True)
            yield self.request("PUT", address, json={"columns": wanted})
            there = wanted
        mapped = {**dict.fromkeys(own, ""), **fields}
        check_fields(f"table {self.table}", mapped, {name: kind_of(kind) for name, kind in there.items()})
        return replace(context, fields={name: there[name] for name in mapped})

    def marked(self, mode: str, context: SyncContext) -> Asking[str | None]:
        asked = {"column": "mark", "where": "sync", "is": context.sync}
        rows = (yield self.request("GET", self.marks, params=asked)).json()["rows"]
        return None if not rows else str(rows[0])

    def mark(self, mode: str, context: SyncContext, text: str) -> Asking[None]:
        if (yield self.request("GET", self.marks)).json()["columns"] is None:
            if not self.create:
                return
            yield self.request("PUT", self.marks, json={"columns": _MARK})
        row = {"operation": "upsert", "key": ["sync"], "columns": [*_MARK], "rows": [[context.sync, text]]}
        yield self.post(self.marks, json=row)

    @property
    def marks(self) -> str:
        """Return the URL of the table of markers."""
        above, dot, _ = self.table.rpartition(".")
        return f"/{quote(f'{above}{dot}{MARKS}')}"

    def probe(self) -> httpx.Request:
        return self.request("GET", f"/{quote(self.table)}")
