"""The mark of a sync's last run at the destination: read before a plan, left after a run that sent anything.

Nothing depends on it but that a restored warehouse is noticed: where it cannot be read, or written, the run
goes on. Each is tried once, and not waited for.
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
    """The last run of a sync on the workspace's warehouse that the destination has a mark of; None where it
    has none, or cannot be asked."""
    if not destination.keeps_marks:
        return None
    context = context_of(sync, "", sync.audience.name)
    asking = destination.marked(sync.config.mode, context)
    return run_in(run_to_end(lambda: _tried(destination, asking)), _origin(workspace, sync))


async def leave_mark(
    workspace: Workspace, sync: Sync, destination: Destination, context: SyncContext
) -> None:
    """Leave the mark of the run that `context` is of."""
    if destination.keeps_marks:
        mark = mark_of(context.run_id, _origin(workspace, sync))
        await _tried(destination, destination.mark(sync.config.mode, context, mark))


async def _tried(destination: Destination, asking: Asking[T]) -> T | None:
    """What a conversation gives, without a second attempt of its requests; None where it fails."""
    once = destination.model_copy(update={"retries": 0, "max_pause": 0.0})
    try:
        async with Transport(once) as transport:
            return (await converse(transport, asking)).value
    except Exception:  # whatever it is, nothing that was delivered depends on it
        return None
    finally:
        asking.close()


def _origin(workspace: Workspace, sync: Sync) -> str:
    """A destination may be shared by syncs, and by warehouses."""
    return digest(orjson.dumps(warehouse_of(workspace), option=orjson.OPT_SORT_KEYS).decode(), sync.name)[:16]
