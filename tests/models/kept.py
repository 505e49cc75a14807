"""Three audiences, what syncs have kept of them, and what tests on them have to say of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
Row = tuple[Any, ...]


def ago(hours: float) -> datetime:
    """A moment of the past, in UTC."""
    return NOW - timedelta(hours=hours)


def ended(hours: float) -> datetime:
    """When a run ended that began so long ago: each takes a minute."""
    return ago(hours) + timedelta(minutes=1)


MODELS = {
    "buyers": """
        select * from (values
            ('u1', 'u1@example.com'), ('u2', 'u2@example.com'), ('u3', 'u3@example.com'),
            ('u4', 'u4@example.com'), ('u5', 'u5@example.com'), ('u6', 'u6@example.com')
        ) as t (user_id, email)
    """,
    "prospects": "select user_id from main.typed_in_by_hand",
    "followers": "select user_id from {{ ref('prospects') }}",
}
SYNCS = [
    *({"to": name} for name in ("crm", "ads", "quiet", "picky")),
    {"to": "list", "mode": "upsert"},
    {"to": "few", "limit": 2},
    {"to": "fewer", "limit": 2},
]

# crm is as it should be: u3 was rejected, u4 is held out, u5 suppressed (by email). ads is as it should not
# be. list (upsert) keeps who left; few and fewer take two members, and only few's run said that it left four
# out. picky rejects in every run. old is no longer declared, and its runs were deleted.
HELD = {
    "crm": ["u1", "u2", "u6"],
    "ads": ["u1", "u5", "u9"],
    "list": ["u1", "u2", "u3", "u6", "u9"],
    "few": ["u1", "u2"],
    "fewer": ["u1", "u2"],
    "old": ["x1"],
}
RUNS = [
    # to, status, started, planned, attempted, delivered, rejected (all adds), held before, left out
    ("crm", "rejected", ago(3), 10, 10, 9, 1, 0, 2),
    ("crm", "success", ago(1), 0, 0, 0, 0, 3, 2),
    ("ads", "success", ago(30), 3, 3, 3, 0, 0, 0),
    ("ads", "refused", ago(2), 6, 4, 3, 0, 3, 0),
    ("picky", "rejected", ago(1), 100, 100, 99, 1, 0, 0),
    ("few", "success", ago(1), 2, 2, 2, 0, 0, 4),
    ("fewer", "success", ago(1), 2, 2, 2, 0, 0, 3),
    ("list", "running", ago(0.1), 0, 0, 0, 0, 5, 0),
]
TESTS: dict[str, tuple[str, dict[str, Any], list[Row]]] = {
    # name: test, arguments, the rows that it complains of
    "in_time": ("delivered_within", {"to": "crm", "hours": 24}, []),
    "not_in_time": (
        "delivered_within",
        {"to": "crm", "hours": 0.5},
        [("no run succeeded within 0.5 hours", ended(1), None)],
    ),
    "late_and_waiting": (
        "delivered_within",
        {"to": "ads", "hours": 24},
        [
            ("no run succeeded within 24 hours", ended(30), None),
            ("the last attempt was never answered", None, 1),
            ("the last run did not attempt them", None, 2),
        ],
    ),
    "never_ran": (
        "delivered_within",
        {"to": "quiet", "hours": 24},
        [("no run succeeded within 24 hours", None, None)],
    ),
    "rejected_is_no_success": (
        "delivered_within",
        {"to": "picky", "hours": 24},
        [("no run succeeded within 24 hours", None, None)],
    ),
    "rejected_is_allowed": ("delivered_within", {"to": "picky", "hours": 24, "allow_rejected": True}, []),
    "rate_is_below": ("rejection_rate_below", {"to": "crm", "rate": 0.2}, []),
    "rate_is_reached": ("rejection_rate_below", {"to": "crm", "rate": 0.1}, [("crm 0", ago(3), 10, 1)]),
    "none_allowed": ("rejection_rate_below", {"to": "picky", "rate": 0}, [("picky 4", ago(1), 100, 1)]),
    "none_rejected": ("rejection_rate_below", {"to": "ads", "rate": 0}, []),
    "nothing_sent": ("rejection_rate_below", {"to": "quiet", "rate": 0}, []),
    "equal": ("delivered_equals_audience", {"to": "crm", "key": "user_id"}, []),
    "unequal": (
        "delivered_equals_audience",
        {"to": "ads", "key": "user_id"},
        [
            ("u2", "missing"),
            ("u3", "missing"),
            ("u4", "missing"),
            ("u5", "held, though held out or suppressed"),
            ("u6", "missing"),
            ("u9", "held, and no member"),
        ],
    ),
    "may_hold_more": ("delivered_equals_audience", {"to": "list", "key": "user_id"}, [("u4", "missing")]),
    "left_out": ("delivered_equals_audience", {"to": "few", "key": "user_id"}, []),
    "more_than_left_out": (
        "delivered_equals_audience",
        {"to": "fewer", "key": "user_id"},
        [("u3", "missing"), ("u4", "missing"), ("u6", "missing")],
    ),
    "nobody_suppressed": ("no_suppressed_delivered", {"to": "crm", "key": "user_id"}, []),
    "somebody_suppressed": (
        "no_suppressed_delivered",
        {"to": "ads", "key": "user_id"},
        [("buyers.ads", "u5")],
    ),
    "anywhere": (
        "no_suppressed_delivered",
        {"key": "user_id"},
        [("buyers.ads", "u5"), ("buyers.old", "x1")],
    ),
}


def properties() -> dict[str, Any]:
    """The YAML of the audiences that are tested; one of the tests names a destination that is not there."""
    tests = [{test: {"name": name, "arguments": arguments}} for name, (test, arguments, _) in TESTS.items()]
    tests.append({"rejection_rate_below": {"name": "misspelt", "arguments": {"to": "cmr", "rate": 0.1}}})
    models = [
        {"name": name, "config": {"meta": {"revetl": {"key": "user_id", "sync": SYNCS}}}} for name in MODELS
    ]
    return {"models": [model | {"data_tests": tests * (model["name"] == "buyers")} for model in models]}


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    """What syncs have kept: table and row."""
    for destination, keys in HELD.items():
        for key in keys:
            yield (
                "sync_state",
                {
                    "sync": f"buyers.{destination}",
                    "key": key,
                    "identifiers": json.dumps({"email": "u5@example.com"} if key == "x1" else {"id": key}),
                    "fields": "{}",
                    "acknowledged_at": ago(1),
                    "run_id": f"{destination} 0",
                    "pending_operation": "remove" if (destination, key) == ("ads", "u9") else None,
                },
            )
    for place, (to, status, started, planned, attempted, delivered, rejected, held, left_out) in enumerate(
        RUNS
    ):
        kinds = {"planned": planned, "attempted": attempted, "delivered": delivered, "rejected": rejected}
        kinds["aborted"] = planned - attempted
        counts = {f"{kind}_{operation}": 0 for kind in kinds for operation in ("update", "remove")}
        counts |= {f"{kind}_add": count for kind, count in kinds.items()}
        yield (
            "sync_runs",
            {
                "run_id": f"{to} {place}",
                "sync": f"buyers.{to}",
                "audience": "buyers",
                "destination": to,
                "mode": "mirror",
                "status": status,
                "started_at": started,
                "finished_at": None if status == "running" else started + timedelta(minutes=1),
                "held_rows": held,
                "left_out_rows": left_out,
                **counts,
            },
        )
    for to, key in [("crm", "u3"), ("list", "u5")]:
        yield (
            "sync_rejections",
            {
                "sync": f"buyers.{to}",
                "key": key,
                "operation": "add",
                "reason": "no such mailbox",
                "attempts": 2,
                "first_rejected_at": ago(5),
                "last_rejected_at": ago(3),
            },
        )
    yield "audience_holdouts", {"sync": "buyers.crm", "audience": "buyers", "key": "u4"}
    suppressed = {"reason": "opt-out", "suppressed_at": ago(2)}
    yield (
        "suppressions",
        {"identifier_type": "E-Mail", "identifier_value": " U5@Example.com", **suppressed},
    )
    yield (
        "sync_changes",
        {
            "run_id": "crm 1",
            "sync": "buyers.crm",
            "key": "u5",
            "operation": "remove",
            "cause": "suppressed",
            "outcome": "delivered",
            "caused_at": ago(2),
            "changed_at": ago(1),
        },
    )
