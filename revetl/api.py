"""revetl in Python, in the command line's words: `revetl.Project(".").sync("high_churn")`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revetl.dbt import Options
from revetl.errors import UsageError, nearest
from revetl.project import AudienceModel, Sync, Workspace
from revetl.sql import statement
from revetl.sync import run as runner
from revetl.sync.plan import Plan
from revetl.sync.record import Run
from revetl.sync.run import Progress, SyncOptions
from revetl.sync.tables import Tables

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from revetl.ingest.load import Loaded
    from revetl.ingest.load import Progress as LoadProgress

SAMPLE = 2
_ARROW_ROWS = 100_000


@dataclass(frozen=True)
class Audience:
    """An audience of a project: a dbt model, and where it goes."""

    workspace: Workspace
    model: AudienceModel

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def key(self) -> str:
        """The column that names a person."""
        return self.model.key

    @property
    def description(self) -> str:
        return self.model.model.description

    @property
    def tags(self) -> tuple[str, ...]:
        return self.model.model.tags

    @property
    def syncs(self) -> tuple[Sync, ...]:
        return self.model.syncs

    def to_arrow(self) -> pa.Table:
        """The members as they were last built. Raises WarehouseError when they were not."""
        import pyarrow as pa

        warehouse = self.workspace.warehouse(read_only=True)
        try:
            model = self.workspace.built(self.model, warehouse)
            query = statement("select * from :model as a", model=model)
            return pa.Table.from_batches(warehouse.stream(query, _ARROW_ROWS))
        finally:
            warehouse.close()

    def to_pandas(self) -> pd.DataFrame:
        """`to_arrow()` as a pandas data frame."""
        return self.to_arrow().to_pandas()


class Project:
    """A dbt project with revetl in it.

    `path` is its folder (or one below it); `profiles_dir`, `profile`, `target` and `vars` mean what they
    mean to dbt. `say` is told what takes time. Raises UsageError for what is written wrongly.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        profiles_dir: str | Path | None = None,
        profile: str | None = None,
        target: str | None = None,
        vars: str | None = None,
        lock_timeout: float = 60.0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        options = Options(
            project_dir=None if path is None else Path(path),
            profiles_dir=None if profiles_dir is None else Path(profiles_dir),
            profile=profile,
            target=target,
            vars=vars,
        )
        self.workspace = Workspace(options, lock_timeout=lock_timeout, say=say)

    @property
    def audiences(self) -> list[Audience]:
        """Every audience, by name."""
        return [Audience(self.workspace, model) for model in self.workspace.audiences()]

    def audience(self, name: str) -> Audience:
        """The audience `name`. Raises UsageError with the nearest name there is."""
        return Audience(self.workspace, self.workspace.audience(name))

    def select(
        self, name: str | None = None, *, to: str | None = None, select: str | None = None
    ) -> list[Sync]:
        """The syncs of one audience, of a selection (`tag:nightly`, or audiences' names with spaces
        between), or of the whole project when neither is given; `to` leaves other destinations out."""
        if name is not None:
            return self.workspace.syncs(self.workspace.audience(name), to)
        audiences = [a for a in self.workspace.audiences() if select is None or _selected(a, select)]
        if select is not None and not audiences:
            known = [model.name for model in self.workspace.models()]
            tags = [f"tag:{tag}" for model in self.workspace.models() for tag in model.tags]
            raise UsageError(f"--select {select}: no audience matches. {nearest(select, [*known, *tags])}")
        syncs = [sync for audience in audiences for sync in audience.syncs if to in (None, sync.config.to)]
        if to is not None and not syncs:
            known = [sync.config.to for audience in audiences for sync in audience.syncs]
            raise UsageError(f"--to {to}: no audience goes there. {nearest(to, set(known))}")
        return syncs

    def plan(
        self,
        name: str | None = None,
        *,
        to: str | None = None,
        select: str | None = None,
        full_refresh: bool = False,
        retry: bool = False,
        sample: int = SAMPLE,
    ) -> list[Plan]:
        """What each sync would do, with the exact requests for `sample` records an operation. Changes
        nothing and needs no secret."""
        options = SyncOptions(full_refresh=full_refresh, retry=retry)
        syncs = self.select(name, to=to, select=select)
        return [runner.plan_sync(self.workspace, sync, options, sample) for sync in syncs]

    def sync(
        self,
        name: str | None = None,
        *,
        to: str | None = None,
        select: str | None = None,
        full_refresh: bool = False,
        retry: bool = False,
        force: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> list[Run]:
        """Run each sync in turn and give what it did; a run that was stopped, refused or had records
        rejected says so in its status and `exit_code`. Raises Locked, UsageError and WarehouseError."""
        options = SyncOptions(full_refresh=full_refresh, retry=retry, force=tuple(force))
        syncs = self.select(name, to=to, select=select)
        return [self.run(sync, options, progress) for sync in syncs]

    def run(self, sync: Sync, options: SyncOptions, progress: Progress | None = None) -> Run:
        """Run one sync."""
        return runner.run_sync(self.workspace, sync, options, progress or Progress())

    def status(self) -> list[dict[str, Any]]:
        """The last run of every sync, what its destination holds, and what it rejected."""
        return self._query(
            """
            with numbered as (
                select *, row_number() over (partition by sync order by started_at desc, run_id desc) as place
                from :runs as r
            ),
            held as (select sync, count(*) as held from :state as s group by sync),
            refused as (select sync, count(*) as rejections from :rejections as j group by sync)
            select n.sync, n.status, n.started_at, n.finished_at, coalesce(h.held, 0) as held,
                n.delivered_add as added, n.delivered_update as updated, n.delivered_remove as removed,
                coalesce(f.rejections, 0) as rejections, n.unsent, n.run_id, n.error
            from numbered as n
            left join held as h on h.sync = n.sync
            left join refused as f on f.sync = n.sync
            where n.place = 1
            order by n.sync
            """
        )

    def rejections(self, name: str | None = None, *, to: str | None = None) -> list[dict[str, Any]]:
        """The records that destinations refuse, with the reason, until they are accepted."""
        syncs = None if name is None and to is None else [sync.name for sync in self.select(name, to=to)]
        rows = self._query(
            "select sync, key, operation, reason, attempts, first_rejected_at, last_rejected_at, run_id, "
            "identifiers, fields from :rejections as j order by sync, last_rejected_at desc, key"
        )
        return [row for row in rows if syncs is None or row["sync"] in syncs]

    def load(
        self, files: Iterable[str | Path], *, on_progress: Callable[[LoadProgress], None] | None = None
    ) -> Loaded:
        """Land Segment-spec messages of files in the raw tables; see docs/loading.md."""
        from revetl.ingest.load import load_files
        from revetl.warehouse.duckdb import DuckDB

        warehouse = self.workspace.warehouse()
        try:
            assert isinstance(warehouse, DuckDB)
            paths = [Path(file) for file in files]
            schema = self.workspace.dbt.variable("raw_schema", "raw")
            return load_files(warehouse.connection, paths, raw_schema=schema, on_progress=on_progress)
        finally:
            warehouse.close()

    def _query(self, query: str) -> list[dict[str, Any]]:
        warehouse = self.workspace.warehouse(read_only=True)
        try:
            tables = Tables(self.workspace.config.state_schema, warehouse.database)
            if not tables.exist(warehouse):
                return []
            parts = {"runs": tables.runs, "state": tables.state, "rejections": tables.rejections}
            select = statement(query, **parts)
            names = select.named_selects  # type: ignore[attr-defined]
            return [dict(zip(names, row, strict=True)) for row in warehouse.rows(select)]
        finally:
            warehouse.close()


def _selected(audience: AudienceModel, select: str) -> bool:
    return any(
        word.removeprefix("tag:") in audience.model.tags if word.startswith("tag:") else word == audience.name
        for word in select.split()
    )
