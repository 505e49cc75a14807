"""The state of a sync, and messages for state changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from revetl.observability.alerts import (
    RunOutcome,
    State,
    last_state,
    messages,
    state_after,
    state_of,
)
from tests.observability.support import (
    CRASHED,
    FEW,
    GUARD,
    IDLE,
    INTERRUPTED,
    MANY,
    NONE,
    OK,
    REFUSED,
    RUNNING,
    FakeRun,
)


@pytest.mark.parametrize(
    ("run", "limit", "state"),
    [
        pytest.param(OK, 0.05, State.OK, id="a success is ok"),
        pytest.param(IDLE, 0.05, State.OK, id="nothing to do is ok"),
        pytest.param(FEW, 0.05, State.OK, id="few rejections are ok"),
        pytest.param(MANY, 0.05, State.REJECTING, id="many rejections are rejecting"),
        pytest.param(FEW, 0.0, State.REJECTING, id="with a limit of nothing, few are many"),
        pytest.param(MANY, 0.4, State.OK, id="the limit itself is within it"),
        pytest.param(REFUSED, 0.05, State.FAILED, id="a refusal is a failure"),
        pytest.param(
            replace(REFUSED, rejected={"add": 9}), 0.05, State.FAILED, id="a refusal outweighs rejections"
        ),
        pytest.param(CRASHED, 0.05, State.FAILED, id="a crash is a failure"),
        pytest.param(GUARD, 0.05, State.GUARD, id="a guard's stop is its own state"),
        pytest.param(INTERRUPTED, 0.05, None, id="an interruption shows nothing"),
        pytest.param(RUNNING, 0.05, None, id="a run under way shows nothing"),
        pytest.param(
            replace(REFUSED, status="lost"), 0.05, None, id="a run that lost its lease shows nothing"
        ),
    ],
)
def test_state_of_a_run(run: RunOutcome, limit: float, state: State | None) -> None:
    assert state_of(run, limit) is state


@pytest.mark.parametrize(
    ("newest_first", "state"),
    [
        pytest.param([], None, id="no runs, no state"),
        pytest.param([INTERRUPTED], None, id="only an interruption, no state"),
        pytest.param([INTERRUPTED, REFUSED], State.FAILED, id="an interruption mends nothing"),
        pytest.param([IDLE, MANY], State.REJECTING, id="a run without records does not end rejecting"),
        pytest.param([IDLE, IDLE, OK, MANY], State.OK, id="a run with good records does"),
        pytest.param([IDLE, REFUSED], State.OK, id="a run without records ends a failure"),
        pytest.param([IDLE, GUARD, MANY], State.OK, id="a guard came between"),
    ],
)
def test_state_of_a_sync(newest_first: Sequence[RunOutcome], state: State | None) -> None:
    assert last_state(newest_first) is state


@pytest.mark.parametrize(
    ("past", "run", "kind"),
    [
        pytest.param([], OK, None, id="a first success is no news"),
        pytest.param([], REFUSED, "failed", id="a first failure is"),
        pytest.param([REFUSED], REFUSED, None, id="the same failure again is not"),
        pytest.param([OK], REFUSED, "failed", id="a failure after a success"),
        pytest.param([REFUSED], GUARD, "guard", id="from a failure to a guard"),
        pytest.param([GUARD], MANY, "rejection_rate", id="from a guard to rejections"),
        pytest.param([MANY], FEW, "recovered", id="from many rejections to few"),
        pytest.param([MANY], IDLE, None, id="nothing to do is no recovery from rejections"),
        pytest.param([CRASHED], OK, "recovered", id="the run after a crash"),
        pytest.param([REFUSED, OK], INTERRUPTED, None, id="an interruption is no news"),
        pytest.param([INTERRUPTED, REFUSED], OK, "recovered", id="recovery is seen across an interruption"),
    ],
)
def test_a_state_change_has_one_message(past: Sequence[RunOutcome], run: FakeRun, kind: str | None) -> None:
    previous = last_state(past)
    said = messages(previous, state_after(previous, run), run)
    assert [message.kind for message in said] == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("previous", "run", "title", "body"),
    [
        pytest.param(
            State.OK,
            FakeRun(
                "refused",
                attempted={"remove": 10, "add": 1003},
                rejected={"remove": 0, "add": 5},
                planned={"remove": 10, "update": 0, "add": 2000},
                delivered={"remove": 10, "add": 995},
                aborted={"remove": 0, "add": 997},
                error="api.crm.test refused us: 401 Unauthorized for ann.o'dell+x@mail.shop.test.",
            ),
            "revetl: high_churn.crm failed",
            "Previous state: ok.\n"
            "api.crm.test refused us: 401 Unauthorized for ***.\n"
            "Status: refused. Planned: remove 10, add 2,000; 1,005 delivered, 5 rejected, 997 not sent, "
            "3 without a response.\n"
            "Run: 20261124T101500-1a2b3c4d, 2.5 s.\n"
            "After fixing the cause: revetl sync audience high_churn --to crm\n"
            "To see why records were rejected: revetl rejections audience high_churn --to crm",
            id="a failure with its counts, and a masked email address",
        ),
        pytest.param(
            None,
            replace(GUARD, stopped_by="keys", error="5 rows have no user_id (Ann, Lee)."),
            "revetl: high_churn.crm was stopped by the guard keys",
            "The audience's key is null or not unique.\n"
            "Status: stopped. Planned: add 100; 0 delivered, 0 rejected, 100 not sent.\n"
            "Run: 20261124T101500-1a2b3c4d, 2.5 s.\n"
            "To review the changes: revetl plan audience high_churn --to crm",
            id="rows quoted by a guard are left out",
        ),
        pytest.param(
            State.OK,
            MANY,
            "revetl: high_churn.crm: 40.0% of records rejected",
            "Previous state: ok.\n"
            "Status: rejected. Planned: add 100; 60 delivered, 40 rejected, 0 not sent.\n"
            "Run: 20261124T101500-1a2b3c4d, 2.5 s.\n"
            "To see why records were rejected: revetl rejections audience high_churn --to crm",
            id="rejections",
        ),
        pytest.param(
            State.REJECTING,
            replace(IDLE, rejected=NONE),
            "revetl: high_churn.crm has recovered",
            "Previous state: rejecting.\n"
            "Status: success. Nothing to send.\n"
            "Run: 20261124T101500-1a2b3c4d, 2.5 s.",
            id="recovery",
        ),
    ],
)
def test_messages_of_a_state_change(previous: State | None, run: FakeRun, title: str, body: str) -> None:
    (message,) = messages(previous, state_of(run), run)
    assert (message.title, message.body) == (title, body)
