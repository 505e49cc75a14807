"""Stories of syncs that every engine has to tell alike: what is sent, held, booked, refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

BY_KEY = {"key": "user_id", "sync": [{"to": "crm"}]}
BY_EMAIL = {
    "key": "user_id",
    "sync": [{"to": "crm", "identifiers": {"id": "email"}, "fields": {"score": "score"}}],
}
PEOPLE = "user_id, email, score"


@dataclass(frozen=True)
class Step:
    """What happens: the audience's rows (None: as they were), statements of a user's, other configuration,
    the options of the sync; `before` changes how the destination behaves."""

    rows: str | None = None
    sql: tuple[str, ...] = ()
    meta: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    before: Callable[[SandboxClient], None] = lambda _: None


def people(*rows: tuple[object, ...], columns: str = PEOPLE) -> str:
    """A query of literal rows, written as DuckDB has it."""
    values = ", ".join("(" + ", ".join(_literal(value) for value in row) + ")" for row in rows)
    return f"select * from (values {values}) as people ({columns})"


def _literal(value: object) -> str:
    if value is None:
        return "null"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def refusing(pattern: str) -> Callable[[SandboxClient], None]:
    """A destination that will not take whom a pattern names."""
    return lambda sandbox: sandbox.misbehave({"kind": "reject", "pattern": pattern, "reason": "not him"})


def with_sync(**options: Any) -> dict[str, Any]:
    """The configuration of an audience whose sync has these options."""
    return {"key": "user_id", "sync": [{"to": "crm", **options}]}


_VALUES = """
    select
        'u1' as user_id,
        cast(12.50 as decimal(10, 2)) as money,
        cast(12345678901234567.89 as decimal(20, 2)) as wide,
        cast(0.1 as double) as ratio,
        cast(9007199254740993 as bigint) as big,
        true as yes,
        cast(null as varchar) as nothing,
        '' as blank,
        'Zoë 🦆 "quoted" \\ back' as words,
        timestamp '2026-03-29 02:30:00.123456' as moment,
        date '2026-03-29' as day
    union all
    select 'u2', 0.10, 0.10, 1e300, -1, false, 'null', ' ', 'ß ẞ i̇', timestamp '1969-12-31 23:59:59',
        date '0001-01-01'
"""

_ALIKE = (
    *("a", "A", "a ", " a", "é", "e\u0301", "😀", "😀😀"),
    *("a'b", 'a"b', "a\\b", "%", "_", "null", "1", "01"),
)

STORIES: dict[str, tuple[Step, ...]] = {
    "who comes, changes and leaves": (
        Step(people(("u1", "a@x", 1), ("u2", "b@x", 2), ("u3", None, 3)), meta=BY_KEY),
        Step(people(("u2", "b@x", 2), ("u3", "c@x", 3), ("u4", "d@x", 4))),
        Step(),
        Step(people(("u1", "a@x", 1)), options={"force": ["empty"]}),
        Step(options={"full_refresh": True}),
    ),
    "values of every kind": (
        Step(_VALUES, meta=BY_KEY),
        Step(),
        Step(_VALUES.replace("12.50", "12.51").replace("'null'", "null")),
    ),
    "keys that look alike": (
        Step(people(*((key, f"{at}@x", at) for at, key in enumerate(_ALIKE))), meta=BY_KEY),
        Step(people(*((key, f"{at}@x", at) for at, key in enumerate(_ALIKE) if at % 2))),
    ),
    "identifiers that change hands": (
        Step(people(("u1", "a@x", 1), ("u2", "b@x", 2), ("u3", "c@x", 3)), meta=BY_EMAIL),
        Step(people(("u1", "new@x", 1), ("u3", "b@x", 3))),
        Step(people(("u3", "a@x", 3), ("u4", "new@x", 4))),
        Step(people(("u4", "new@x", 4))),
    ),
    "a destination that refuses some": (
        Step(people(("u1", "a@x", 1), ("u2", "b@x", 2)), meta=BY_KEY, before=refusing("^u2$")),
        Step(),
        Step(people(("u1", "a@x", 1), ("u2", "b@x", 3))),
        Step(options={"retry": True}),
        Step(people(("u1", "a@x", 1)), before=refusing("^u1$")),
        Step(people(("u5", "e@x", 1)), options={"force": ["empty"]}),
        Step(options={"retry": True}, before=lambda sandbox: sandbox.behave()),
    ),
    "an old identifier that cannot be removed": (
        Step(people(("u1", "old@x", 1)), meta=BY_EMAIL, before=refusing("^old@x$")),
        Step(before=lambda sandbox: sandbox.behave(), options={"retry": True}),
        Step(people(("u1", "new@x", 1)), before=refusing("^old@x$")),
        Step(),
        Step(people(("u2", "old@x", 2))),
    ),
    "suppressed, held out, and over the limit": (
        Step(
            people(*((f"u{at}", f"U{at}@X", at) for at in range(20))),
            meta=with_sync(limit=12, order_by="score desc", holdout=0.3, identifiers={"id": "email"}),
        ),
        Step(
            sql=(
                "insert into revetl.revetl.suppressions (identifier_type, identifier_value, suppressed_at) "
                "values ('email', ' u19@x', timestamp '2026-01-01 00:00:00'), "
                "('user_id', 'u3', timestamp '2026-01-02 00:00:00')",
            )
        ),
        Step(people(*((f"u{at}", f"U{at}@X", 20 - at) for at in range(18)))),
    ),
    "modes that remove nobody": (
        Step(people(("u1", "a@x", 1), ("u2", "b@x", 2)), meta=with_sync(mode="upsert")),
        Step(people(("u2", "b@x", 20), ("u3", "c@x", 3))),
    ),
    "insert": (
        Step(people(("u1", "a@x", 1), ("u2", "b@x", 2)), meta=with_sync(mode="insert")),
        Step(people(("u2", "b@x", 20), ("u3", "c@x", 3))),
    ),
    "another mapping": (
        Step(people(("u1", "a@x", 1), ("u2", "b@x", 2)), meta=with_sync(fields={"score": "score"})),
        Step(meta=with_sync(fields={"score": "score", "mail": "upper(email)"})),
        Step(meta=with_sync(fields={"mail": "upper(email)"})),
        Step(meta=with_sync(fields={"mail": "upper(email)"}, constants={"tier": "gold", "n": 1})),
        Step(),
    ),
    "keys that are no keys": (
        Step(people(("u1", "a@x", 1), ("u2", "b@x", 2)), meta=BY_KEY),
        Step(people(("u1", "a@x", 1), (None, "b@x", 2), ("u3", "c@x", 3), ("u3", "c@x", 4))),
        Step(people(("u1", "a@x", 1), ("u3", "c@x", 4)), options={"force": ["max_change"]}),
    ),
}  # fmt: skip


def told(story: str, engine: str, folder: Path, sandbox: SandboxClient) -> list[dict[str, Any]]:
    """The story on an engine: after each step what the run came to, and what destination and tables hold."""
    project = ProjectFolder(folder, {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}}, engine)
    rows = ""
    meta: dict[str, Any] = {}
    chapters = []
    for step in STORIES[story]:
        step.before(sandbox)
        rows, meta = step.rows or rows, step.meta or meta
        for statement in step.sql:
            project.sql(statement)
        project.audience("vips", rows, json.loads(json.dumps(meta)))
        opened = project.open()
        (plan,) = opened.plan("vips", **{k: v for k, v in step.options.items() if k != "force"})
        (run,) = opened.sync("vips", **step.options)
        chapters.append(
            {
                "plan": (plan.counts, plan.causes, plan.left_out, plan.rejected, plan.kept, plan.new_fields),
                "stops": [(stop.guard, stop.message) for stop in plan.stops],
                "run": (run.status, run.planned, run.delivered, run.rejected),
                "rows": (run.held_rows, run.audience_rows),
                "there": sandbox.members("crm", "vips"),
                "state": _rows(
                    project, "key, identifiers, fields, pending_operation, row_hash is not null", "sync_state"
                ),
                "changes": _rows(
                    project, "key, operation, cause, outcome, reason, caused_at", "sync_changes"
                ),
                "rejections": _rows(
                    project, "key, operation, reason, attempts, identifiers, fields", "sync_rejections"
                ),
                "holdouts": _rows(project, "key, salt", "audience_holdouts"),
                "runs": _rows(project, "status, planned_add, delivered_add, rejected_remove", "sync_runs"),
                "locks": _rows(project, "sync", "sync_locks"),
                "intents": _rows(project, "key", "sync_intents"),
            }
        )
    return chapters


def _rows(project: ProjectFolder, columns: str, table: str) -> list[tuple[Any, ...]]:
    found = project.sql(f"select {columns} from revetl.revetl.{table}")
    return sorted((tuple(_alike(value) for value in row) for row in found), key=repr)


def _alike(value: Any) -> Any:
    """A value as two engines have the same: documents by what is in them, numbers by what they are."""
    if isinstance(value, str) and value.startswith("{"):
        return json.loads(value, parse_float=lambda text: Decimal(text).normalize())
    return value.normalize() if isinstance(value, Decimal) else value
