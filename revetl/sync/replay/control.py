"""List replays, pause or cancel running ones, and read and write replay plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from revetl._version import __version__
from revetl.config.base import ConfigModel, check
from revetl.errors import GuardStopped, Locked, UsageError
from revetl.project.workspace import Workspace
from revetl.sync.replay import store
from revetl.sync.replay.plan import ReplayPlan
from revetl.sync.replay.request import ReplayRequest
from revetl.sync.replay.store import Replay
from revetl.sync.state import leases
from revetl.sync.state.run_ids import new_run_id
from revetl.sync.state.tables import state_tables


class ReplayPlanFile(ConfigModel):
    """A replay plan in a file. `target` is the dbt target that it was made on."""

    format: Literal["revetl replay plan 1"] = "revetl replay plan 1"
    revetl_version: str
    made_at: datetime
    target: str
    request: dict[str, Any]
    digest: str
    messages: int


def write_plan(workspace: Workspace, path: Path, plan: ReplayPlan) -> None:
    """Write a plan to a file. Raises GuardStopped if a guard stops the plan."""
    if plan.stops:
        raise GuardStopped(plan.stops[0].guard, f"{plan.stops[0].message} There is no plan to keep.")
    document = ReplayPlanFile(
        revetl_version=__version__,
        made_at=datetime.now(UTC),
        target=workspace.target.name,
        request=orjson.loads(plan.request.text),
        digest=plan.digest,
        messages=plan.total,
    )
    path.write_bytes(orjson.dumps(document.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n")


def read_plan(workspace: Workspace, path: Path) -> tuple[ReplayRequest, str]:
    """Return the request and digest of a plan file. Raises UsageError naming the file."""
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}). Write one with `revetl replay --out`."
        ) from None
    except orjson.JSONDecodeError as error:
        raise UsageError(
            f"{path}: is not a plan of a replay ({error}). Write one with `revetl replay --out`."
        ) from None
    found = check(ReplayPlanFile, document, str(path))
    if found.target != workspace.target.name:
        raise UsageError(
            f"{path}: the plan is of target '{found.target}', and this is '{workspace.target.name}'."
        )
    try:
        return ReplayRequest.read(orjson.dumps(found.request).decode()), found.digest
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: request: cannot be read ({error}). Make the plan again.") from None


def list_replays(workspace: Workspace) -> list[Replay]:
    """Return all replays of a project on its target, newest first."""
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        (there,) = warehouse.catalog([tables.named("replays")])
        return [] if there is None else store.read_replays(warehouse, tables)
    finally:
        warehouse.close()


def replay_details(workspace: Workspace, replay_id: str) -> tuple[Replay, list[dict[str, object]]]:
    """Return a replay, and the reasons for its rejections. Raises UsageError for an unknown ID."""
    found = store.find_replay(list_replays(workspace), replay_id)
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        return found, store.rejections_of(warehouse, tables, found.replay_id)
    finally:
        warehouse.close()


def ask_replay(workspace: Workspace, replay_id: str, what: str) -> Replay:
    """Request to `pause` or `cancel` a replay.

    A running replay receives the request; any other changes its status at once. Raises UsageError for a
    replay that has ended.
    """
    with workspace.writing(light=True) as warehouse:
        tables = state_tables(workspace, warehouse.database)
        tables.create(warehouse, workspace.say)
        found = store.find_replay(store.read_replays(warehouse, tables), replay_id)
        if found.status not in store.OPEN:
            raise UsageError(f"Replay {found.replay_id} is {found.status}: there is nothing to {what}.")
        try:
            lease = leases.acquire(warehouse, tables, f"replay.{found.destination}", new_run_id())
        except Locked:
            if found.status == store.RUNNING:
                store.update_replay(warehouse, tables, found.replay_id, asked=what)
                return replace(found, asked=what)
            lease = None
        status = store.PAUSED if what == store.PAUSE else store.CANCELED
        store.update_replay(warehouse, tables, found.replay_id, status=status, asked=None)
        if lease is not None:
            leases.release(warehouse, tables, lease)
        return replace(found, status=status, asked=None)
