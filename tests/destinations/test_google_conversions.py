"""Conversions of Google Ads, from a warehouse to the sandbox: the sheet's example, adjustments, test mode."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from revetl.destinations import make_destination
from revetl.errors import UsageError
from tests.conftest import Cli, SandboxClient
from tests.helpers.http import JsonHandler, LoopbackServer
from tests.helpers.project import ProjectFolder

SHEET = Path(__file__).parents[2] / "docs" / "destinations" / "google_conversions.md"
ADA = "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72"
ORDER = {"order_id": "o-1", "revenue": 27.5, "currency": "usd", "gclid": "Cj0K"}
OWN: dict[str, Any] = {
    "type": "google_conversions",
    "customer_id": "123-456-7890",
    "access_token": "TOKEN",
    "conversion_actions": {"Order Completed": "7001", "order_updated": "7001", "Lead Qualified": "7003"},
    "retries": 0,
}


def example() -> dict[str, Any]:
    """The sync of the sheet's example."""
    text = SHEET.read_text().partition("## Example")[2]
    found = re.search(r"\n((?:    .*\n)+)", text)
    assert found is not None
    (sync,) = yaml.safe_load(found[1])["sync"]
    made: dict[str, Any] = sync
    return made


def shown() -> dict[str, Any]:
    """The event of the sheet's example, with the hash in full."""
    text = SHEET.read_text().partition("is sent as\n")[2].partition("##")[0].replace("b5fc85e5…", ADA)
    made: dict[str, Any] = json.loads(text)
    return made


def rows(*events: tuple[str, str, dict[str, Any]]) -> str:
    """A model of events of Ada: key, name, properties."""
    return " union all ".join(
        f"select '{key}' as message_id, ' Ada@Example.com ' as email, '{name}' as event, "
        f"'{json.dumps(properties)}'::json as properties, timestamp '2026-01-02 03:04:05' as timestamp"
        for key, name, properties in events
    )


def shop(tmp_path: Path, url: str, *events: tuple[str, str, dict[str, Any]], **more: Any) -> ProjectFolder:
    made = ProjectFolder(
        tmp_path / "shop", {"google_conversions": {**OWN, "base_url": f"{url}/google_conversions", **more}}
    )
    made.audience("sales", rows(*events), {"key": "message_id", "sync": [example()]})
    return made


def held(sandbox: SandboxClient) -> list[dict[str, Any]]:
    """The conversions that Google has."""
    found: list[dict[str, Any]] = httpx.get(f"{sandbox.url}/_/members/google_conversions").json()["events"]
    return found


def test_the_sheet_s_example_is_sent_as_it_says(tmp_path: Path, sandbox: SandboxClient, cli: Cli) -> None:
    project = shop(tmp_path, sandbox.url, ("m1", "Order Completed", ORDER))
    (plan,) = json.loads(cli(project, "plan", "audience", "sales", "-o", "json").stdout)
    (request,) = plan["preview"]["requests"]
    body = request["body"] if isinstance(request["body"], dict) else json.loads(request["body"])
    (event,) = body["events"]
    assert {name: value for name, value in event.items() if name != "destinationReferences"} == shown()
    assert cli(project, "sync", "audience", "sales").returncode == 0
    assert [(each["person"], each["event"]) for each in held(sandbox)] == [(ADA, "7001")]


def test_an_update_restates_the_order_and_a_refund_is_rejected_with_the_ways_out(
    tmp_path: Path, sandbox: SandboxClient, cli: Cli
) -> None:
    order = ("m1", "Order Completed", ORDER)
    project = shop(tmp_path, sandbox.url, order)
    assert cli(project, "sync", "audience", "sales").returncode == 0
    updated = ("m2", "Order Updated", {**ORDER, "revenue": 20})
    refunded = ("m3", "Order Refunded", {"order_id": "o-1", "total": 20})
    lead = ("m4", "lead_qualified", {"value": 5, "plan": "pro"})
    project.audience("sales", rows(order, updated, refunded, lead))
    done = cli(project, "sync", "audience", "sales")
    why = cli(project, "rejections", "audience", "sales", "--to", "google_conversions").stdout
    assert "cannot retract a conversion" in why
    assert "plan: left out (1 records)" in done.stdout + done.stderr
    assert [(each["event"], each["properties"]["conversionValue"]) for each in held(sandbox)] == [
        ("7001", 20),
        ("7003", 5),
    ]


def test_in_test_mode_nothing_counts_as_sent(tmp_path: Path, sandbox: SandboxClient, cli: Cli) -> None:
    events = [(f"m{at}", "Lead Qualified", {"order_id": f"o{at}", "value": at}) for at in range(3)]
    project = shop(tmp_path, sandbox.url, *events, validate_only=True)
    done = cli(project, "sync", "audience", "sales")
    assert done.returncode != 0
    assert "Google found 3 of 3 events valid, and recorded none. Set validate_only: false" in done.stderr
    assert held(sandbox) == []
    config = {**OWN, "base_url": f"{sandbox.url}/google_conversions"}
    project.destinations({"google_conversions": config})
    assert cli(project, "sync", "audience", "sales").returncode == 0
    assert len(held(sandbox)) == 3


@pytest.mark.long
def test_who_enters_an_audience_is_a_conversion_and_who_leaves_is_not(
    tmp_path: Path, sandbox: SandboxClient, cli: Cli
) -> None:
    config = {"base_url": f"{sandbox.url}/google_conversions", "conversion_action_id": 7005}
    project = ProjectFolder(tmp_path / "shop", {"google_conversions": {**OWN, **config}})
    sync = {"to": "google_conversions", "mode": "audience_events", "max_change": "200%"}
    people = "select 'u{0}' as user_id, 'u{0}@example.com' as email"
    both = f"{people.format(1)} union all {people.format(2)}"
    project.audience("qualified", both, {"key": "user_id", "sync": [sync]})
    assert cli(project, "sync", "audience", "qualified").returncode == 0
    project.audience("qualified", people.format(2))
    assert cli(project, "sync", "audience", "qualified").returncode == 0
    assert [each["event"] for each in held(sandbox)] == ["7005", "7005"]
    assert len(sandbox.requests("google_conversions")) == 1


class _Partly(JsonHandler):
    """Google, which recorded one event of two."""

    def do_POST(self) -> None:  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"requestId": "r-1"})

    def do_GET(self) -> None:  # noqa: N802
        counts = [{"reason": "PROCESSING_ERROR_REASON_INVALID_GCLID", "recordCount": "1"}]
        each = {"requestStatus": "PARTIAL_SUCCESS", "errorInfo": {"errorCounts": counts}}
        self.answer(200, {"requestStatusPerDestination": [each]})


def test_a_run_of_which_google_recorded_a_part_fails_with_the_reasons_and_sends_nothing_twice(
    tmp_path: Path, cli: Cli
) -> None:
    events = [(f"m{at}", "Lead Qualified", {"value": at}) for at in range(2)]
    with LoopbackServer(("127.0.0.1", 0), _Partly) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        project = shop(tmp_path, url, *events, status_timeout=600)
        done = cli(project, "sync", "audience", "sales")
        (plan,) = json.loads(cli(project, "plan", "audience", "sales", "-o", "json").stdout)
        server.shutdown()
    assert done.returncode != 0
    assert "Google did not record 1 of the accepted events: INVALID_GCLID (1)" in done.stderr
    assert plan["changes"] == 0


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"conversion_actions": {}}, "Set conversion_action_id, or conversion_actions"),
        ({"conversion_actions": {"A": "customers/1/conversionActions/2"}}, "conversion_actions"),
        ({"conversion_actions": {f"E{at}": at for at in range(11)}}, "11 conversion actions exceed Google's"),
        ({"event_source": "TV"}, "event_source"),
        ({"ad_user_data": "YES"}, "ad_user_data"),
        ({"customer_id": "shop"}, "customer_id"),
    ],
)
def test_a_configuration_that_google_would_refuse_is_refused(config: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_destination({**OWN, **config}, "destinations.google_conversions")
