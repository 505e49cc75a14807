"""docs/destinations/salesforce.md: its example of leads, tasks and accounts, run as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

SHEET = Path(__file__).parents[2] / "docs" / "destinations" / "salesforce.md"
TABLES = {
    "revetl_profiles": """
        select * from (values
            ('u1', 'c1', 'Ada', 'Lovelace', 'ada@example.com', 'Acme Corp'),
            ('u2', 'c2', 'Alan', 'Turing', 'alan@example.com', 'Initech'),
            (null, 'c3', 'An', 'Onymous', null, null)
        ) as t (user_id, canonical_id, first_name, last_name, email, company)
    """,
    "stg_revetl__tracks": """
        select *, timestamp '2026-01-02 03:04:05' as timestamp from (values
            ('m1', 'u1', 'product_added', 'Product Added',
                '{"product_id": "prod_12345", "product_name": "Wireless Headphones", "price": 299.99,
                  "coupon": null, "Priority": "High", "Score__c": 7}'::json),
            ('m2', 'u2', 'order_completed', 'Order Completed',
                '{"order_id": "ORD-12345",
                  "products": [{"name": "Wireless Headphones", "quantity": 1}]}'::json),
            ('m3', 'u9', 'order_completed', 'Order Completed', '{"order_id": "ORD-9"}'::json)
        ) as t (message_id, user_id, event, event_text, properties)
    """,
    "revetl_accounts": """
        select * from (values
            ('acme', 'Acme Corp', 'Technology'), ('initech', 'Initech', null), ('x', null, null)
        ) as t (account_id, name, industry)
    """,
}


@pytest.fixture
def shop(tmp_path: Path, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    """The project of the example, on tables of the package's models."""
    blocks = re.findall(r"^```(yaml|sql)\n(.*?)^```", SHEET.read_text(encoding="utf-8"), re.DOTALL | re.M)
    configs = [yaml.safe_load(text) for kind, text in blocks if kind == "yaml"]
    queries = {
        re.findall(r"(\w+)\.sql", text)[0]: re.sub(r"\{\{ ref\('revetl', '(\w+)'\) \}\}", r"\1", text)
        for kind, text in blocks
        if kind == "sql"
    }
    monkeypatch.setenv("SALESFORCE_URL", f"{sandbox.url}/salesforce")
    monkeypatch.setenv("SALESFORCE_CLIENT_ID", "ID")
    monkeypatch.setenv("SALESFORCE_CLIENT_SECRET", "SECRET")
    project = ProjectFolder(tmp_path / "shop", configs[0]["destinations"])
    for name, query in TABLES.items():
        project.sql(f"create or replace table {name} as {query}")
    for model in configs[1]["models"]:
        project.audience(model["name"], queries[model["name"]], model["config"]["meta"]["revetl"])
    return project


def held(sandbox: SandboxClient) -> dict[str, Any]:
    """What the sandbox's org has."""
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/salesforce").json()
    return found


def test_people_become_leads_events_tasks_and_groups_accounts(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    (plan,) = shop.open().plan("salesforce_leads")
    assert plan.preview is not None
    (request,) = plan.preview.requests
    assert request.headers["sforce-auto-assign"] == "01QHp000000AbCdEAK"

    project = shop.open()
    for name in ("salesforce_leads", "salesforce_accounts"):
        (run,) = project.sync(name)
        assert (run.status, run.delivered["add"]) == ("success", 2)
    (run,) = project.sync("salesforce_tasks")
    assert (run.delivered["add"], run.rejected["add"]) == (2, 1)
    assert shop.sql("select key, reason from revetl.revetl.sync_rejections") == [
        ("m3", "no Lead records have this External_Id__c")
    ]

    org = held(sandbox)
    ids = {name: fields.pop("Id") for name, fields in org["profiles"].items()}
    assert org["profiles"] == {
        "u1": {
            "External_Id__c": "u1",
            "FirstName": "Ada",
            "LastName": "Lovelace",
            "Email": "ada@example.com",
            "Company": "Acme Corp",
        },
        "u2": {
            "External_Id__c": "u2",
            "FirstName": "Alan",
            "LastName": "Turing",
            "Email": "alan@example.com",
            "Company": "Initech",
        },
        "acme": {"External_Id__c": "acme", "Name": "Acme Corp", "Industry": "Technology"},
        "initech": {"External_Id__c": "initech", "Name": "Initech", "Industry": None},
    }
    assert {name: each[:3] for name, each in ids.items()} == {
        "u1": "00Q",
        "u2": "00Q",
        "acme": "001",
        "initech": "001",
    }
    tasks = {each["properties"]["Subject"]: each["properties"] for each in org["events"]}
    for task in tasks.values():
        assert len(task.pop("External_Id__c")) == 32
    common = {"Status": "Completed", "ActivityDate": "2026-01-02"}
    assert tasks == {
        "Product Added": {
            **common,
            "Subject": "Product Added",
            "WhoId": ids["u1"],
            "Priority": "High",
            "Score__c": 7,
            "Description": "product_id: prod_12345\nproduct_name: Wireless Headphones\nprice: 299.99",
        },
        "Order Completed": {
            **common,
            "Subject": "Order Completed",
            "WhoId": ids["u2"],
            "Description": ("order_id: ORD-12345\nproducts:\n  - name: Wireless Headphones\n    quantity: 1"),
        },
    }


@pytest.mark.parametrize(
    ("fields", "task"),
    [
        (
            {"Description": "properties", "Priority": "properties.Priority"},
            {
                "Priority": "High",
                "Description": "product_id: prod_12345\nproduct_name: Wireless Headphones\nprice: 299.99\n"
                "Priority: High\nScore__c: 7",
            },
        ),
        ({"Description": "properties.product_name"}, {"Description": "Wireless Headphones"}),
        ({"Score__c": "properties.price"}, {"Score__c": 299.99}),
    ],
    ids=str,
)
def test_a_mapping_says_otherwise_what_of_an_event_a_task_has(
    shop: ProjectFolder, sandbox: SandboxClient, fields: dict[str, str], task: dict[str, Any]
) -> None:
    project = shop.open()
    project.sync("salesforce_leads")
    sync = {"to": "leads", "mode": "events", "event_column": "event_text", "fields": fields}
    sync["identifiers"] = {"External_Id__c": "user_id"}
    shop.declare("salesforce_tasks", {"key": "message_id", "sync": sync})
    shop.open().sync("salesforce_tasks")
    (made,) = (each["properties"] for each in held(sandbox)["events"] if each["event"] == "Product Added")
    about = ("Subject", "Status", "ActivityDate", "WhoId", "External_Id__c")
    assert {name: value for name, value in made.items() if name not in about} == task
