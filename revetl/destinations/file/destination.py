"""Files on disk or in an object store, as Parquet, CSV or NDJSON: docs/destinations/file.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote, urlsplit

import httpx
import orjson
from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from revetl.destinations.base.answers import EMPTY, SuccessShape
from revetl.destinations.base.delivered_rows import row_types, rows_of
from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Destination,
    Flow,
    Identifier,
    Records,
    Refused,
    Result,
)
from revetl.destinations.base.portable_types import portable_type
from revetl.destinations.base.records import SyncContext
from revetl.destinations.base.spec import looked_up_by
from revetl.destinations.file.encoding import (
    CODECS,
    Codec,
    Form,
    encoded,
)

Extra = Literal["operation", "change_id", "run_id", "at"]
MANIFEST = "_manifest.json"
LAST_RUN = "_last_run.json"
"""The file with the marker of the last run, next to the folders of the runs."""


def _address(path: Any) -> Any:
    """Convert a path to a URL; a relative path stays relative until placed: `file:exports`."""
    if not isinstance(path, str) or "://" in path or path.startswith("file:"):
        if urlsplit(str(path)).password:
            raise ValueError("the URL contains a password. Move it to storage_options: {password: …}")
        return path
    local = Path(path).expanduser()
    return local.as_uri() if local.is_absolute() else f"file:{quote(local.as_posix())}"


UNDERSTOOD = (
    SuccessShape("PUT *", (EMPTY, dict)),
    SuccessShape(f"GET */{LAST_RUN}", ({"mark": str}, {"files": list})),
    SuccessShape("GET *", {"files": list}),
    SuccessShape("HEAD *", EMPTY),
)


class File(Destination):
    """Rows of added, updated and removed members, or of all members, in files; one folder per run."""

    understood: ClassVar[tuple[SuccessShape, ...]] = UNDERSTOOD
    batch: ClassVar[Batch] = Batch(records=100_000)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("user_id", column="user_id"),
        Identifier("email", column="email"),
        Identifier("phone", column="phone"),
    )
    identifier_key: ClassVar[str | None] = "key"

    type: Literal["file"]
    base_url: Annotated[
        str, BeforeValidator(_address), Field(validation_alias=AliasChoices("path", "url", "base_url"))
    ]
    format: Literal["parquet", "csv", "ndjson"] = "parquet"
    compression: Codec | None = None
    storage_options: Mapping[str, Any] = {}
    contents: Literal["changes", "full"] = "changes"
    records_per_file: Annotated[int, Field(ge=1)] = 100_000
    key: str = "user_id"
    include: tuple[Extra, ...] = ("operation", "change_id", "run_id", "at")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    escape_formulas: bool = False
    max_in_flight: Annotated[int, Field(ge=1, le=256)] = 2

    @model_validator(mode="after")
    def _is_a_format(self) -> Self:
        if self.compression not in (None, *CODECS[self.format]):
            raise ValueError(
                f"compression: {self.format} supports {', '.join(CODECS[self.format])}, "
                f"not {self.compression}"
            )
        return self

    @property
    def form(self) -> Form:
        """Return the encoding of its files."""
        return Form(self.format, self.compression, self.delimiter, self.escape_formulas)

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return looked_up_by(self.key, self.identifiers)

    @property
    def limits(self) -> Batch:
        return Batch(records=min(self.records_per_file, self.batch.records))

    def placed(self, root: Path) -> Self:
        there = self.base_url.removeprefix("file:")
        if there == self.base_url or there.startswith("/"):
            return self
        return self.model_copy(update={"base_url": (root.resolve() / httpx.URL(there).path).as_uri()})

    def connection_options(self) -> Mapping[str, Any]:
        return self.storage_options

    def takes_whole(self, mode: str) -> bool:
        return self.contents == "full" and mode == "mirror"

    def upsert(self, records: Records) -> Flow:
        return self.write(records, records.operation)

    def remove(self, records: Records) -> Flow:
        if self.contents == "full":
            # Removed members are simply absent from the run's folder.
            return Result()
        return (yield from self.write(records, "remove"))

    def insert(self, records: Records) -> Flow:
        return self.write(records, "insert")

    def change(self, records: Records) -> Flow:
        return self.write(records, "update")

    def track(self, records: Records) -> Flow:
        return self.write(records, "event")

    def delete(self, records: Records) -> Flow:
        return self.write(records, "delete")

    def write(self, records: Records, operation: str) -> Flow:
        """Write one file per batch; a retried batch overwrites its file."""
        operation = "member" if self.contents == "full" else operation
        written = encoded(self.form, rows_of(records, operation), row_types(records, operation, self.include))
        if written.rows:
            yield self.put(records, f"{operation}-{records.batch_id}{self.form.suffix}", written.content)
        return Result(rejected=written.refused)

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if self.contents == "full" and mode != "mirror":
            raise Refused("contents: full requires mode mirror. Change one of the two.")
        return replace(context, fields={name: portable_type(given) for name, given in fields.items()})
        yield

    def finish(self, context: SyncContext, counts: Mapping[str, int]) -> Asking[None]:
        if not self.takes_whole("mirror"):
            return
        listed = yield httpx.Request("GET", self.folder(context))
        files = listed.json()["files"]
        rows = sum(count for operation, count in counts.items() if operation != "remove")
        columns = row_types(context, "member", self.include)
        about = {"sync": context.sync, "run_id": context.run_id, "at": context.at, "rows": rows}
        yield self.put(context, MANIFEST, orjson.dumps({**about, "columns": columns, "files": files}))

    def marked(self, mode: str, context: SyncContext) -> Asking[str | None]:
        found = (yield httpx.Request("GET", self.last_run(context))).json()
        return None if "mark" not in found else str(found["mark"])

    def mark(self, mode: str, context: SyncContext, text: str) -> Asking[None]:
        yield httpx.Request("PUT", self.last_run(context), content=orjson.dumps({"mark": text}))

    def last_run(self, context: SyncContext) -> str:
        """Return the URL of the file with the marker of the sync's last run."""
        return f"{self.base_url.rstrip('/')}/{quote(context.sync)}/{LAST_RUN}"

    def probe(self) -> httpx.Request:
        return httpx.Request("HEAD", self.base_url)

    def folder(self, context: SyncContext) -> str:
        """Return the URL of a run's folder."""
        run = f"{quote(context.sync)}/run_id={quote(context.run_id)}"
        return f"{self.base_url.rstrip('/')}/{run}"

    def put(self, context: SyncContext, name: str, content: bytes) -> httpx.Request:
        """Return the request that writes a file of a run."""
        return httpx.Request("PUT", f"{self.folder(context)}/{name}", content=content)
