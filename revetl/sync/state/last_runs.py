"""The last run of each sync that this machine finished, in `.revetl/last`: a warehouse that was restored from
an older copy does not know it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import orjson

from revetl.project.workspace import Workspace
from revetl.warehouse import location_of


def remembered_run(workspace: Workspace, sync: str) -> str | None:
    """The last run of a sync that this machine finished on the workspace's warehouse; None where it knows
    of none."""
    try:
        found = orjson.loads(_file(workspace, sync).read_bytes())
        return str(found["run_id"]) if found["warehouse"] == warehouse_of(workspace) else None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None


def remember_run(workspace: Workspace, sync: str, run_id: str) -> None:
    """Keep the run as the last one. A machine that cannot keep it notices less, and syncs all the same."""
    file = _file(workspace, sync)
    told = orjson.dumps({"run_id": run_id, "warehouse": warehouse_of(workspace)})
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        passing = file.with_suffix(".tmp")
        passing.write_bytes(told)
        passing.replace(file)


def forget_run(workspace: Workspace, sync: str) -> None:
    """Remember no run: the state is believed as it is."""
    with suppress(OSError):
        _file(workspace, sync).unlink(missing_ok=True)


def rename_run(workspace: Workspace, former: str, sync: str) -> None:
    """Remember the last run of a sync by its new name."""
    with suppress(OSError):
        _file(workspace, former).replace(_file(workspace, sync))


def _file(workspace: Workspace, sync: str) -> Path:
    return workspace.root / ".revetl" / "last" / workspace.target.name / f"{sync}.json"


def warehouse_of(workspace: Workspace) -> dict[str, str]:
    """Where the state of the workspace is."""
    return {**location_of(workspace.target, workspace.root), "state_schema": workspace.state_schema}
