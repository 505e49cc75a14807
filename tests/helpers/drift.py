"""What tests of reconciling share: a destination that is changed behind the tool's back."""

from __future__ import annotations

from typing import Any

import httpx

from revetl.sync.reconcile import ReconcileOptions, Reconciliation, reconcile
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people, synced


def readable(sandbox: SandboxClient, **more: Any) -> dict[str, Any]:
    """The sandbox's webhook, with a URL to read it back from."""
    return {"type": "webhook", "url": f"{sandbox.url}/crm", "read_url": f"{sandbox.url}/crm", **more}


def readable_shop(project: ProjectFolder, sandbox: SandboxClient) -> ProjectFolder:
    """The project with three members, who are at the destination, which can be read back."""
    project.destinations({"crm": readable(sandbox)})
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)), META.copy())
    assert synced(project).status == "success"
    return project


def by_hand(sandbox: SandboxClient, operation: str, **members: dict[str, Any]) -> None:
    """Change what the destination holds, behind the tool's back."""
    records = [{"id": person, "fields": fields} for person, fields in members.items()]
    body = {"audience": "vips", "batch_id": "by hand", "operation": operation, "records": records}
    httpx.post(f"{sandbox.url}/crm", json=body).raise_for_status()


def drift_in(sandbox: SandboxClient) -> None:
    """u1 is lost, u2 has another value, x9 was put there."""
    by_hand(sandbox, "remove", u1={})
    by_hand(sandbox, "update", u2={"score": 99, "note": "by hand"})
    by_hand(sandbox, "add", x9={"score": 9})


def reconciled(project: ProjectFolder, name: str = "vips.crm", **options: Any) -> Reconciliation:
    """What reconciling gives, with these options."""
    opened = project.open()
    return reconcile(opened.workspace, opened.sync_named(name), ReconcileOptions(**options))


def state(project: ProjectFolder) -> list[tuple[Any, ...]]:
    """Key, score and what is pending of whom the state has."""
    return project.sql(
        "select key, (fields ->> 'score')::int, pending_operation from revetl.revetl.sync_state order by key"
    )


def sent(sandbox: SandboxClient, since: int) -> list[tuple[str, list[str]]]:
    """What was sent after the first `since` requests, without what was only read."""
    log = sandbox.requests("crm")[since:]
    return [(entry["operation"], entry["ids"]) for entry in log if entry["operation"] != "read"]
