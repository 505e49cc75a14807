"""Base class of destinations that run another tool's sync: triggered after the audience is built, and
awaited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import httpx
from pydantic import BeforeValidator, Field, SecretStr, model_validator

from revetl.destinations.base.destination import (
    Asking,
    Batch,
    Destination,
    Disposition,
    Flow,
    Identifier,
    JobUnfinished,
    Records,
    Refused,
    Result,
    poll,
)
from revetl.destinations.base.records import SyncContext

SyncId = Annotated[str, BeforeValidator(str), Field(pattern=r"^[A-Za-z0-9_.-]+$")]
_ROUNDS = 20


@dataclass(frozen=True)
class TriggeredRun:
    """The state of a run in the other tool: its status there, whether it has ended, why it failed if it did,
    how many rows were rejected, and whether it was skipped because another run was in progress."""

    status: str
    is_over: bool = True
    failure: str | None = None
    rejected: int = 0
    was_skipped: bool = False


class TriggeredSync(Destination):
    """A sync of another tool, which reads the audience's table itself: no people are sent. When the audience
    has changed, its sync (`syncs`, by audience name, else `sync_id`) is triggered and awaited for up to
    `max_wait` seconds; then all changes count as delivered, since only the other tool knows the outcome per
    row. If rows were rejected and `on_row_errors` is `fail`, none count as delivered."""

    batch: ClassVar[Batch] = Batch(records=100_000)
    takes_one: ClassVar[bool] = False
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("id", column="user_id"),)
    statuses: ClassVar[Mapping[int, Disposition]] = {404: Disposition.PASS, 409: Disposition.PASS}

    api_key: SecretStr
    sync_id: SyncId | None = None
    syncs: Mapping[str, SyncId] = {}
    full_resync: bool = False
    on_row_errors: Literal["pass", "fail"] = "pass"
    max_wait: Annotated[float, Field(gt=0)] = 3_600.0

    @model_validator(mode="after")
    def _has_sync(self) -> TriggeredSync:
        if self.sync_id is None and not self.syncs:
            raise ValueError("Set sync_id, or syncs: {AUDIENCE: ID}: the sync to trigger.")
        return self

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        # How removed members are handled is up to the other tool's sync.
        return ("mirror", "upsert")

    def audience_of(self, audience: str) -> str | None:
        return self.syncs.get(audience, self.sync_id)

    def upsert(self, records: Records) -> Flow:
        return Result()
        yield

    def remove(self, records: Records) -> Flow:
        return Result()
        yield

    def known_as(self, sync: str) -> Asking[str]:
        """Return the API's id of a sync, where users may configure another name for it."""
        return sync
        yield

    def start(self, sync: str, attempt: str) -> httpx.Request:
        """Return the request that triggers a run. `attempt` identifies it across retries."""
        raise NotImplementedError  # implemented by every connector

    def started(self, response: httpx.Response) -> str:
        """Return the id of the triggered run."""
        raise NotImplementedError  # implemented by every connector

    def ask(self, sync: str, run: str) -> httpx.Request:
        """Return the request for a run's state."""
        raise NotImplementedError  # implemented by every connector

    def read_run(self, response: httpx.Response) -> TriggeredRun:
        """Return the run's state from a response."""
        raise NotImplementedError  # implemented by every connector

    def ask_latest(self, sync: str) -> httpx.Request:
        """Return the request for the latest runs of a sync."""
        raise NotImplementedError  # implemented by every connector

    def is_free(self, response: httpx.Response) -> bool:
        """Whether none of the latest runs is in progress."""
        raise NotImplementedError  # implemented by every connector

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        named = self.audience_of(context.audience)
        if named is None:
            raise Refused(
                f"{self.type}: syncs: has no entry for '{context.audience}'. Add it, or set sync_id."
            )
        sync = yield from self.known_as(named)
        for attempt in range(_ROUNDS):
            response = yield self.start(sync, f"{context.run_id}-{attempt}")
            if response.status_code == 404:
                raise Refused(f"{self.type}: sync '{named}' not found with this api_key. Set sync_id.")
            if response.status_code != 409:
                id_ = self.started(response)
                run = yield from self.waited_for(sync, id_)
                if not run.was_skipped:
                    self._judge_run(named, id_, run)
                    return context
            # A run already in progress read the audience before it was built, so wait for it and trigger
            # ours.
            yield from poll(lambda: self.ask_latest(sync), self.is_free, limit=self.max_wait)
        raise JobUnfinished(f"its sync '{named}' was busy on every attempt to trigger it")

    def waited_for(self, sync: str, id_: str) -> Asking[TriggeredRun]:
        """Wait until a run has ended. Raises Unfinished after `max_wait` seconds."""
        response = yield from poll(
            lambda: self.ask(sync, id_), lambda answer: self.read_run(answer).is_over, limit=self.max_wait
        )
        return self.read_run(response)

    def _judge_run(self, sync: str, id_: str, run: TriggeredRun) -> None:
        what = f"{self.type}: run {id_} of sync '{sync}'"
        if run.failure is not None:
            raise Refused(
                f"{what} ended as '{run.status}': {run.failure}. Fix it there, then run the sync again."
            )
        if run.rejected and self.on_row_errors == "fail":
            raise Refused(
                f"{what} ended as '{run.status}' with {run.rejected:,} rows rejected, and on_row_errors is "
                "'fail'. The run's history there lists them."
            )
