"""A project of `revetl init` with a few people, whose identities the commands tell of."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from revetl import Project
from revetl.project.scaffolding import make_project
from tests.helpers.built import SCHEMAS, connect

RULES: dict[str, Any] = {
    "identifiers": {"user_id": {"limit": 1}, "email": {"limit": 5}, "anonymous_id": {"limit": "none"}},
    "priority": ["user_id", "email"],
}
MANY = 25


def message(place: int, **identifiers: str) -> dict[str, Any]:
    """The identify message m<place>, of the day <place> of 2026."""
    email = identifiers.pop("email", None)
    names = {"user_id": "userId", "anonymous_id": "anonymousId"}
    return {
        "type": "identify",
        "messageId": f"m{place:02}",
        "timestamp": f"2026-01-{place:02}T10:00:00Z",
        "traits": {} if email is None else {"email": email},
        **{names[name]: value for name, value in identifiers.items()},
    }


MESSAGES = [
    message(1, anonymous_id="a1"),
    message(2, user_id="u1", email="Ann@x.com "),
    message(3, user_id="u1", anonymous_id="a1"),  # merges the two
    message(4, user_id="u2", email="ann@x.com"),  # and the rules keep u2 out
    message(5, anonymous_id="a5"),
    message(6, user_id="00123", anonymous_id="a5"),
    message(7, user_id="dee"),
    message(8, user_id="u3", anonymous_id="dee"),
    message(9, user_id="same", anonymous_id="same"),
    *({**message(10, user_id="many", anonymous_id=f"n{n:02}"), "messageId": f"n{n:02}"} for n in range(MANY)),
]
EVERYONE = "select canonical_id from {{ ref('revetl', 'revetl_profile_identifiers') }} group by 1"
KNOWN = """
select
    canonical_id,
    max(case when identifier_type = 'user_id' then identifier_value end) as user_id
from {{ ref('revetl', 'revetl_profile_identifiers') }}
group by 1
having max(case when identifier_type = 'user_id' then 1 else 0 end) = 1
"""
AUDIENCES = {
    "models": [
        {"name": "everyone", "config": {"meta": {"revetl": {"key": "canonical_id"}}}},
        {
            "name": "known",
            "config": {
                "meta": {"revetl": {"key": "canonical_id", "sync": [{"to": "crm", "max_change": "100%"}]}}
            },
        },
    ]
}


def run_dbt_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run dbt in a project's folder."""
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "dbt.cli.main", "--no-use-colors"]
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"}
    done = subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done


def id_of(identifier: str) -> str:
    """The id of `type:value`."""
    return hashlib.md5(identifier.encode()).hexdigest()


def sql(project: Path, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a query of a project's warehouse."""
    with connect(project / "my_cdp.duckdb") as connection:
        return connection.execute(statement).fetchall()


def make_built(folder: Path) -> None:
    """A project of `revetl init`, with its events landed, built."""
    make_project(folder)
    document = yaml.safe_load((folder / "dbt_project.yml").read_text())
    document["vars"]["revetl"] = {**SCHEMAS, "sample_events": False, "identity": RULES}
    (folder / "dbt_project.yml").write_text(yaml.safe_dump(document))
    audiences = folder / "models" / "audiences"
    (audiences / "everyone.sql").write_text(EVERYONE)
    (audiences / "known.sql").write_text(KNOWN)
    (audiences / "more.yml").write_text(yaml.safe_dump(AUDIENCES))
    events = folder / "events.ndjson"
    events.write_text("\n".join(json.dumps(each) for each in MESSAGES))
    Project(folder, profiles_dir=folder).load([events])
    run_dbt_in(folder, "deps")
    done = run_dbt_in(folder, "build")
    assert "WARN=0 ERROR=0 SKIP=0" in done.stdout
