"""Read the members of a destination back, page by page, into a file.

Memory use is one page, and the warehouse connection is closed while the API is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import IOBase

import httpx
import orjson
import pyarrow as pa

from revetl.delivery.flow_runner import converse
from revetl.delivery.http import NotAccepted, Transport
from revetl.delivery.shutdown import run_to_end
from revetl.destinations.base.destination import (
    Destination,
    Page,
    Reading,
    Refused,
)
from revetl.errors import DestinationRefused

_COLUMNS: dict[str, pa.DataType] = {"place": pa.int64(), "identifiers": pa.string(), "fields": pa.string()}
SCHEMA = pa.schema(_COLUMNS)


@dataclass(frozen=True)
class ReadBack:
    """The members of an audience read back: their count, the `file` that holds them, and the fields that at
    least one of them had. A field that no member has counts as not returned by the destination."""

    file: IOBase
    members: int
    fields: frozenset[str]

    def tables(self, rows: int) -> Iterator[pa.Table]:
        """Yield the members in the columns of SCHEMA (position, and identifiers and fields as JSON), as whole
        pages with at least `rows` members each."""
        self.file.seek(0)
        waiting: list[pa.RecordBatch] = []
        with pa.ipc.open_stream(self.file) as reader:
            for page in reader:
                waiting.append(page)
                if sum(each.num_rows for each in waiting) >= rows:
                    yield pa.Table.from_batches(waiting, SCHEMA)
                    waiting = []
        yield pa.Table.from_batches(waiting, SCHEMA)


def read_back(
    destination: Destination, audience: str, file: IOBase, on_page: Callable[[], None] = lambda: None
) -> ReadBack:
    """Read the members of the audience at the destination into `file`; `on_page` is called after each page.

    Raises DestinationRefused when the destination cannot be reached, refuses, or returns an invalid page."""
    return run_to_end(lambda: _read(destination, audience, file, on_page))


async def _read(
    destination: Destination, audience: str, file: IOBase, on_page: Callable[[], None]
) -> ReadBack:
    place = 0
    names: set[str] = set()
    cursor: str | None = None
    async with Transport(destination) as transport:
        with pa.ipc.new_stream(file, SCHEMA) as writer:
            while True:
                page = await _converse(transport, destination, destination.read(audience, cursor))
                writer.write_batch(_batch(page, destination, place))
                place += len(page.members)
                names.update(name for member in page.members for name in member.fields or ())
                on_page()
                if page.next is None:
                    return ReadBack(file, place, frozenset(names))
                if page.next == cursor:
                    raise DestinationRefused(
                        f"Could not read {audience} back: the page at cursor '{cursor}' points to itself as "
                        "the next page."
                    )
                cursor = page.next


def _batch(page: Page, destination: Destination, first: int) -> pa.RecordBatch:
    known = [identifier.name for identifier in destination.known_by]
    identifiers = [
        {name: member.identifiers[name] for name in known if member.identifiers.get(name) is not None}
        for member in page.members
    ]
    return pa.RecordBatch.from_pydict(
        {
            "place": list(range(first, first + len(page.members))),
            "identifiers": [orjson.dumps(each).decode() for each in identifiers],
            "fields": [
                None if member.fields is None else orjson.dumps(member.fields).decode()
                for member in page.members
            ],
        },
        schema=SCHEMA,
    )


async def _converse(transport: Transport, destination: Destination, flow: Reading) -> Page:
    host = httpx.URL(destination.base_url).host
    try:
        return (await converse(transport, flow)).value
    except (Refused, NotAccepted) as error:
        raise DestinationRefused(f"Could not read {host} back: {transport.redact(str(error))}") from None
