"""The last run of each sync that this machine finished, in `.revetl/last`.

If the state does not have that run, the warehouse was restored from an older copy.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import orjson

from revetl.project.workspace import Workspace
from revetl.warehouse import location_of


def remembered_run(workspace: Workspace, sync: str) -> str | None:
    """Return the last run of a sync that this machine finished on the workspace's warehouse; None if there
    is none."""
    try:
        found = orjson.loads(_file(workspace, sync).read_bytes())
        return str(found["run_id"]) if found["warehouse"] == warehouse_of(workspace) else None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None


def remember_run(workspace: Workspace, sync: str, run_id: str) -> None:
    """Record the last run. If that fails, a restored warehouse is not detected, but syncs work."""
    file = _file(workspace, sync)
    told = orjson.dumps({"run_id": run_id, "warehouse": warehouse_of(workspace)})
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        passing = file.with_suffix(".tmp")
        passing.write_bytes(told)
        passing.replace(file)


def forget_run(workspace: Workspace, sync: str) -> None:
    """Delete the remembered run: the state is trusted as it is."""
    with suppress(OSError):
        _file(workspace, sync).unlink(missing_ok=True)


def rename_run(workspace: Workspace, former: str, sync: str) -> None:
    """Move the remembered run of a sync to its new name."""
    with suppress(OSError):
        _file(workspace, former).replace(_file(workspace, sync))


def _file(workspace: Workspace, sync: str) -> Path:
    return workspace.root / ".revetl" / "last" / workspace.target.name / f"{sync}.json"


def warehouse_of(workspace: Workspace) -> dict[str, str]:
    """Return the location of the workspace's state."""
    return {**location_of(workspace.target, workspace.root), "state_schema": workspace.state_schema}
