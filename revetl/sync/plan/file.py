"""Plan files: save a reviewed plan, so that a run executes exactly that plan.

The file has no personal data: only counts, and a digest that the run must match.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import orjson

from revetl._version import __version__
from revetl.config.base import ConfigModel, check
from revetl.errors import UsageError
from revetl.sync.plan.plan import Plan


class PlannedSync(ConfigModel):
    """One sync of a plan file."""

    sync: str
    digest: str
    add: int
    update: int
    remove: int


class PlanFile(ConfigModel):
    """A plan file. `target` is the dbt target of the plan."""

    format: Literal["revetl plan 1"] = "revetl plan 1"
    revetl_version: str
    made_at: datetime
    target: str
    full_refresh: bool
    syncs: tuple[PlannedSync, ...]


def write_plan(path: Path, plans: Sequence[Plan], *, target: str, full_refresh: bool) -> None:
    """Write plans to `path`. Raises UsageError for a plan that no run can match: with invalid keys, or
    compared with another target."""
    planned = []
    for plan in plans:
        if plan.digest is None:
            raise UsageError(f"{plan.sync}: {plan.stops[0].message} No plan was saved.")
        planned.append(PlannedSync(sync=plan.sync, digest=plan.digest, **plan.counts))
    document = PlanFile(
        revetl_version=__version__,
        made_at=datetime.now(UTC),
        target=target,
        full_refresh=full_refresh,
        syncs=tuple(planned),
    )
    path.write_bytes(orjson.dumps(document.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n")


def read_plan(path: Path, *, target: str) -> PlanFile:
    """Read a plan file. Raises UsageError, naming the file, if it is invalid or of another target."""
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path}: cannot read the plan file ({error.strerror}). Create one with `revetl plan --out`."
        ) from None
    except orjson.JSONDecodeError as error:
        raise UsageError(
            f"{path}: not a valid plan file ({error}). Create one with `revetl plan --out`."
        ) from None
    found = check(PlanFile, document, str(path))
    if found.target != target:
        raise UsageError(
            f"{path}: the plan was made for target '{found.target}', but the current target is '{target}'."
        )
    return found
