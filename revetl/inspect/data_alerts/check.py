"""`revetl alerts check`: measures, evaluates, notifies about changes, and stores them in the warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from revetl.config.data_alerts import DataCheck
from revetl.errors import UsageError, WarehouseError
from revetl.inspect.data_alerts.measure import Measures
from revetl.inspect.data_alerts.verdict import Measurement, judge
from revetl.observability import logs
from revetl.observability.alerts import DataAlerts, check_data_alerts
from revetl.observability.notify import Message
from revetl.project.workspace import Workspace
from revetl.sync.state.leases import now as this_moment
from revetl.sync.state.tables import StateTables, insert, state_tables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import statement

OK, ALERTING = "ok", "alerting"


@dataclass(frozen=True)
class CheckResult:
    """The result of a check for one subject. `changed`: the state differs from the last check; `told`: a
    notification was sent."""

    alert: str
    subject: str
    state: str
    detail: str
    since: datetime
    changed: bool
    told: bool = False


@dataclass(frozen=True)
class _State:
    state: str
    detail: str
    since: datetime


def check_data(
    workspace: Workspace, *, dry_run: bool = False, now: datetime | None = None
) -> list[CheckResult]:
    """Evaluate every check of `alerts:` as of `now`; notify the alerts that contain it about changes since
    the last check, once, and store the new states. A state whose notifications all failed stays as it was, so
    that the next check tries again. With `dry_run`, nothing is sent or stored.

    Raises UsageError for invalid configuration or if there are no checks, WarehouseError if a table they read
    wasn't built.
    """
    configs = workspace.config.alerts
    checks = list({check.key: check for config in configs for check in config.data}.values())
    if not checks:
        raise UsageError(
            "revetl.yml: no checks are configured under alerts: data:. See docs/how-to/alerts.md."
        )
    audiences = workspace.audiences()
    check_data_alerts(
        configs,
        [audience.name for audience in audiences],
        [sync.name for audience in audiences for sync in audience.syncs],
    )
    moment = now or this_moment()
    with DataAlerts(() if dry_run else configs, workspace.say) as alerts:
        logs.hide(*alerts.secrets())
        if not dry_run:
            _create_tables(workspace)
        before, results = _evaluated(workspace, checks, moment, dry_run=dry_run)
        changed = [result for result in results if result.changed and not dry_run]
        if changed:
            _try_writing(workspace)
        for result in changed:
            alerts.tell(result.alert, _message(result, before.get((result.alert, result.subject))))
    if dry_run:
        return results
    told, lost = alerts.outcome()
    kept = [
        result
        for result in changed
        if alerts.has_address(result.alert) and (result.alert, _title(result)) not in lost
    ]
    _write(workspace, kept, before, {check.key for check in checks})
    return [
        replace(result, told=result.changed and (result.alert, _title(result)) in told) for result in results
    ]


def _create_tables(workspace: Workspace) -> None:
    """Create what is missing of the tables, and bring older ones forward: a check keeps its states."""
    warehouse = workspace.warehouse(read_only=True)
    try:
        is_current = state_tables(workspace, warehouse.database).are_current(warehouse)
    finally:
        warehouse.close()
    if not is_current:
        with workspace.writing() as writing:
            state_tables(workspace, writing.database).create(writing, workspace.say)


def _evaluated(
    workspace: Workspace, checks: Sequence[DataCheck], moment: datetime, *, dry_run: bool
) -> tuple[dict[tuple[str, str], _State], list[CheckResult]]:
    warehouse = workspace.warehouse(read_only=True)
    try:
        tables = state_tables(workspace, warehouse.database)
        before = _read(warehouse, tables) if warehouse.exists(tables.named("alert_states")) else {}
        measures = Measures(workspace, warehouse, tables, checks, moment)
        results = []
        for check in checks:
            for found in sorted(_measured(measures, check, tables), key=lambda each: each.subject):
                verdict = judge(check, found)
                known = before.get((check.key, found.subject))
                state = ALERTING if verdict.is_alerting else OK
                is_same = known is not None and known.state == state
                # New names are news, even if the check is already alerting.
                is_news = verdict.is_alerting and known is not None and _news(known, found.names)
                changed = (not is_same or is_news) and not (known is None and state == OK)
                since = known.since if known is not None and is_same else moment
                results.append(CheckResult(check.key, found.subject, state, verdict.sentence, since, changed))
        return before, results
    finally:
        warehouse.close()


def _measured(measures: Measures, check: DataCheck, tables: StateTables) -> Sequence[Measurement]:
    """Measure a check. A dry run creates no tables, so some may be missing, or of an older version."""
    try:
        return list(measures.of(check))
    except WarehouseError as error:
        if tables.schema not in str(error):
            raise
        raise WarehouseError(
            f"{error} A table in schema '{tables.schema}' is missing or of an older version. Run `dbt "
            "build`, a sync, or the check without --dry-run, which create them."
        ) from None


def _news(known: _State, names: Sequence[str]) -> bool:
    # Names may contain commas.
    told = f", {known.detail.partition(': ')[2]}, "
    return any(f", {name}, " not in told for name in names)


def _title(result: CheckResult) -> str:
    word = "is resolved" if result.state == OK else "alerts"
    return f"revetl: {result.alert}: {result.subject} {word}"


def _message(result: CheckResult, before: _State | None) -> Message:
    lines = [f"{result.subject}: {result.detail}."]
    if result.state == OK and before is not None:
        lines.append(
            f"Previously: {before.detail}. It had been alerting since {before.since:%Y-%m-%d %H:%M} UTC."
        )
    lines.append("See all checks: revetl alerts check --dry-run")
    kind: Literal["recovered", "data"] = "recovered" if result.state == OK else "data"
    return Message(kind, _title(result), "\n".join(line.replace("..", ".") for line in lines))


def _read(warehouse: Warehouse, tables: StateTables) -> dict[tuple[str, str], _State]:
    rows = warehouse.rows(
        statement(
            # Rows without a target come first, so that later rows of this target take precedence.
            "select alert, subject, state, detail, since from :states as s where :of_this_target "
            "order by case when target is null then 0 else 1 end",
            states=tables.named("alert_states"),
            of_this_target=tables.of_this_target("s"),
        )
    )
    return {(alert, subject): _State(state, detail, since) for alert, subject, state, detail, since in rows}


def _try_writing(workspace: Workspace) -> None:
    """Raises WarehouseError if states can't be written, before sending a notification that every later check
    would repeat."""
    with workspace.writing(light=True) as warehouse:
        states = state_tables(workspace, warehouse.database).named("alert_states")
        nothing = {"alert": "", "subject": "", "state": OK, "detail": "", "since": this_moment()}
        with warehouse.transaction():
            warehouse.run(insert(states, {**nothing, "target": workspace.target.name}))
            warehouse.run(statement("delete from :states where alert = :alert", states=states, alert=""))


def _write(
    workspace: Workspace,
    results: Sequence[CheckResult],
    before: dict[tuple[str, str], _State],
    keys: set[str],
) -> None:
    """Store changed states; delete those of checks that are no longer configured."""
    gone = sorted({alert for alert, _ in before} - keys)
    if not results and not gone:
        return
    with workspace.writing(light=True) as warehouse:
        states = state_tables(workspace, warehouse.database).named("alert_states")
        by = workspace.target.name
        with warehouse.transaction():
            for alert in gone:
                warehouse.run(
                    statement(
                        "delete from :states where alert = :alert and target = :by",
                        states=states,
                        alert=alert,
                        by=by,
                    )
                )
            for result in results:
                warehouse.run(
                    statement(
                        "delete from :states where alert = :alert and subject = :subject and target = :by",
                        states=states,
                        by=by,
                        alert=result.alert,
                        subject=result.subject,
                    )
                )
                columns = ("alert", "subject", "state", "detail", "since")
                values = {name: getattr(result, name) for name in columns}
                warehouse.run(insert(states, {**values, "target": by}))
