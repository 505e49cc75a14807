"""A sync's outcome at the destination, in the state, and in what it returns."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from revetl.errors import UsageError
from revetl.sandbox import running_sandbox
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

META = {"key": "user_id", "sync": [{"to": "crm", "fields": {"score": "score"}}]}


def people(*rows: tuple[object, ...], columns: str = "user_id, score") -> str:
    """A query of literal rows."""
    values = ", ".join("(" + ", ".join("null" if v is None else repr(v) for v in row) + ")" for row in rows)
    return f"select * from (values {values}) as people ({columns})"


def synced(project: ProjectFolder, name: str = "vips", **options: Any) -> Any:
    (run,) = project.open().sync(name, **options)
    return run


def test_adds_updates_and_removes_reach_the_destination(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)), META)
    first = synced(project)
    project.audience("vips", people(("u2", 2), ("u3", 30), ("u4", 4)))
    second = synced(project)
    assert (first.status, first.delivered) == ("success", {"add": 3, "update": 0, "remove": 0})
    assert (second.status, second.delivered) == ("success", {"add": 1, "update": 1, "remove": 1})
    assert sandbox.members("crm", "vips") == {"u2": {"score": 2}, "u3": {"score": 30}, "u4": {"score": 4}}
    log = [(entry["operation"], entry["ids"]) for entry in sandbox.requests("crm")]
    assert log[1:] == [("remove", ["u1"]), ("update", ["u3"]), ("add", ["u4"])]


def test_a_sync_with_nothing_changed_sends_nothing(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    again = synced(project)
    assert (again.status, sum(again.planned.values())) == ("success", 0)
    assert len(sandbox.requests("crm")) == 1


def test_someone_who_left_and_came_back_unchanged_is_added_again(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    for rows in ([("u1", 1), ("u2", 2)], [("u2", 2)], [("u1", 1), ("u2", 2)]):
        project.audience("vips", people(*rows), META.copy())
        synced(project)
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2"}


def test_only_mapped_columns_count_as_a_change(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u1", 1, "x"), columns="user_id, score, note"), META)
    synced(project)
    project.audience("vips", people(("u1", 1, "y"), columns="user_id, score, note"))
    assert sum(synced(project).planned.values()) == 0


def test_upsert_mode_never_removes(project: ProjectFolder, sandbox: SandboxClient) -> None:
    meta = {"key": "user_id", "sync": [{"to": "crm", "mode": "upsert"}]}
    project.audience("vips", people(("u1", 1), ("u2", 2)), meta)
    synced(project)
    project.audience("vips", people(("u2", 20), ("u3", 3)))
    run = synced(project)
    assert run.delivered == {"add": 1, "update": 1, "remove": 0}
    assert set(sandbox.members("crm", "vips")) == {"u1", "u2", "u3"}


def test_full_refresh_sends_all_and_still_removes(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)), META)
    synced(project)
    project.audience("vips", people(("u2", 2), ("u3", 3)))
    assert synced(project, full_refresh=True).delivered == {"add": 0, "update": 2, "remove": 1}
    assert set(sandbox.members("crm", "vips")) == {"u2", "u3"}


EMAIL = {
    "key": "person",
    "sync": [{"to": "crm", "identifiers": {"id": "email"}, "fields": {"score": "score"}}],
}


def test_no_remove_is_sent_while_a_member_holds_the_identifier(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    columns = "person, email, score"
    project.audience("vips", people(("p1", "a@x", 1), ("p2", "b@x", 2), columns=columns), EMAIL)
    synced(project)
    # A merge renamed p1 to p9; p2 left.
    project.audience("vips", people(("p9", "a@x", 1), columns=columns))
    run = synced(project)
    assert run.delivered == {"add": 1, "update": 0, "remove": 1}
    assert [(e["operation"], e["ids"]) for e in sandbox.requests("crm")][1:] == [
        ("remove", ["b@x"]),
        ("add", ["a@x"]),
    ]
    assert project.sql("select key from revetl.revetl.sync_state") == [("p9",)]
    assert sum(synced(project).planned.values()) == 0


def test_a_changed_identifier_is_removed_under_the_old_and_added_under_the_new(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    columns = "person, email, score"
    project.audience("vips", people(("p1", "old@x", 1), ("p2", "b@x", 2), columns=columns), EMAIL)
    synced(project)
    project.audience("vips", people(("p1", "new@x", 1), ("p2", "b@x", 2), columns=columns))
    synced(project)
    assert set(sandbox.members("crm", "vips")) == {"new@x", "b@x"}
    assert sum(synced(project).planned.values()) == 0


def test_an_old_identifier_that_could_not_be_removed_is_not_forgotten(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    columns = "person, email, score"
    project.audience("vips", people(("p1", "old@x", 1), columns=columns), EMAIL)
    synced(project)
    sandbox.misbehave({"kind": "reject", "pattern": "^old@x$", "reason": "not now"})
    project.audience("vips", people(("p1", "new@x", 1), columns=columns))
    assert synced(project).rejected["remove"] == 1
    assert set(sandbox.members("crm", "vips")) == {"old@x", "new@x"}
    assert synced(project).rejected == {"add": 0, "update": 0, "remove": 1}
    assert sum(synced(project).planned.values()) == 0
    sandbox.behave()
    assert synced(project, retry=True).delivered == {"add": 0, "update": 0, "remove": 1}
    assert set(sandbox.members("crm", "vips")) == {"new@x"}
    assert project.sql("select key from revetl.revetl.sync_state") == [("p1",)]
    assert project.open().rejections() == []


def test_an_identifier_whose_new_holder_is_rejected_is_not_forgotten(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    """p1 goes from a@x to b@x, and p2, who is to have a@x, is not taken: then p2 leaves."""
    columns = "person, email, score"
    project.audience("vips", people(("p1", "a@x", 1), columns=columns), EMAIL)
    synced(project)
    sandbox.misbehave({"kind": "reject", "pattern": "^a@x$"})
    project.audience("vips", people(("p1", "b@x", 1), ("p2", "a@x", 2), columns=columns))
    assert synced(project).rejected["add"] == 1
    assert sum(synced(project).planned.values()) == 0
    assert set(sandbox.members("crm", "vips")) == {"a@x", "b@x"}
    sandbox.behave()
    project.audience("vips", people(("p1", "b@x", 1), columns=columns))
    assert synced(project).delivered["remove"] == 1
    assert set(sandbox.members("crm", "vips")) == {"b@x"}
    assert project.sql("select key from revetl.revetl.sync_state") == [("p1",)]


def test_two_who_swap_identifiers_keep_both(project: ProjectFolder, sandbox: SandboxClient) -> None:
    columns = "person, email, score"
    project.audience("vips", people(("p1", "a@x", 1), ("p2", "b@x", 2), columns=columns), EMAIL)
    synced(project)
    project.audience("vips", people(("p1", "b@x", 1), ("p2", "a@x", 2), columns=columns))
    synced(project)
    assert sandbox.members("crm", "vips") == {"b@x": {"score": 1}, "a@x": {"score": 2}}
    assert sum(synced(project).planned.values()) == 0


def test_a_record_without_identifier_is_rejected(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("p1", None, 1), ("p2", "b@x", 2), columns="person, email, score"), EMAIL)
    run = synced(project)
    assert (run.status, run.exit_code, run.delivered["add"], run.rejected["add"]) == ("rejected", 1, 1, 1)
    (row,) = project.open().rejections("vips")
    assert (row["key"], row["reason"]) == ("p1", "it has no identifier that the destination supports")


def test_the_webhook_contract_to_the_letter(project: ProjectFolder) -> None:
    seen: list[httpx.Request] = []
    with running_sandbox(secrets={"signed": "s3cret"}) as url:
        config = {
            "type": "webhook",
            "url": f"{url}/signed",
            "secret": "s3cret",
            "headers": {"X-Team": "growth"},
        }
        project.destinations({"crm": config})
        project.audience("vips", people(("u1", 'a "quote", é and 😀'), ("u2", None)), META)
        plan = project.open().plan("vips")[0]
        run = synced(project)
        log = httpx.get(f"{url}/_/requests/signed").json()
        held = httpx.get(f"{url}/_/members/signed").json()["audiences"]["vips"]["members"]
    assert seen == []
    assert plan.preview is not None
    (request,) = plan.preview.requests
    assert request.headers["x-team"] == "growth"
    assert request.headers["x-revetl-signature"] == "***"
    body = json.loads(json.dumps(request.body))
    batch_id = body.pop("batch_id")
    assert len(batch_id) == 32
    assert body == {
        "sync": "vips.crm",
        "audience": "vips",
        "run_id": "plan",
        "operation": "add",
        "records": [
            {"id": "u1", "fields": {"score": 'a "quote", é and 😀'}},
            {"id": "u2", "fields": {"score": None}},
        ],
    }
    # The sandbox checks the signature of the raw body with the secret, and answers 401 to a wrong one.
    assert (run.status, [entry["status"] for entry in log]) == ("success", [200])
    assert held == {"u1": {"score": 'a "quote", é and 😀'}, "u2": {"score": None}}


def test_the_signature_is_the_hmac_of_the_raw_body() -> None:
    from revetl.destinations.base.destination import Record, Records
    from revetl.destinations.webhook.destination import Webhook

    webhook = Webhook.model_validate({"type": "webhook", "url": "https://x.example", "secret": "k"})
    record = Record("u1", {"id": "u1"}, {"n": 1}, "r")
    request = next(webhook.add(Records("a.crm", "a", "r", "add", (record,))))
    assert isinstance(request, httpx.Request)
    expected = hmac.new(b"k", request.content, hashlib.sha256).hexdigest()
    assert request.headers["X-Revetl-Signature"] == f"sha256={expected}"


def test_values_keep_their_types(project: ProjectFolder, sandbox: SandboxClient) -> None:
    query = """
        select 'u1' as user_id, 12.50::decimal(10, 2) as money, 9007199254740993::bigint as big, true as flag,
            date '2026-01-02' as day, timestamp '2026-01-02 03:04:05.678' as moment,
            [1, 2] as list, {'a': 1} as struct,
            1487.24::decimal(38, 4) as total, 20::hugeint as orders, null as missing,
            '{"b": [1.5]}'::json as document
    """
    project.audience("vips", query, {"key": "user_id", "sync": [{"to": "crm"}]})
    synced(project)
    assert sandbox.members("crm", "vips")["u1"] == {
        "money": 12.5,
        "total": 1487.24,
        "orders": 20,
        "big": 9007199254740993,
        "flag": True,
        "day": "2026-01-02",
        "moment": "2026-01-02T03:04:05.678000Z",
        "list": [1, 2],
        "struct": {"a": 1},
        "missing": None,
        "document": {"b": [1.5]},
    }


def test_a_field_may_be_an_expression(project: ProjectFolder, sandbox: SandboxClient) -> None:
    fields = {"tier": "case when score > 10 then 'gold' else 'blue' end", "half": "score / 2.0"}
    project.audience(
        "vips", people(("u1", 20)), {"key": "user_id", "sync": [{"to": "crm", "fields": fields}]}
    )
    synced(project)
    assert sandbox.members("crm", "vips") == {"u1": {"tier": "gold", "half": 10.0}}


def test_a_renamed_field_is_sent_again(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u1", 1)), META)
    synced(project)
    renamed = {"key": "user_id", "sync": [{"to": "crm", "fields": {"points": "score"}}]}
    project.audience("vips", people(("u1", 1)), renamed)
    assert synced(project).delivered["update"] == 1


def test_hashes_of_another_engine_version_are_renewed_without_sending(
    project: ProjectFolder, sandbox: SandboxClient
) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    synced(project)
    project.sql("update revetl.revetl.sync_state set hash_by = 'duckdb 0.0.1', row_hash = row_hash + 1")
    project.audience("vips", people(("u1", 1), ("u2", 20)))
    run = synced(project)
    assert run.delivered == {"add": 0, "update": 1, "remove": 0}
    assert sum(synced(project).planned.values()) == 0


def test_planning_changes_nothing(project: ProjectFolder, sandbox: SandboxClient) -> None:
    project.audience("vips", people(("u1", 1)), META)
    before = project.database.read_bytes()
    (plan,) = project.open().plan("vips")
    assert (plan.add, plan.update, plan.remove, plan.audience_rows, plan.held_rows) == (1, 0, 0, 1, 0)
    assert project.database.read_bytes() == before
    assert sandbox.requests("crm") == []


def test_members_in_a_notebook(project: ProjectFolder) -> None:
    project.audience("vips", people(("u1", 1), ("u2", 2)), META)
    audience = project.open().audience("vips")
    assert audience.to_arrow().to_pydict() == {"user_id": ["u1", "u2"], "score": [1, 2]}
    assert audience.to_pandas()["score"].sum() == 3


async def _inside_a_loop(project: ProjectFolder) -> Any:
    return synced(project)


def test_a_sync_runs_where_a_loop_is_running(project: ProjectFolder) -> None:
    import asyncio

    project.audience("vips", people(("u1", 1)), META)
    assert asyncio.run(_inside_a_loop(project)).status == "success"


def test_a_force_that_is_no_guard(project: ProjectFolder) -> None:
    project.audience("vips", people(("u1", 1)), META)
    with pytest.raises(UsageError, match=r"unknown guard\. Did you mean 'max_change'\?"):
        synced(project, force=["max_chance"])
