"""What is hidden from a destination is hidden before it is planned, kept or sent."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import yaml

from revetl.errors import UsageError
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people, synced

SALT = "a salt that is long"
EMAIL, PHONE = "ann@private.example", "+44 20 7946 0958"
PEOPLE = people(("c1", EMAIL, PHONE, "x"), columns="canonical_id, email, phone, secret")
RULES = [
    {"match": "email", "action": "hash", "at": "crm"},
    {"match": "/phone/", "action": "mask", "at": "crm"},
    {"match": "secret", "action": "drop", "at": "crm"},
    {"match": "phone", "action": "drop", "at": "another"},
]


def salted(text: str) -> str:
    return hashlib.sha256((SALT + text).encode()).hexdigest()


def rule(project: ProjectFolder, *rules: dict[str, Any]) -> None:
    document = {"pii": list(rules), "salt": "{{ env_var('REVETL_PII_SALT') }}"}
    (project.root / "transformations.yaml").write_text(yaml.safe_dump(document))


@pytest.fixture(autouse=True)
def _salt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVETL_PII_SALT", SALT)


def kept(project: ProjectFolder) -> str:
    """All that syncs keep in the warehouse."""
    tables = project.sql("select table_name from information_schema.tables where table_schema = 'revetl'")
    return "\n".join(str(project.sql(f"select * from revetl.revetl.{name}")) for (name,) in tables)


def audience(project: ProjectFolder, **options: Any) -> None:
    sync = {"to": "crm", "identifiers": {"id": "email"}, "max_change": "500%", **options}
    project.audience("vips", PEOPLE, {"key": "canonical_id", "sync": [sync]})


def test_nothing_of_it_leaves_or_is_kept(project: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    rule(project, *RULES)
    audience(project, fields={"email": "lower(email)", "home": "phone", "phone": "phone", "secret": "secret"})
    plan = cli(project, "plan", "audience", "vips", "-o", "json")
    synced(project)
    fields = {"email": salted(EMAIL), "home": "***58", "phone": "***58"}
    assert sandbox.members("crm", "vips") == {salted(EMAIL): fields}
    sent = json.dumps(sandbox.requests("crm"))
    for place in (plan.stdout, plan.stderr, sent, kept(project)):
        assert not [each for each in (EMAIL, PHONE, SALT, "7946") if each in place]
    assert salted(EMAIL) in kept(project)
    # Nothing has changed.
    assert synced(project).planned == {"add": 0, "update": 0, "remove": 0}


def test_a_rule_that_comes_later_takes_back_what_was_sent(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    audience(project)
    synced(project)
    assert sandbox.members("crm", "vips")[EMAIL] == {"email": EMAIL, "phone": PHONE, "secret": "x"}
    rule(project, *RULES)
    run = synced(project)
    assert run.delivered == {"add": 1, "update": 0, "remove": 1}
    assert sandbox.members("crm", "vips") == {salted(EMAIL): {"email": salted(EMAIL), "phone": "***58"}}
    assert EMAIL not in kept(project) and PHONE not in kept(project)


def test_who_is_suppressed_is_found_by_what_is_hashed(project: ProjectFolder, sandbox: SandboxClient) -> None:
    rule(project, *RULES)
    audience(project)
    synced(project)
    project.sql(
        "insert into revetl.revetl.suppressions values ('email', ?, 'opt-out', timestamp '2026-01-01')", EMAIL
    )
    project.audience("vips", f"{PEOPLE} limit 0")
    (plan,) = project.open().plan("vips")
    assert plan.causes == {"remove": {"suppressed": 1}}


WRONG: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "the key": (
        [{"match": "canonical_id", "action": "mask", "at": "crm"}],
        {},
        "'canonical_id' is hidden, and is the audience's key",
    ),
    "all identifiers": (
        [{"match": "id", "action": "drop", "at": "crm"}],
        {},
        "every identifier is dropped, and nobody can be sent. Keep one.",
    ),
}


@pytest.mark.parametrize(("rules", "options", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_hidden(
    project: ProjectFolder, rules: list[dict[str, Any]], options: dict[str, Any], sentence: str
) -> None:
    rule(project, *rules)
    audience(project, **options)
    with pytest.raises(UsageError, match=r"transformations.yaml: pii") as error:
        synced(project)
    assert sentence in str(error.value)


def test_a_hash_that_the_destination_makes_is_not_salted(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", "hash_id": "email"}})
    rule(project, *RULES)
    audience(project)
    with pytest.raises(UsageError, match="would match nobody with 'hash'"):
        synced(project)
