"""Tables of a warehouse: GET reads a table's columns or values, PUT creates the table, POST writes rows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.delivery.transports import answer
from revetl.delivery.transports.merging import INCOMING, Order, merge
from revetl.delivery.transports.sql_failures import refusal, unopened
from revetl.errors import WarehouseError
from revetl.warehouse import Opening, Warehouse, check_target, open_warehouse
from revetl.warehouse.templates import column, table

_LOCK_SECONDS = 10.0


class TableTransport(httpx.AsyncBaseTransport):
    """Sends requests to a warehouse over one connection, one at a time. Raises UsageError for a connection
    with an unknown engine."""

    def __init__(self, connection: Mapping[str, Any]) -> None:
        kind = str(connection.get("type"))
        self._target = Target("sql", kind, connection, place="revetl.yml: connection of a destination")
        check_target(self._target)
        self._warehouse: Warehouse | None = None
        self._turn = asyncio.Lock()
        self._at_work = threading.RLock()
        self._columns: dict[str, dict[str, str]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        async with self._turn:
            return await asyncio.to_thread(self._carried, request, content)

    async def aclose(self) -> None:
        async with self._turn:
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        # A statement may outlive the request that started it.
        with self._at_work:
            warehouse, self._warehouse = self._warehouse, None
            if warehouse is not None:
                with suppress(Exception):
                    warehouse.close()

    def _carried(self, request: httpx.Request, content: bytes) -> httpx.Response:
        with self._at_work:
            return self._said(request, content)

    def _said(self, request: httpx.Request, content: bytes) -> httpx.Response:
        try:
            warehouse = self._open()
        except WarehouseError as error:
            return unopened(error, request)
        name = self._named(request.url.path.strip("/"))
        try:
            if request.method == "PUT":
                return _made(warehouse, name, orjson.loads(content))
            if request.method == "GET":
                asked = dict(request.url.params)
                found = {"rows": _values(warehouse, name, asked)} if asked else {}
                return answer(200, orjson.dumps(found or {"columns": _columns_of(warehouse, name)}))
            return self._changed(warehouse, name, orjson.loads(content))
        except WarehouseError as error:
            try:
                return refusal(error, request)
            except httpx.TransportError:
                self._close()
                raise

    def _named(self, name: str) -> str:
        """Return a table's name with its schema; the default is the connection's schema, if any."""
        schema = self._target.config.get("schema") or self._target.config.get("dataset")
        return f"{schema}.{name}" if schema and "." not in name else name

    def _open(self) -> Warehouse:
        if self._warehouse is None:
            self._warehouse = open_warehouse(self._target, Opening(Path.cwd(), lock_timeout=_LOCK_SECONDS))
        return self._warehouse

    def _changed(self, warehouse: Warehouse, name: str, asked: dict[str, Any]) -> httpx.Response:
        order = Order(**asked)
        if name not in self._columns:
            found = _columns_of(warehouse, name)
            if found is None:
                return answer(404, f"there is no table {name}")
            self._columns[name] = found
        types = self._columns[name]
        if unknown := [each for each in order.columns if each not in types]:
            return answer(404, f"table {name} has no column {', '.join(unknown)}")
        change = merge(order, _table(warehouse, name), types, warehouse)
        if change is not None:
            warehouse.load(INCOMING, order.incoming())
            warehouse.run(change)
        return answer(200, orjson.dumps({}))


def _table(warehouse: Warehouse, name: str) -> exp.Table:
    """Return the table in a path: SCHEMA.TABLE or DATABASE.SCHEMA.TABLE, fully qualified because a schema may
    have the database's name."""
    *above, own = name.split(".")
    if len(above) == 1:
        above = [warehouse.database, *above]
    return table(own, *reversed(above))


def _columns_of(warehouse: Warehouse, name: str) -> dict[str, str] | None:
    (found,) = warehouse.catalog([_table(warehouse, name)])
    return found


def _values(warehouse: Warehouse, name: str, asked: Mapping[str, str]) -> list[str]:
    """Return the texts of a column in rows where another column equals a text; none if the table is
    missing."""
    if _columns_of(warehouse, name) is None:
        return []
    query = exp.select(column(asked["column"])).from_(_table(warehouse, name))
    return [str(value) for (value,) in warehouse.rows(query.where(column(asked["where"]).eq(asked["is"])))]


def _made(warehouse: Warehouse, name: str, asked: dict[str, Any]) -> httpx.Response:
    made = _table(warehouse, name)
    if made.db and made.catalog == warehouse.database:
        warehouse.create_schema(made.db)
    columns = [
        exp.ColumnDef(this=exp.to_identifier(column, quoted=True), kind=warehouse.type_of(kind))
        for column, kind in asked["columns"].items()
    ]
    warehouse.run(exp.Create(this=exp.Schema(this=made, expressions=columns), kind="TABLE"))
    return answer(201)
