"""Assemble a project's collector, and run it until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from revetl.config.jinja import RenderedValue
from revetl.errors import UsageError
from revetl.governance.pii import AT_LOAD, hider_of
from revetl.governance.tracking_plan import PLAN_FILE, read_plan
from revetl.governance.tracking_plan.project import resolved_plan
from revetl.governance.transformations import read_transformations
from revetl.ingest.collector.app import Collector, Watch, create_app
from revetl.ingest.collector.landing import Lander
from revetl.ingest.collector.messages import MessagePreparer
from revetl.ingest.collector.plans import PlanChecker
from revetl.ingest.collector.segments import SegmentLog
from revetl.ingest.collector.server import server_of
from revetl.ingest.collector.sources import Sources
from revetl.observability import logs
from revetl.project.workspace import Workspace
from revetl.warehouse import Warehouse

_LOCK_SECONDS = 2.0
"""How long a landing waits for a locked DuckDB file before it tries again later."""


@dataclass(frozen=True)
class CollectorOptions:
    """`directory` overrides the configured one. `lands`: whether events are landed in the warehouse. `watch`
    is called for each message."""

    directory: Path | None = None
    lands: bool = True
    watch: Watch | None = None


def directory_of(workspace: Workspace, directory: Path | None = None) -> Path:
    """Return the folder of the collector's segments."""
    return workspace.root / (directory or Path(workspace.config.collector.directory).expanduser())


@contextmanager
def assembled(workspace: Workspace, options: CollectorOptions) -> Iterator[Collector]:
    """Yield the project's collector, with a lander that runs. Raises UsageError for an invalid configuration,
    a missing key, and a folder that another collector uses."""
    config = workspace.config.collector
    filled_in: set[RenderedValue] = set()
    sources = Sources(config, filled_in=filled_in)
    for source in sources.all.values():
        logs.hide(*source.keys)
    if config.analytics_js is not None and not (workspace.root / config.analytics_js).is_file():
        raise UsageError(f"revetl.yml: collector.analytics_js: file not found: {config.analytics_js}.")
    preparer = MessagePreparer(config, hider_of(workspace.root, AT_LOAD))
    plan = _plan_checker(workspace)
    log = SegmentLog(directory_of(workspace, options.directory))
    lander = None
    try:
        if options.lands:
            lander = Lander(
                log,
                workspace.raw_schema,
                lambda: _opened(workspace),
                seconds=config.land_seconds,
                rows=config.land_rows,
            )
        collector = Collector(
            config,
            sources,
            log,
            preparer,
            lander=lander,
            plan=plan,
            root=workspace.root,
            watch=options.watch,
        )
        if lander is not None:
            lander.on_landed = collector.on_landed
            lander.start()
        yield collector
    finally:
        if lander is not None:
            lander.stop()
        log.close()


def collect(
    workspace: Workspace,
    listener: socket.socket,
    options: CollectorOptions,
    on_start: Callable[[Collector], None] = lambda _: None,
) -> None:
    """Collect until the process is interrupted. Raises UsageError as `assembled` does."""
    with assembled(workspace, options) as collector:
        on_start(collector)
        server_of(create_app(collector)).run(sockets=[listener])


@contextmanager
def _opened(workspace: Workspace) -> Iterator[Warehouse]:
    warehouse = workspace.warehouse(lock_timeout=_LOCK_SECONDS)
    try:
        yield warehouse
    finally:
        warehouse.close()


def _plan_checker(workspace: Workspace) -> PlanChecker | None:
    if not (workspace.root / PLAN_FILE).is_file():
        return None
    plan = resolved_plan(read_plan(workspace.root / PLAN_FILE), workspace.dbt, workspace.options)
    return PlanChecker(plan, read_transformations(workspace.root).transformations)
