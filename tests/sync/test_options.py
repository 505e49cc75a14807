"""What a sync's options leave out, and how they word what is sent."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from revetl.errors import UsageError
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_modes import meta
from tests.sync.test_sync import people, synced

MANY = "select 'u' || i as user_id, i as score from range({}) as numbers (i)"
SUPPRESS = "insert into revetl.revetl.suppressions values (?, ?, 'opt-out', timestamp '2026-01-01')"


@pytest.mark.parametrize(
    ("null", "fields"),
    [
        ("send", {"score": None, "name": "a"}),
        ("skip", {"name": "a"}),
        ("clear", {"score": None, "name": "a"}),
    ],
)
def test_nulls(project: ProjectFolder, sandbox: SandboxClient, null: str, fields: dict[str, Any]) -> None:
    # YAML reads the key `null` as nothing at all, as dbt hands it on.
    project.audience(
        "vips",
        people(("u1", None, "a"), columns="user_id, score, name"),
        {"key": "user_id", "sync": [{"to": "crm", "null": null}]},
    )
    synced(project)
    assert sandbox.members("crm", "vips") == {"u1": fields}


def test_null_is_read_where_yaml_makes_nothing_of_it(project: ProjectFolder, sandbox: SandboxClient) -> None:
    options: dict[Any, Any] = {"to": "crm", None: "skip"}
    project.audience("vips", people(("u1", None)), {"key": "user_id", "sync": [options]})
    synced(project)
    assert sandbox.members("crm", "vips") == {"u1": {}}


def test_constants_and_expressions(project: ProjectFolder, sandbox: SandboxClient) -> None:
    options = {
        "fields": {"double": "score * 2", "grade": "case when score > 1 then 'high' else 'low' end"},
        "constants": {"source": "warehouse", "beta": True, "weight": 1.5, "nothing": None},
    }
    project.audience("vips", people(("u1", 1)), meta(**options))
    synced(project)
    assert sandbox.members("crm", "vips")["u1"] == {
        "double": 2,
        "grade": "low",
        "source": "warehouse",
        "beta": True,
        "weight": 1.5,
        "nothing": None,
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("scor", "the model has no column 'scor'. Did you mean 'score'?"),
        ("select 1", "is not an expression over columns"),
        ("(select max(score) from vips)", "is not an expression over columns"),
        ("sum(score)", "reads several rows"),
        ("row_number() over (order by score)", "reads several rows"),
        ("score +", "is neither a column nor a SQL expression"),
        ("score; drop table vips", "is neither a column nor a SQL expression"),
    ],
)
def test_an_expression_that_is_none(project: ProjectFolder, text: str, sentence: str) -> None:
    project.audience("vips", people(("u1", 1)), meta(fields={"points": text}))
    with pytest.raises(UsageError) as raised:
        synced(project)
    assert sentence in str(raised.value)
    assert "fields.points" in str(raised.value)


def test_a_field_set_only_where_it_is_empty(project: ProjectFolder, sandbox: SandboxClient) -> None:
    record = {"id": "u1", "fields": {"name": "by hand", "score": 0}}
    batch = {"operation": "add", "audience": "x", "batch_id": "b", "records": [record]}
    httpx.post(f"{sandbox.url}/crm", json=batch)
    rows = people(("u1", "ours", 5), ("u2", "ours", 6), columns="user_id, name, score")
    project.audience("vips", rows, meta(set_if_empty=["name"]))
    synced(project)
    assert sandbox.members("crm", "vips") == {
        "u1": {"name": "by hand", "score": 5},
        "u2": {"name": "ours", "score": 6},
    }


def test_set_if_empty_where_a_tool_cannot(project: ProjectFolder) -> None:
    project.destinations({"crm": {"type": "braze", "region": "us-01", "api_key": "k"}})
    project.audience("vips", people(("u1", 1)), meta(set_if_empty=["score"]))
    with pytest.raises(UsageError, match="set_if_empty: 'crm' cannot detect whether a field is empty"):
        synced(project)


def test_excluded_people_are_removed_and_come_back(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("staff", people(("u2", 1)), {"key": "user_id"})
    project.audience("blocked", people((" u3@X", 1), columns="address, n"), {"key": "address"})
    rows = people(("u1", "u1@x", 1), ("u2", "u2@x", 2), ("u3", "U3@x", 3), columns="user_id, email, score")
    exclude = ["staff", {"model": "blocked", "on": "email"}]
    project.audience("vips", rows, meta(fields=["score"], exclude=exclude))
    assert synced(project).left_out_rows == 2
    assert set(sandbox.members("crm", "vips")) == {"u1"}
    project.audience("staff", people(("u1", 1)))
    run = synced(project)
    assert (run.delivered, run.left_out_rows) == ({"add": 1, "update": 0, "remove": 1}, 2)
    assert set(sandbox.members("crm", "vips")) == {"u2"}
    causes = project.sql("select operation, cause from revetl.revetl.sync_changes where key in ('u1', 'u2')")
    assert sorted(causes) == [("add", "new"), ("add", "new"), ("remove", "excluded")]


@pytest.mark.parametrize(
    ("exclude", "sentence"),
    [
        (["stuff"], "dbt has no model or source 'stuff'. Did you mean 'staff'?"),
        ([{"model": "staff", "on": "mail"}], "vips has no column 'mail'"),
        ([{"model": "staff", "column": "id"}], "staff has no column 'id'"),
    ],
)
def test_an_exclusion_that_is_written_wrongly(
    project: ProjectFolder, exclude: list[Any], sentence: str
) -> None:
    project.audience("staff", people(("u2", 1)), {"key": "user_id"})
    project.audience("vips", people(("u1", 1)), meta(exclude=exclude))
    with pytest.raises(UsageError) as raised:
        synced(project)
    assert sentence in str(raised.value)


def test_a_holdout_is_stable_and_never_sent(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", MANY.format(2_000), meta(holdout="10%"))
    run = synced(project)
    held_out = {key for (key,) in project.sql("select key from revetl.revetl.audience_holdouts")}
    assert run.left_out_rows == len(held_out)
    assert 150 < len(held_out) < 250
    assert set(sandbox.members("crm", "vips")) == {f"u{i}" for i in range(2_000)} - held_out
    # The choice is of the key alone: the first 32 bits of md5(salt:key), modulo 10,000, below 1,000.
    expected = {
        key
        for key in (f"u{i}" for i in range(2_000))
        if int(hashlib.md5(f"vips:{key}".encode()).hexdigest()[:8], 16) % 10_000 < 1_000
    }
    assert held_out == expected
    project.audience("vips", MANY.format(3_000))
    synced(project, force=["max_change"])
    again = {key for (key,) in project.sql("select key from revetl.revetl.audience_holdouts")}
    assert again & {f"u{i}" for i in range(2_000)} == held_out


def test_another_salt_holds_out_others_and_no_holdout_nobody(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", MANY.format(500), meta(holdout=0.2, salt="spring"))
    synced(project)
    spring = {key for (key,) in project.sql("select key from revetl.revetl.audience_holdouts")}
    project.audience("vips", MANY.format(500), meta(holdout=0.2, salt="autumn"))
    synced(project)
    autumn = {key for (key,) in project.sql("select key from revetl.revetl.audience_holdouts")}
    assert spring != autumn
    assert set(sandbox.members("crm", "vips")) == {f"u{i}" for i in range(500)} - autumn
    project.audience("vips", MANY.format(500), meta())
    synced(project)
    assert project.sql("select key from revetl.revetl.audience_holdouts") == []
    assert len(sandbox.members("crm", "vips")) == 500


def test_a_limit_keeps_whom_it_has(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u5", 5), ("u6", 6)), meta(limit=2))
    synced(project)
    project.audience("vips", MANY.format(9))
    assert sum(synced(project).planned.values()) == 0
    assert set(sandbox.members("crm", "vips")) == {"u5", "u6"}


@pytest.mark.parametrize(
    ("order_by", "taken"), [("score desc", {"u7", "u8"}), ("score", {"u0", "u1"}), ("-score", {"u7", "u8"})]
)
def test_a_limit_by_an_order(
    project: ProjectFolder, sandbox: SandboxClient, order_by: str, taken: set[str]
) -> None:
    project.audience("vips", MANY.format(9), meta(limit=2, order_by=order_by))
    synced(project)
    assert set(sandbox.members("crm", "vips")) == taken


def test_a_person_is_in_the_first_audience_of_a_list_only(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations(
        {"crm": {"type": "webhook", "url": f"{sandbox.url}/crm"}}, priorities={"offers": ["gold", "silver"]}
    )
    project.audience("gold", people(("u1", 1)), meta(priority="offers"))
    project.audience("silver", people(("u1", 1), ("u2", 2)), meta(priority="offers"))
    for name in ("gold", "silver"):
        synced(project, name)
    assert set(sandbox.members("crm", "gold")) == {"u1"}
    assert set(sandbox.members("crm", "silver")) == {"u2"}
    project.audience("gold", people(("u2", 1)))
    for name in ("gold", "silver"):
        synced(project, name)
    assert set(sandbox.members("crm", "gold")) == {"u2"}
    assert set(sandbox.members("crm", "silver")) == {"u1"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("user_id", "u2"), ("email", " B@X "), ("Email", "b@x"), ("e-mail", "b@x"), ("USER ID", "u2")],
)
def test_suppressed_people_are_removed(
    project: ProjectFolder, sandbox: SandboxClient, kind: str, value: str
) -> None:
    rows = people(("u1", "a@x"), ("u2", "b@x"), columns="user_id, email")
    project.audience("vips", rows, meta())
    synced(project)
    project.sql(SUPPRESS, kind, value)
    run = synced(project)
    assert (run.delivered, run.left_out_rows) == ({"add": 0, "update": 0, "remove": 1}, 1)
    assert set(sandbox.members("crm", "vips")) == {"u1"}
    ((cause, since),) = project.sql(
        "select cause, caused_at::varchar from revetl.revetl.sync_changes where operation = 'remove'"
    )
    assert (cause, since) == ("suppressed", "2026-01-01 00:00:00")


def test_a_type_of_suppressed_identifiers_that_no_audience_has_is_an_error(
    project: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    """In every command, with the nearest name; a type that another audience has is fine."""
    project.audience("vips", people(("u1", "a@x"), ("u2", "b@x"), columns="user_id, address"), meta())
    project.audience("others", people(("c1", "C-1"), columns="user_id, loyalty_card"), meta())
    synced(project)
    project.sql(SUPPRESS, "Loyalty-Card", "C-1")
    plan = cli(project, "plan", "audience", "vips")
    assert plan.returncode == 0
    note = "suppressions by Loyalty-Card match nobody here: the audience has no column of that name"
    assert note in plan.stdout
    project.sql(SUPPRESS, "adress", "a@x")
    sentence = (
        "revetl.suppressions: identifier_type 'adress' is not a column of any audience, so nobody is "
        "suppressed by it. Did you mean 'address'?"
    )
    for command in (("validate",), ("plan", "audience", "vips"), ("sync", "audience", "vips")):
        done = cli(project, *command)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    project.sql("update revetl.revetl.suppressions set identifier_type = 'address' where reason = 'opt-out'")
    assert cli(project, "validate").returncode == 0
    assert cli(project, "sync", "audience", "vips").returncode == 0


def test_a_suppressed_address_is_found_in_whatever_column_the_identifier_is_taken_from(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    """The column was renamed, and the list still says email."""
    mail = {"type": "intercom", "access_token": "T", "base_url": f"{sandbox.url}/intercom"}
    project.destinations({"mail": mail})
    sync = {"to": "mail", "mode": "upsert", "identifiers": {"email": "work_address"}, "fields": {}}
    rows = people(("u1", "a@x.io"), ("u2", "b@x.io"), columns="user_id, work_address")
    project.audience("vips", rows, {"key": "user_id", "sync": [sync]})
    synced(project)
    project.sql(SUPPRESS, "email", "B@x.io")
    (plan,) = project.open().plan("vips")
    assert (dict(plan.left_out), plan.notes) == ({"suppressed": 1}, ())


@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
def test_who_was_suppressed_and_is_gone_from_the_model_is_known_as_such(
    project: ProjectFolder, sandbox: SandboxClient, hashed: bool
) -> None:
    config = {"type": "webhook", "url": f"{sandbox.url}/crm", **({"hash_id": "email"} if hashed else {})}
    project.destinations({"crm": config})
    options = {"identifiers": {"id": "email"}, "fields": ["email"]}
    project.audience(
        "vips",
        people(("u1", "a@x.example"), ("u2", "b@x.example"), columns="user_id, email"),
        meta(**options),
    )
    synced(project)
    project.sql(SUPPRESS, "email", "\u00a0B@x.example\r\n")
    project.audience("vips", people(("u1", "a@x.example"), columns="user_id, email"))
    synced(project)
    assert project.sql("select cause from revetl.revetl.sync_changes where operation = 'remove'") == [
        ("suppressed",)
    ]


def test_hashed_identifiers_are_normalised_hashed_once_and_shown(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.destinations({"crm": {"type": "webhook", "url": f"{sandbox.url}/crm", "hash_id": "email"}})
    digest = hashlib.sha256(b"a@x.com").hexdigest()
    rows = people(
        ("u1", " A@x.COM "),
        ("u2", hashlib.sha256(b"b@x").hexdigest().upper()),
        ("u3", " "),
        ("u4", None),
        columns="user_id, email",
    )
    project.audience("vips", rows, meta(identifiers={"id": "email"}, fields=[]))
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    (identified,) = plan.preview.identifiers
    assert identified.share == 0.5
    assert identified.examples[0] == (" A@x.COM ", "a@x.com", digest)
    assert "lower case, then SHA-256" in str(identified.rule)
    run = synced(project)
    assert (run.delivered["add"], run.rejected["add"]) == (2, 2)
    assert set(sandbox.members("crm", "vips")) == {digest, hashlib.sha256(b"b@x").hexdigest()}
    # What names a person is in the state only as it was sent.
    state = str(project.sql("select identifiers, fields from revetl.revetl.sync_state"))
    assert "x.COM" not in state
    assert digest in state


def test_a_changed_mapping_sends_only_whom_it_touches_and_says_so(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    rows = people(("u1", 1, None), ("u2", 2, "b"), columns="user_id, score, name")
    project.audience("vips", rows, meta(fields=["score"]))
    synced(project)
    project.audience("vips", rows, meta(fields={"name": "name"}))
    (plan,) = project.open().plan("vips")
    assert (plan.add, plan.update, plan.remove) == (0, 1, 0)
    assert (plan.new_fields, plan.old_fields) == (("name",), ("score",))
    assert synced(project).delivered["update"] == 1
    assert sandbox.requests("crm")[-1]["ids"] == ["u2"]
    assert sum(synced(project).planned.values()) == 0


def test_only_mapped_columns_count_as_a_change(project: ProjectFolder) -> None:
    columns = "user_id, score, other"
    project.audience("vips", people(("u1", 1, 1), columns=columns), meta(fields=["score"]))
    synced(project)
    project.audience("vips", people(("u1", 1, 2), columns=columns))
    assert sum(synced(project).planned.values()) == 0
