"""The id of a sync's last run, stored at the destination: read before planning, written after sending.

It only serves to detect a restored warehouse. If it cannot be read or written, the run continues: each
request is tried once, without retries.
"""

from __future__ import annotations

from typing import TypeVar

import orjson

from revetl.delivery.flow_runner import converse
from revetl.delivery.http import Transport
from revetl.delivery.shutdown import run_to_end
from revetl.destinations.base.destination import Asking, Destination
from revetl.destinations.base.marks import mark_of, run_in
from revetl.destinations.base.records import SyncContext, digest
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.preview import context_of
from revetl.sync.state.last_runs import warehouse_of

T = TypeVar("T")


def marked_run(workspace: Workspace, sync: Sync, destination: Destination) -> str | None:
    """Return the id of the sync's last run from this warehouse that is stored at the destination; None if
    there is none, or it cannot be read."""
    if not destination.keeps_marks:
        return None
    context = context_of(sync, "", sync.audience.name)
    asking = destination.marked(sync.config.mode, context)
    return run_in(run_to_end(lambda: _tried(destination, asking)), _origin(workspace, sync))


async def leave_mark(
    workspace: Workspace, sync: Sync, destination: Destination, context: SyncContext
) -> None:
    """Store the id of the run in `context` at the destination."""
    if destination.keeps_marks:
        mark = mark_of(context.run_id, _origin(workspace, sync))
        await _tried(destination, destination.mark(sync.config.mode, context, mark))


async def _tried(destination: Destination, asking: Asking[T]) -> T | None:
    """Run a flow without retrying its requests, and return its result; None if it fails."""
    once = destination.model_copy(update={"retries": 0, "max_pause": 0.0})
    try:
        async with Transport(once) as transport:
            return (await converse(transport, asking)).value
    except Exception:  # delivery does not depend on it
        return None
    finally:
        asking.close()


def _origin(workspace: Workspace, sync: Sync) -> str:
    """Identify the sync and the warehouse: several of them may share a destination."""
    return digest(orjson.dumps(warehouse_of(workspace), option=orjson.OPT_SORT_KEYS).decode(), sync.name)[:16]
