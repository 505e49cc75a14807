"""What destinations share that are other tools' syncs: theirs is triggered once the audience is built, and
waited for."""

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
    Flow,
    Identifier,
    Records,
    Refused,
    Result,
    Unfinished,
    Verdict,
    poll,
)

SyncId = Annotated[str, BeforeValidator(str), Field(pattern=r"^[A-Za-z0-9_.-]+$")]
_ROUNDS = 20


@dataclass(frozen=True)
class Run:
    """How a run of theirs stands: the word that their API has for it, whether it is over, why it failed if it
    did, how many rows were not taken, and whether it did nothing because another one was under way."""

    status: str
    is_over: bool = True
    failure: str | None = None
    rejected: int = 0
    was_skipped: bool = False


class Triggered(Destination):
    """A sync of another tool, which reads the audience's table itself: nobody is sent to it. When anything
    has changed in the audience, its sync (`syncs`, by the audience's name, else `sync_id`) is triggered and
    waited for, at most `max_wait` seconds; then all changes count as delivered, for only it knows what became
    of each row. Where rows were rejected and `on_row_errors` is `fail`, none do."""

    batch: ClassVar[Batch] = Batch(records=100_000)
    takes_one: ClassVar[bool] = False
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("id", column="user_id"),)
    statuses: ClassVar[Mapping[int, Verdict]] = {404: Verdict.PASS, 409: Verdict.PASS}

    api_key: SecretStr
    sync_id: SyncId | None = None
    syncs: Mapping[str, SyncId] = {}
    full_resync: bool = False
    on_row_errors: Literal["pass", "fail"] = "pass"
    max_wait: Annotated[float, Field(gt=0)] = 3_600.0

    @model_validator(mode="after")
    def _has_sync(self) -> Triggered:
        if self.sync_id is None and not self.syncs:
            raise ValueError("Give sync_id, or syncs: {AUDIENCE: ID}: the sync to trigger.")
        return self

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}

    @classmethod
    def modes(cls) -> tuple[str, ...]:
        # What becomes of whom who left is for the sync there to say.
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
        """The id by which the API has a sync, where people may give another name for it."""
        return sync
        yield

    def start(self, sync: str, attempt: str) -> httpx.Request:
        """The request that triggers a run. `attempt` names it: the same when it has to be sent again."""
        raise NotImplementedError  # every connector has it

    def started(self, response: httpx.Response) -> str:
        """The id of the run that was triggered."""
        raise NotImplementedError  # every connector has it

    def ask(self, sync: str, run: str) -> httpx.Request:
        """The request for a run's state."""
        raise NotImplementedError  # every connector has it

    def read_run(self, response: httpx.Response) -> Run:
        """The state of the run that was asked for."""
        raise NotImplementedError  # every connector has it

    def ask_latest(self, sync: str) -> httpx.Request:
        """The request for the latest runs of a sync."""
        raise NotImplementedError  # every connector has it

    def is_free(self, response: httpx.Response) -> bool:
        """Whether none of the latest runs is under way."""
        raise NotImplementedError  # every connector has it

    def prepare(self, mode: str, whole: Records, fields: Mapping[str, str]) -> Asking[Records]:
        named = self.audience_of(whole.audience)
        if named is None:
            raise Refused(f"{self.type}: syncs: names none for '{whole.audience}'. Add it, or set sync_id.")
        sync = yield from self.known_as(named)
        for attempt in range(_ROUNDS):
            response = yield self.start(sync, f"{whole.run_id}-{attempt}")
            if response.status_code == 404:
                raise Refused(f"{self.type} has no sync '{named}' that this api_key may see. Set sync_id.")
            if response.status_code != 409:
                id_ = self.started(response)
                run = yield from self.waited_for(sync, id_)
                if not run.was_skipped:
                    self._judge_run(named, id_, run)
                    return whole
            # A run that was under way has read the audience before it was built: ours comes after it.
            yield from poll(lambda: self.ask_latest(sync), self.is_free, limit=self.max_wait)
        raise Unfinished(f"its sync '{named}' was busy whenever it was triggered")

    def waited_for(self, sync: str, id_: str) -> Asking[Run]:
        """A run when it is over. Raises Unfinished when that takes longer than `max_wait`."""
        response = yield from poll(
            lambda: self.ask(sync, id_), lambda answer: self.read_run(answer).is_over, limit=self.max_wait
        )
        return self.read_run(response)

    def _judge_run(self, sync: str, id_: str, run: Run) -> None:
        what = f"{self.type}: run {id_} of sync '{sync}'"
        if run.failure is not None:
            raise Refused(f"{what} ended as '{run.status}': {run.failure}. Mend it there, and sync again.")
        if run.rejected and self.on_row_errors == "fail":
            raise Refused(
                f"{what} ended as '{run.status}', with {run.rejected:,} rows rejected, and on_row_errors is "
                "'fail'. See which in the run's history."
            )
