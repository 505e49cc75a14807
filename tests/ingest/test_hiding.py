"""PII rules at load are applied before anything is stored."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from revetl.errors import UsageError
from revetl.governance.pii import Hider, hider_of, masked
from revetl.governance.transformations import PiiRule, read_transformations
from revetl.ingest.load import load_files
from tests.conftest import Cli
from tests.helpers.project import ProjectFolder

SALT = "a salt that is long"


def rule(match: str, action: str = "drop", **more: str) -> PiiRule:
    return PiiRule.model_validate({"match": match, "action": action, **more})


def salted(text: str) -> str:
    return hashlib.sha256((SALT + text).encode()).hexdigest()


CASES: dict[str, tuple[list[PiiRule], Any, Any]] = {
    "dropped": ([rule("email")], {"email": "a@x.example", "n": 1}, {"n": 1}),
    "in any case, anywhere": (
        [rule("email")],
        {"Email": "a", "who": [{"EMAIL": "b", "n": 2}]},
        {"who": [{"n": 2}]},
    ),
    "by its path": (
        [rule("who.email")],
        {"email": "a", "who": {"email": "b"}, "x": {"who": {"email": "c"}}},
        {"email": "a", "who": {}, "x": {"who": {"email": "c"}}},
    ),
    "by a pattern": ([rule("/mail$/")], {"e_mail": "a", "mailer": "b"}, {"mailer": "b"}),
    "hashed": ([rule("email", "hash")], {"email": "a@x.example"}, {"email": salted("a@x.example")}),
    "a number": ([rule("ssn", "hash")], {"ssn": 123}, {"ssn": salted("123")}),
    "masked": (
        [rule("email", "mask"), rule("phone", "mask")],
        {"email": "ann@x.example", "phone": "+44 20 7946 0958"},
        {"email": "a***@x.example", "phone": "***58"},
    ),
    "all inside of it": (
        [rule("card", "mask")],
        {"card": {"number": "4111111111111111", "codes": [None, 123]}},
        {"card": {"number": "***11", "codes": [None, "***"]}},
    ),
    "the first rule": ([rule("email", "mask"), rule("/.*/")], {"email": "a@b", "n": 1}, {"email": "a***@b"}),
    "another place": ([rule("email", **{"in": "traits"})], {"email": "a"}, {"email": "a"}),
}


@pytest.mark.parametrize(("rules", "document", "expected"), CASES.values(), ids=CASES.keys())
def test_values_hidden_in_a_document(rules: list[PiiRule], document: Any, expected: Any) -> None:
    hider = Hider(tuple(rules), SALT)
    assert json.loads(hider.document("properties", json.dumps(document))) == expected


@given(st.text(max_size=30))
def test_masks(text: str) -> None:
    made = masked(text)
    name, _, _ = text.rpartition("@")
    assert len(name) < 2 or name not in made
    assert "@" in text or len(made) <= 5


def load(folder: Path, lines: list[str], *rules: PiiRule) -> duckdb.DuckDBPyConnection:
    file = folder / "events.ndjson"
    file.write_text("\n".join(lines))
    connection = duckdb.connect(str(folder / "a.duckdb"))
    load_files(connection, [file], hider=Hider(tuple(rules), SALT))
    return connection


TRACK = {"type": "track", "event": "E", "timestamp": "2026-01-01T00:00:00Z"}
SECRET = "ann@private.example"


def stored(connection: duckdb.DuckDBPyConnection) -> str:
    """All that is in the raw tables."""
    tables = connection.execute(
        "select table_name from information_schema.tables where table_schema = 'raw'"
    ).fetchall()
    return "\n".join(str(connection.execute(f"select * from raw.{name}").fetchall()) for (name,) in tables)


def test_hidden_values_are_not_stored(tmp_path: Path) -> None:
    message = {**TRACK, "userId": SECRET, "anonymousId": "a1"}
    lines = [
        json.dumps({**message, "messageId": "m1", "properties": {"who": {"email": SECRET}, "n": 1.5}}),
        # A name may be written by its characters' numbers.
        json.dumps({**message, "messageId": "m2", "properties": {"e": SECRET}}).replace(
            '"e"', '"\\u0065mail"'
        ),
        json.dumps({**message, "context": {"traits": {"email": SECRET}}}),
        json.dumps({"type": "identify", "messageId": "m3", "userId": SECRET, "traits": {"email": SECRET}}),
        json.dumps({"type": "track", "userId": SECRET}),
        f"no JSON, {SECRET}",
    ]
    connection = load(tmp_path, lines, rule("email", "mask"), rule("user_id", "hash"))
    everything = stored(connection)
    assert SECRET not in everything and SALT not in everything
    rows = connection.execute("select user_id, properties from raw.tracks order by id desc").fetchall()
    assert [json.loads(text) for _, text in rows[:2]] == [
        {"email": "a***@private.example"},
        {"who": {"email": "a***@private.example"}, "n": 1.5},
    ]
    assert {user for user, _ in rows} == {salted(SECRET)}
    reasons = connection.execute("select reason, text from raw.rejected_messages order by 1").fetchall()
    assert reasons == [("a track message needs an event", None), ("the line is not JSON", None)]
    # Loaded again, nothing is new.
    again = load_files(
        connection,
        [tmp_path / "events.ndjson"],
        hider=Hider((rule("email", "mask"), rule("user_id", "hash")), SALT),
    )
    assert (again.landed, again.already_landed) == (0, 4)


names = st.sampled_from(["email", "e_mail", "a", "b"])
documents = st.dictionaries(
    names,
    st.recursive(
        st.integers(0, 9) | st.sampled_from(["x", "", 'say "email"']),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
        max_leaves=5,
    ),
    max_size=3,
)


@settings(max_examples=25)
@given(some=st.lists(documents, min_size=1, max_size=5))
def test_every_message_is_hidden_as_a_document_is(
    tmp_path_factory: pytest.TempPathFactory, some: list[Any]
) -> None:
    hider = Hider((rule("email", "hash"), rule("a.b")), SALT)
    lines = [
        json.dumps({**TRACK, "userId": "u", "messageId": f"m{place}", "properties": each})
        for place, each in enumerate(some)
    ]
    connection = load(tmp_path_factory.mktemp("load"), lines, *hider.rules)
    rows = connection.execute("select id, properties from raw.tracks").fetchall()
    assert {name: json.loads(text) for name, text in rows} == {
        f"m{place}": json.loads(hider.document("properties", json.dumps(each)))
        for place, each in enumerate(some)
    }


WRONG = {
    "an action": ("pii: [{match: a, action: remove}]", "line 1: pii.0.action: 'remove' is not known."),
    "a place": (
        "pii: [{match: a, action: drop, in: property}]",
        "line 1: pii.0.in: 'property' is not known. Did you mean 'properties'?",
    ),
    "a pattern": (
        "pii: [{match: /(/, action: drop}]",
        "line 1: pii.0: match: /(/ is not a valid regular expression",
    ),
    "a place of a destination": (
        "pii: [{match: a, action: drop, in: traits, at: crm}]",
        "line 1: pii.0: in: applies to messages only, and crm receives fields; omit it",
    ),
    "no salt": ("pii: [{match: a, action: hash}]", "salt is missing, but a PII rule hashes"),
    "a written salt": ("salt: abc", "salt is an inline secret"),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_an_error_has_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "transformations.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        read_transformations(tmp_path)
    assert str(error.value).startswith("transformations.yaml, line 1:")
    assert sentence in str(error.value)


RULES = {
    "pii": [{"match": "email", "action": "hash"}, {"match": "phone", "action": "drop", "at": "crm"}],
    "salt": "{{ env_var('REVETL_PII_SALT') }}",
}


def test_a_missing_salt_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "transformations.yaml").write_text(yaml.safe_dump(RULES))
    monkeypatch.delenv("REVETL_PII_SALT", raising=False)
    with pytest.raises(UsageError) as error:
        hider_of(tmp_path, "load")
    assert str(error.value) == (
        "transformations.yaml: salt: environment variable REVETL_PII_SALT is not set. Export it."
    )
    monkeypatch.setenv("REVETL_PII_SALT", SALT)
    hider = hider_of(tmp_path, "load")
    assert hider is not None and hider.salt == SALT and SALT not in repr(hider)
    dropped = hider_of(tmp_path, "crm")
    assert dropped is not None and not dropped.hashes
    assert hider_of(tmp_path, "braze") is None


def test_the_command_hides_too(project: ProjectFolder, cli: Cli) -> None:
    (project.root / "transformations.yaml").write_text(yaml.safe_dump(RULES))
    message = {**TRACK, "messageId": "m1", "userId": "u1", "properties": {"email": SECRET}}
    (project.root / "a.ndjson").write_text(json.dumps(message))
    assert "REVETL_PII_SALT is not set" in cli(project, "load", "a.ndjson").stderr
    done = cli(project, "load", "a.ndjson", REVETL_PII_SALT=SALT)
    assert done.returncode == 0
    assert project.sql("select properties from raw.tracks") == [(f'{{"email":"{salted(SECRET)}"}}',)]
    (project.root / "transformations.yaml").write_text("pii: [{match: a, action: drop, at: crn}]")
    sentence = (
        "transformations.yaml, line 1: pii.0.at: revetl.yml has no destination 'crn'. Did you mean 'crm'?"
    )
    assert sentence in cli(project, "validate").stderr
