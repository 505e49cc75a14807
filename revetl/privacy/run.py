"""Process all open privacy requests: destinations first, then the warehouse.

A run can be killed at any time. Each place records its work in the same transaction, or through the sync's
write-ahead log; the next run continues with the open requests.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from revetl import dbt
from revetl.dbt.program import said
from revetl.delivery.scrub import scrub
from revetl.errors import RevetlError
from revetl.mapping.comparable import IdentifierTypes
from revetl.observability import logs
from revetl.privacy.destinations import (
    Erasure,
    erasing_sync,
    fail_destination,
    finish_destination,
    held_at,
    removing_syncs,
)
from revetl.privacy.erasure import (
    erase_late,
    erase_raw,
    erase_snapshots,
    erase_state,
    finish_place,
    left_in_models,
    load_people,
    unresolved,
)
from revetl.privacy.places import (
    DESTINATION,
    LOCAL,
    MODELS,
    RAW,
    SNAPSHOTS,
    STATE,
    erases,
    ordered_destinations,
)
from revetl.privacy.requests import ERASING, SUPPRESS_ONLY
from revetl.privacy.store import suppress_open
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.options import SyncOptions
from revetl.sync.retire import OptOuts
from revetl.sync.run import Progress, Runner, run_sync
from revetl.sync.state import leases
from revetl.sync.state.recovery import recover
from revetl.sync.state.run_ids import new_run_id
from revetl.sync.state.run_log import Run
from revetl.sync.state.tables import StateTables, state_tables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import query, statement

_TAIL = 5
_NOT_ERASED = "cannot erase people; removed from audiences"
_NOTHING = "nothing was delivered"
_STAYS = "cannot erase people; what was sent as profiles or events stays"


@dataclass(frozen=True)
class PrivacyRun:
    """The result of a run: finished and open requests, erased rows by place, late messages, and errors by
    place."""

    finished: int
    open: int
    late_messages: int = 0
    erased: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 if nothing failed; 1 if a place failed, which keeps its requests open."""
        return 1 if self.errors else 0


def run_requests(
    workspace: Workspace, *, build: bool = True, say: Callable[[str], None] = lambda _: None
) -> PrivacyRun:
    """Continue all open requests in every place.

    A failing place keeps its requests open without blocking the others. With `build`, dbt rebuilds the models
    without the people.
    """
    errors: dict[str, str] = {}
    erased: dict[str, int] = {}
    with workspace.writing() as warehouse:
        tables = state_tables(workspace, warehouse.database)
        tables.create(warehouse, workspace.say)
        late = erase_late(workspace, warehouse, tables)
        with warehouse.transaction():
            suppress_open(warehouse, tables)
            start = "update :requests set status = 'running' where status in ('initialized', 'failed')"
            warehouse.run(statement(start, requests=tables.named("privacy_requests")))
        waiting = _open_places(warehouse, tables)
    for name in ordered_destinations(workspace):
        if f"{DESTINATION}{name}" in waiting:
            say(f"{name}: erasing" if erases(workspace, name) else f"{name}: removing from audiences")
            _at_destination(workspace, name, errors)
    _gone_destinations(workspace, waiting, errors)
    for place, erase in ((RAW, erase_raw), (SNAPSHOTS, erase_snapshots), (STATE, erase_state)):
        if place in waiting:
            with workspace.writing() as warehouse:
                tables = state_tables(workspace, warehouse.database)
                types = IdentifierTypes.of(workspace)
                if load_people(warehouse, tables, types, place, after_destinations=place == STATE):
                    say(f"{place}: erasing")
                    erased[place] = erase(workspace, warehouse, tables, place)
    if LOCAL in waiting:
        _clear_local(workspace, errors)
    if MODELS in waiting:
        _rebuild(workspace, errors, build=build, say=say)
    with workspace.writing() as warehouse:
        tables = state_tables(workspace, warehouse.database)
        finished = finish_requests(warehouse, tables)
        still_open = _open_requests(warehouse, tables)
    logs.event("privacy_run", finished=finished, open=still_open, errors=sorted(errors))
    return PrivacyRun(finished, still_open, late, erased, errors)


def _open_places(warehouse: Warehouse, tables: StateTables) -> set[str]:
    rows = warehouse.rows(
        query(
            "select distinct p.place from :places as p "
            "where p.status in ('initialized', 'running', 'failed')",
            places=tables.named("privacy_places"),
        )
    )
    return {str(place) for (place,) in rows}


def _open_requests(warehouse: Warehouse, tables: StateTables) -> int:
    ((count,),) = warehouse.rows(
        query(
            "select count(*) from :requests as r where r.status in ('initialized', 'running', 'failed')",
            requests=tables.named("privacy_requests"),
        )
    )
    return int(count)


def _at_destination(workspace: Workspace, name: str, errors: dict[str, str]) -> None:
    """Remove people from a destination's audiences, and erase them if the destination can."""
    place = f"{DESTINATION}{name}"
    try:
        with workspace.writing() as warehouse:
            tables = state_tables(workspace, warehouse.database)
            syncs = removing_syncs(workspace, warehouse, tables, name)
            has_state = _has_state(warehouse, tables, name)
        for sync in syncs:
            if sync.name in has_state:
                _succeed(_run(workspace, sync, OptOuts))
        can_erase = erases(workspace, name)
        if can_erase:
            sync = erasing_sync(name)
            _succeed(_run(workspace, sync, Erasure))
        with workspace.writing() as warehouse:
            tables = state_tables(workspace, warehouse.database)
            if can_erase:
                finish_destination(workspace, warehouse, tables, name, workspace.destination(sync))
            _finish_removal(workspace, warehouse, tables, name, can_erase=can_erase)
    except RevetlError as error:
        why = scrub(logs.redact(str(error))) or type(error).__name__
        errors[place] = why
        with workspace.writing() as warehouse:
            fail_destination(warehouse, state_tables(workspace, warehouse.database), name, why)


def _has_state(warehouse: Warehouse, tables: StateTables, to: str) -> set[str]:
    rows = warehouse.rows(
        query(
            "select distinct s.sync from :state as s where s.sync like :pattern",
            state=tables.state,
            pattern=f"%.{to}",
        )
    )
    return {str(sync) for (sync,) in rows}


def _run(workspace: Workspace, sync: Sync, kind: type[Runner]) -> Run:
    return run_sync(workspace, sync, SyncOptions(), Progress(), kind=kind)


def _succeed(run: Run) -> None:
    """Raise RevetlError if a run did not reach its destination. Rejected records are recorded in their
    requests."""
    if run.status not in ("success", "rejected"):
        raise RevetlError(run.error or f"{run.sync}: the run ended as {run.status}")


def _finish_removal(
    workspace: Workspace, warehouse: Warehouse, tables: StateTables, name: str, *, can_erase: bool
) -> None:
    """Record the status of requests without erasure at a destination."""
    types, place = IdentifierTypes.of(workspace), f"{DESTINATION}{name}"
    regulations = (SUPPRESS_ONLY,) if can_erase else (SUPPRESS_ONLY, *ERASING)
    for regulation in regulations:
        if not load_people(warehouse, tables, types, place, regulations=(regulation,)):
            continue
        if held_at(warehouse, tables, workspace, name, members=True):
            raise RevetlError(
                f"{name}: people are still in audiences that no sync removes anybody from. Run `revetl sync "
                f"--all --to {name}`."
            )
        stays = held_at(warehouse, tables, workspace, name, members=False)
        if regulation == SUPPRESS_ONLY:
            finish_place(warehouse, tables, place)
        elif stays:
            finish_place(warehouse, tables, place, status="not_supported", detail=_STAYS)
        elif _has_state(warehouse, tables, name):
            finish_place(warehouse, tables, place, status="not_supported", detail=_NOT_ERASED)
        else:
            finish_place(warehouse, tables, place, detail=_NOTHING)


def _gone_destinations(workspace: Workspace, waiting: set[str], errors: dict[str, str]) -> None:
    """Record an error for destinations that are no longer in revetl.yml."""
    named = {place.removeprefix(DESTINATION) for place in waiting if place.startswith(DESTINATION)}
    for name in sorted(named - set(workspace.config.destinations)):
        why = f"revetl.yml has no destination '{name}' any more. Bring it back, or cancel the request."
        errors[f"{DESTINATION}{name}"] = why
        with workspace.writing() as warehouse:
            fail_destination(warehouse, state_tables(workspace, warehouse.database), name, why)


def _clear_local(workspace: Workspace, errors: dict[str, str]) -> None:
    """Checkpoint and delete local files of interrupted runs."""
    folder = workspace.root / ".revetl" / "runs" / workspace.target.name
    with workspace.writing() as warehouse:
        tables = state_tables(workspace, warehouse.database)
        for left in sorted(folder.glob("*")):
            if not any(left.iterdir()):
                continue
            try:
                lease = leases.acquire(warehouse, tables, left.name, new_run_id())
            except RevetlError as error:
                # A sync run is active; it removes its own folder, and the next privacy run finds it gone.
                errors[LOCAL] = str(error)
                continue
            try:
                recover(warehouse, tables, left.name, left)
            finally:
                with suppress(RevetlError):
                    leases.release(warehouse, tables, lease)
        types = IdentifierTypes.of(workspace)
        if LOCAL not in errors and load_people(warehouse, tables, types, LOCAL, after_destinations=True):
            finish_place(warehouse, tables, LOCAL)


def _rebuild(
    workspace: Workspace, errors: dict[str, str], *, build: bool, say: Callable[[str], None]
) -> None:
    """Rebuild the models without the people, and check that none of their rows remain."""
    if build:
        say("models: dbt build")
        done = dbt.run(workspace.dbt, workspace.options, "build")
        if done.returncode:
            tail = scrub(logs.redact(" ".join(said(done).splitlines()[-_TAIL:])))
            errors[MODELS] = f"`dbt build` failed: {tail}"
    with workspace.writing() as warehouse:
        tables = state_tables(workspace, warehouse.database)
        if not load_people(warehouse, tables, IdentifierTypes.of(workspace), MODELS):
            return
        left = left_in_models(workspace, warehouse)
        if not left:
            errors.pop(MODELS, None)
            finish_place(warehouse, tables, MODELS)
            return
        why = errors.get(MODELS) or unresolved(sorted(left))
        if build:
            errors[MODELS] = why
        finish_place(warehouse, tables, MODELS, status="running", detail=why)


def finish_requests(warehouse: Warehouse, tables: StateTables) -> int:
    """Finish the requests without open places, and return their number.

    Deletes their identifiers, except for salted hashes.
    """
    done = query(
        """
        select r.request_id,
            case when count(case when p.status = 'not_supported' then 1 end) > 0
                then 'partial_success' else 'finished' end as status
        from :requests as r inner join :places as p on p.request_id = r.request_id
        where r.status = 'running'
        group by r.request_id
        having count(case when p.status in ('initialized', 'running', 'failed') then 1 end) = 0
        """,
        requests=tables.named("privacy_requests"),
        places=tables.named("privacy_places"),
    )
    rows = warehouse.rows(query("select count(*) from :done as d", done=done.subquery()))
    count = int(rows[0][0])
    with warehouse.transaction():
        warehouse.run(
            statement(
                """
                merge into :requests as r using :done as d on r.request_id = d.request_id
                when matched then update set status = d.status, finished_at = :now, identifier_value = null
                """,
                requests=tables.named("privacy_requests"),
                done=done.copy().subquery(),
                now=leases.now(),
            )
        )
        warehouse.run(
            statement(
                """
                update :identifiers set identifier_value = null
                where identifier_value is not null and request_id in (
                    select r.request_id from :requests as r
                    where r.status in ('finished', 'partial_success', 'invalid')
                )
                """,
                identifiers=tables.named("privacy_identifiers"),
                requests=tables.named("privacy_requests"),
            )
        )
        suppress_open(warehouse, tables)
    return count
