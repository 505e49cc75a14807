"""Destinations that look for people by all they are told of them, and what is asked of them beforehand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from revetl.delivery.flow_runner import converse
from revetl.delivery.http import GaveUp, Transport
from revetl.destinations.base.destination import (
    Batch,
    Destination,
    Flow,
    Identifier,
    Records,
    Result,
    poll,
)
from tests.conftest import Cli, SandboxClient
from tests.helpers.gate import Answer, Seen, gate
from tests.helpers.project import ProjectFolder

META = {"key": "user_id", "sync": [{"to": "ads", "max_change": "200%"}]}
EMAILS = ("null", "'p{}@example.com'")
COLUMNS = "as t (user_id, email, phone, first_name, churn_risk)"
ANN, BOB = (
    "('u1', 'Shared@example.com', '020 7946 0958', 'Ann', 1)",
    "('u2', 'shared@example.com', null, 'Bob', 2)",
)


def people(*rows: str) -> str:
    """A query of these people."""
    return f"select * from (values {', '.join(rows)}) {COLUMNS}"


@pytest.fixture
def shop(tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    """A project with an audience of Ann and Bob, who share an address, for ads."""
    ads = {
        "type": "facebook_ads",
        "ad_account_id": "7",
        "access_token": "TOKEN",
        "phone_region": "GB",
        "base_url": f"{sandbox.url}/facebook_ads",
        "retries": 0,
    }
    project = ProjectFolder(tmp_path / "shop", {"ads": ads})
    project.audience("vips", people(ANN, BOB), META)
    return project


def test_all_identifiers_there_are_columns_of_are_sent_and_nothing_else(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    plan = json.loads(cli(shop, "plan", "audience", "vips", "-o", "json").stdout)
    (request,) = plan[0]["preview"]["requests"]
    assert request["url"].endswith("/v23.0/AUDIENCE_ID/users")
    assert request["body"]["payload"]["schema"] == ["EXTERN_ID", "EMAIL", "PHONE", "FN"]
    assert cli(shop, "sync", "audience", "vips").returncode == 0
    assert set(sandbox.members("facebook_ads", "vips")["u2"]) == {"EXTERN_ID", "EMAIL", "FN"}


def test_a_plan_shows_a_phone_number_as_it_is_made_alike(shop: ProjectFolder, cli: Cli) -> None:
    text = cli(shop, "plan", "audience", "vips").stdout
    assert "442079460958" in text


def test_who_leaves_takes_no_key_along_that_another_has(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    assert cli(shop, "sync", "audience", "vips").returncode == 0
    shop.audience("vips", people(BOB))
    assert cli(shop, "sync", "audience", "vips").returncode == 0
    assert set(sandbox.members("facebook_ads", "vips")) == {"u2"}
    state = shop.sql("select key, identifiers from revetl.revetl.sync_state")
    assert [key for key, _ in state] == ["u2"]


def test_nobody_is_taken_out_for_a_name_that_nobody_else_has(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    """With the email alone as a key that finds somebody, Ann's own first name frees nothing of hers."""
    meta = {
        "key": "user_id",
        "sync": [{"to": "ads", "max_change": "200%", "identifiers": {"EMAIL": "email", "FN": "first_name"}}],
    }
    shop.declare("vips", meta)
    assert cli(shop, "sync", "audience", "vips").returncode == 0
    shop.audience("vips", people(BOB))
    assert cli(shop, "sync", "audience", "vips").returncode == 0
    assert list(dict.fromkeys(each["operation"] for each in sandbox.deliveries("facebook_ads"))) == [
        "find",
        "create",
        "add",
    ]


def test_debug_asks_a_destination_whether_it_takes_the_credentials(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    told = json.loads(cli(shop, "debug", "-o", "json").stdout)
    (check,) = [each for each in told["checks"] if each["check"] == "destination ads"]
    assert (check["ok"], check["detail"]) == (True, "127.0.0.1 answers 200")
    sandbox.misbehave({"kind": "status", "status": 401, "reason": "TOKEN ended"})
    done = cli(shop, "debug")
    assert done.returncode == 4
    assert "FAILED  destination ads: 127.0.0.1 refused the request: 401" in done.stdout
    assert "TOKEN" not in done.stdout


def test_how_many_of_them_were_found(shop: ProjectFolder, sandbox: SandboxClient, cli: Cli) -> None:
    ask = ("audience", "matched", "vips", "-o", "json")
    (before,) = json.loads(cli(shop, *ask).stdout)
    assert (before["held"], before["at_least"], before["usable"]) == (0, None, None)
    more = [f"('p{i}', {EMAILS[i % 4 > 0].format(i)}, null, null, 1)" for i in range(200)]
    shop.audience("vips", people(*more))
    assert cli(shop, "sync", "audience", "vips").returncode == 0
    (after,) = json.loads(cli(shop, *ask).stdout)
    assert after == {
        "sync": "vips.ads",
        "held": 200,
        "at_least": 150,
        "at_most": 150,
        "smallest": 100,
        "share": 0.75,
        "usable": True,
    }
    assert "75.0%" in cli(shop, "audience", "matched", "vips").stdout


def test_what_nobody_is_created_without_has_to_be_mapped(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    crm = {
        "type": "salesforce",
        "object": "Contact",
        "external_id_field": "External_Id__c",
        "access_token": "TOKEN",
        "instance_url": f"{sandbox.url}/salesforce",
    }
    shop.destinations({"ads": crm})
    done = cli(shop, "plan", "audience", "vips")
    assert done.returncode == 2
    assert "'ads' requires 'LastName' to create a record. Map a column or an expression to it" in done.stderr
    fields = {"LastName": "first_name", "Nickname": "churn_risk"}
    shop.declare("vips", {"key": "user_id", "sync": [{"to": "ads", "mode": "upsert", "fields": fields}]})
    done = cli(shop, "sync", "audience", "vips")
    assert done.returncode == 4
    assert "'Nickname'" in done.stderr
    assert [each["operation"] for each in sandbox.requests("salesforce") if each["ids"]] == []
    assert shop.sql("select count(*) from revetl.revetl.sync_rejections") == [(0,)]


def test_nobody_tells_whom_a_webhook_has_found(shop: ProjectFolder, cli: Cli) -> None:
    shop.destinations({"ads": {"type": "webhook", "url": "http://127.0.0.1:9"}})
    done = cli(shop, "audience", "matched", "vips")
    assert done.returncode == 2
    assert "vips: none of its syncs' destinations report match rates." in done.stderr


class Jobs(Destination):
    """Takes a batch, and says later what became of it."""

    batch: ClassVar[Batch] = Batch(records=10)
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("id", column="id"),)
    type: Literal["jobs"] = "jobs"

    def upsert(self, records: Records) -> Flow:
        yield self.post("/jobs", json={})
        ended = yield from poll(
            lambda: self.post("/jobs/1", json={}),
            lambda response: response.json()["state"] == "done",
            first=0.01,
            limit=0.1,
        )
        return Result(rejected=dict.fromkeys(ended.json()["bad"], "bad"))


@pytest.mark.parametrize(("polls", "ends"), [(3, True), (99, False)])
def test_a_job_is_waited_for_until_it_ends_or_nobody_knows(polls: int, ends: bool) -> None:
    def rule(seen: Seen) -> Answer:
        state: dict[str, Any] = {"state": "done" if seen.number >= polls else "running", "bad": [1]}
        return Answer(body=json.dumps(state))

    async def run(url: str) -> Result:
        destination = Jobs(base_url=url)
        async with Transport(destination) as transport:
            records = Records("s", "a", "r", "update", ())
            return (await converse(transport, destination.upsert(records))).value

    with gate(rule) as server:
        if ends:
            assert asyncio.run(run(server.url)).rejected == {1: "bad"}
            assert len(server.seen) == polls + 1
        else:
            with pytest.raises(GaveUp, match="its job did not finish within 0 seconds") as error:
                asyncio.run(run(server.url))
            assert error.value.surely_unsent is False


def test_an_answer_of_another_form_is_one_sentence(
    shop: ProjectFolder, sandbox: SandboxClient, cli: Cli
) -> None:
    sandbox.misbehave({"kind": "status", "status": 200, "reason": "a proxy's page"})
    done = cli(shop, "sync", "audience", "vips")
    assert done.returncode == 4
    assert (
        "its response is JSON of an unexpected shape, not a response of its API (check the address)"
        in done.stderr
    )
