"""`--only … --undo`: revert a run of one member, with a run like any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlglot import exp

from revetl.errors import UsageError
from revetl.mapping.fields import ALONG
from revetl.sync.opt_outs import suppressed
from revetl.sync.plan import guards
from revetl.sync.plan.diff import Diff
from revetl.sync.plan.eligibility import SUPPRESSED, alike
from revetl.sync.plan.inputs import ColumnsLost, read_inputs
from revetl.sync.plan.only import (
    CAUSE,
    HeldRow,
    Trial,
    check_only,
    find_key,
    forget_trial,
    held_of,
    is_current,
    is_one_of,
    sent_as,
    trial_of,
)
from revetl.sync.plan.plan import Plan, without_columns
from revetl.sync.plan.state_summary import Build
from revetl.sync.run import ReadyRun, Runner
from revetl.sync.state import leases
from revetl.sync.state.identity import destination_stop, read_identity
from revetl.sync.state.run_log import Run, write_run
from revetl.sync.state.tables import StateTables, insert
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement

_TOLD = ("events", "audience_events", "delete")
"""Modes in which nothing can be undone."""
_REMOVING = ("mirror", "archive")


@dataclass
class Undo(Runner):
    """A run that undoes the last runs of one member (`options.only`)."""

    _key: str = ""

    def _spool(self, warehouse: Warehouse, lease: leases.Lease) -> ReadyRun | Run:
        name, mode, asked = self.sync.name, self.sync.config.mode, self.options.only or ""
        check_only(self.sync, self.destination)
        if mode in _TOLD:
            what = "an erasure" if mode == "delete" else "a sent event"
            raise UsageError(f"--undo: {name} has mode {mode}, and {what} cannot be undone.")
        diff = read_inputs(self.workspace, self.sync, self.destination, warehouse, self.tables)
        if isinstance(diff, ColumnsLost):
            return self._end_early(
                warehouse, without_columns(self.sync, diff), Build(), guards.as_error(diff.stop)
            )
        key, why = self._found(diff, asked)
        self._key = key
        trial = trial_of(warehouse, self.tables, name, key)
        now = held_of(warehouse, self.tables, name, key)
        if trial is None:
            raise UsageError(f"--undo: {name} has no run with --only of {key} that could be undone.")
        if _is_as_before(trial.before, now):
            # The run was interrupted before anything arrived, or everything was rejected.
            rows = {}
        elif not is_current(warehouse, self.tables, name, trial, now):
            since = f" (run {now.run_id})" if now is not None else ""
            raise UsageError(
                f"--undo: {key} was synced again after run {trial.run_id}{since}, so that run can no longer "
                "be undone. Nothing was sent."
            )
        else:
            rows = _restoring(self.sync.config.to, mode, trial, now)
        if any(each != "remove" for each in rows) and (
            why == SUPPRESSED or self._is_suppressed(warehouse, trial)
        ):
            raise UsageError(
                f"--undo: {key} is suppressed (revetl.suppressions), so the previous values are not sent "
                "again."
            )
        plan = Plan(
            sync=name,
            audience=self.sync.audience.name,
            destination=self.sync.config.to,
            mode=mode,
            held_rows=diff.facts.held_rows,
            add=int("add" in rows),
            update=int("update" in rows),
            remove=int("remove" in rows),
            causes={each: {CAUSE: 1} for each in rows},
        )
        self.progress.on_plan(plan)
        before = read_identity(warehouse, self.tables, name)
        elsewhere = destination_stop(name, self.sync.config.to, before, diff.identity)
        if elsewhere is not None:
            return self._end_early(warehouse, plan, diff.facts.build, guards.as_error(elsewhere))
        if not rows:
            forget_trial(warehouse, self.tables, name, key)
            return self._end_early(warehouse, plan, diff.facts.build, None)
        hash_by = (trial.before.hash_by if trial.before is not None else None) or diff.hash_by
        with warehouse.transaction():
            for operation, held in rows.items():
                warehouse.run(insert(self.tables.intents, self._intent(diff, operation, held, hash_by)))
            write_run(warehouse, self.tables, self._run("running", plan, diff.facts.build))
        written = (trial.before.presence if trial.before is not None else None) or diff.presence.written
        spool = self._write_run_folder(warehouse, plan, diff.facts.build, hash_by=hash_by, presence=written)
        if isinstance(spool, Run):
            return spool
        return ReadyRun(
            plan,
            spool,
            hash_by,
            self.tables,
            diff.facts.build,
            lease,
            (),
            {item.name: item.type for item in diff.mapping.fields},
            by_key=True,
            refused_before=True,
            identity=diff.identity,
            identity_before=before,
            holds_nobody=False,
        )

    def deliver(self, ready: ReadyRun) -> Run:
        run = super().deliver(ready)
        if run.status == "success":
            with self._writing(light=True) as warehouse:
                forget_trial(warehouse, self.tables, self.sync.name, self._key)
        return run

    def _found(self, diff: Diff, asked: str) -> tuple[str, str | None]:
        """Return the key of the member, and why they are excluded. A removed member may be in neither the
        audience nor the state, but is among the runs of one member."""
        try:
            return find_key(diff, self.sync, asked, self.options.only_keys)
        except UsageError:
            if (key := _tried(diff, asked)) is None:
                raise
            return key, None

    def _is_suppressed(self, warehouse: Warehouse, trial: Trial) -> bool:
        """Whether the values from before the run are of a suppressed person, in any spelling."""
        tables, name = self.tables, self.sync.name
        is_listed = suppressed(warehouse, tables, name, self.destination, tables.trials)
        query = statement(
            "select count(*) from :trials as s where s.sync = :sync and s.key = :key and (:is_listed)",
            trials=tables.trials,
            sync=name,
            key=trial.key,
            is_listed=is_listed,
        )
        return any(int(count) for (count,) in warehouse.rows(query)) or _has_listed(warehouse, tables, trial)

    def _intent(self, diff: Diff, operation: str, held: HeldRow, hash_by: str) -> dict[str, object]:
        fields = held.fields
        if operation != "remove":
            # The run to undo did not send fields that are no longer mapped.
            names = {item.name for item in diff.mapping.fields}
            values: dict[str, Any] = orjson.loads(held.fields or "{}")
            if any(name not in names and not name.startswith(ALONG) for name in values):
                kept = {n: value for n, value in values.items() if n in names or n.startswith(ALONG)}
                fields = orjson.dumps(kept).decode()
        return {
            "sync": self.sync.name,
            "run_id": self.run_id,
            "hash_by": hash_by,
            "operation": operation,
            "key": self._key,
            "row_hash": held.row_hash,
            "identifiers": held.identifiers,
            "fields": fields,
            "origin": self.run_id,
            "presence": held.presence,
            "cause": CAUSE,
        }


def _restoring(to: str, mode: str, trial: Trial, now: HeldRow | None) -> dict[str, HeldRow]:
    """Return the records that restore the member as before the run, by operation: a remove, the previously
    acknowledged values, or both if the identifiers changed. Raises UsageError when they are not known."""
    before = trial.before
    if before is None:
        if now is None:
            return {}
        if mode not in _REMOVING:
            raise UsageError(
                f"--undo: mode {mode} never removes members, and the values that {to} had for {trial.key} "
                f"before run {trial.run_id} are unknown: revetl had not sent them. Correct them there, "
                "or erase the person with a sync in mode delete."
            )
        return {"remove": now}
    if before.row_hash is None:
        raise UsageError(
            f"--undo: the values that {to} had for {trial.key} before run {trial.run_id} are unknown, "
            "because an earlier run had an unknown outcome. Sync the audience instead."
        )
    if now is None:
        return {"add": before}
    if now.identifiers != before.identifiers and mode in _REMOVING:
        return {"remove": now, "add": before}
    return {"update": before}


def _tried(diff: Diff, asked: str) -> str | None:
    """Find the key of a member with a run of one member, by the key or a previous identifier."""
    if trial_of(diff.warehouse, diff.tables, diff.sync, asked) is not None:
        return asked
    tests = [
        is_one_of(
            diff.warehouse.json_text(column("identifiers", of="t"), item.name), sent_as(diff, item, asked)
        )
        for item in diff.mapping.identifiers
    ]
    rows = diff.warehouse.rows(
        statement(
            "select t.key from :trials as t where t.sync = :sync and t.was_held = 1 and (:test)",
            trials=diff.tables.trials,
            sync=diff.sync,
            test=exp.or_(*tests),
        )
    )
    keys = {str(key) for (key,) in rows}
    return keys.pop() if len(keys) == 1 else None


def _is_as_before(before: HeldRow | None, now: HeldRow | None) -> bool:
    """Whether the state is the same as before the run."""
    if before is None or now is None:
        return before is now
    known = ("row_hash", "identifiers", "fields")
    return now.row_hash is not None and all(getattr(before, n) == getattr(now, n) for n in known)


def _has_listed(warehouse: Warehouse, tables: StateTables, trial: Trial) -> bool:
    """Whether any previous value is on the suppression list as is, plain or hashed."""
    assert trial.before is not None
    known = {trial.key}
    for text in (trial.before.identifiers, trial.before.fields):
        known |= {str(value) for value in orjson.loads(text or "{}").values() if isinstance(value, str | int)}
    values = [exp.convert(value.strip().lower()) for value in sorted(known) if value.strip()]
    plain = alike(column("identifier_value", of="p"))
    hashed = exp.SHA2(this=plain.copy(), length=exp.convert(256))
    test = exp.or_(
        *(exp.In(this=each, expressions=[value.copy() for value in values]) for each in (plain, hashed))
    )
    query = statement("select count(*) from :list as p where :test", list=tables.suppressions, test=test)
    return any(int(count) for (count,) in warehouse.rows(query))
