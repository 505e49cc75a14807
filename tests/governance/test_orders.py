"""An order as a shop plans it: one message that is right and one that breaks four rules, told alike by the
command and in the warehouse; and a plan that is mended, all the way to a destination."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from revetl.project.scaffolding import make_project
from tests.conftest import Cli, SandboxClient
from tests.models.conftest import run_dbt

PLAN = r"""
events:
  - name: Order Completed
    description: A customer has paid for an order.
    on_violation: block
    properties:
      - {name: order_id, type: string, required: true, pattern: '^[A-Z0-9]+$'}
      - {name: total, type: number, required: true, minimum: 0, maximum: 100000}
      - {name: currency, type: string, enum: [USD, EUR, GBP]}
      - name: products
        type: array
        required: true
        items:
          type: object
          properties:
            - {name: product_id, type: string, required: true}
            - {name: quantity, type: integer, required: true, minimum: 1}
"""
MENDED = PLAN.replace("GBP]", "GBP, CHF]").replace("maximum: 100000", "maximum: 5000")

PRODUCTS = [{"product_id": "p1", "quantity": 2}, {"product_id": "p2", "quantity": 1}]


def order(name: str, **properties: Any) -> dict[str, Any]:
    """An order of the user `name`, right where nothing else is said."""
    right = {"order_id": "A1", "total": 20.5, "currency": "EUR", "products": PRODUCTS}
    return {
        "type": "track",
        "messageId": f"order-{name}",
        "userId": name,
        "event": "Order Completed",
        "timestamp": "2026-01-02T03:04:05Z",
        "properties": {key: value for key, value in (right | properties).items() if value is not ...},
    }


RIGHT = order("ann")
WRONG = order(
    "bob",
    order_id=...,
    total="20.5",
    currency="CHF",
    products=[PRODUCTS[0], {"product_id": "p2", "quantity": 0}],
)
VIOLATIONS = [
    ("currency", "enum", 'one of "USD", "EUR", "GBP"', '"CHF"'),
    ("order_id", "required", "string", "nothing"),
    ("products[1].quantity", "minimum", "at least 1", "0"),
    ("total", "type", "number", '"20.5"'),
]
FRANCS = order("cleo", currency="CHF")
LARGE = order("dan", total=6000)
PAID = {**order("eve", totl="12", total=...), "event": "Order Paid"}
PUT_RIGHT = """
transformations:
  - event: Order Paid
    rename_event: Order Completed
    rename: {totl: total}
    cast: {total: number}
"""


def test_the_command_reports_exactly_four_violations(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "dbt_project.yml").write_text("{name: shop, profile: shop}")
    (tmp_path / "tracking_plan.yaml").write_text(PLAN)
    (tmp_path / "right.json").write_text(json.dumps(RIGHT))
    (tmp_path / "wrong.json").write_text(json.dumps(WRONG, indent=2))
    right = cli(tmp_path, "protocols", "check", "right.json", "-o", "json")
    assert (right.returncode, json.loads(right.stdout)) == (0, [])
    wrong = cli(tmp_path, "protocols", "check", "wrong.json", "-o", "json")
    assert wrong.returncode == 1
    about = {"line": 1, "message_id": "order-bob", "message_type": "track", "event": "Order Completed"}
    assert json.loads(wrong.stdout) == [
        {**about, "path": path, "rule": rule, "expected": expected, "found": found, "action": "block"}
        for path, rule, expected, found in VIOLATIONS
    ]


@dataclass(frozen=True)
class Shop:
    """A new project with an audience of buyers, and its database."""

    root: Path
    cli: Cli

    def revetl(self, *arguments: str) -> Any:
        """What the command prints as JSON."""
        done = self.cli(self.root, *arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def build(self) -> None:
        """Build the buyers and all they are made of."""
        words = ["--select", "+buyers", "--exclude-resource-types", "test", "unit_test"]
        run_dbt(self.root / "shop.duckdb", "build", *words, project=self.root)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with duckdb.connect(str(self.root / "shop.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def shop(tmp_path: Path, cli: Cli, sandbox: SandboxClient) -> Shop:
    """The project, with the plan and five orders."""
    root = tmp_path / "shop"
    make_project(root)
    (root / "tracking_plan.yaml").write_text(PLAN)
    sync = {"to": "crm", "fields": ["order_count"], "max_change": "500%"}
    meta = {"revetl": {"key": "user_id", "sync": [sync]}}
    audiences = root / "models" / "audiences"
    (audiences / "_buyers.yml").write_text(
        yaml.safe_dump({"version": 2, "models": [{"name": "buyers", "config": {"meta": meta}}]})
    )
    (audiences / "buyers.sql").write_text(
        "select user_id, order_count from {{ ref('revetl', 'revetl_profiles') }} where order_count > 0\n"
    )
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    (root / "revetl.yml").write_text(yaml.safe_dump({"destinations": {"crm": crm}}))
    (root / "orders.ndjson").write_text("\n".join(map(json.dumps, (RIGHT, WRONG, FRANCS, LARGE, PAID))))
    run_dbt(root / "shop.duckdb", "deps", project=root)
    return Shop(root, cli)


@pytest.mark.slow
@pytest.mark.long
def test_a_fixed_plan_readmits_blocked_messages_up_to_the_destination(
    shop: Shop, sandbox: SandboxClient
) -> None:
    shop.revetl("load", "orders.ndjson")
    shop.revetl("protocols", "compile")
    shop.build()

    # The same four as the command tells.
    found = shop.ask(
        "select message_id, message_type, event, property_path, rule_name, expected, found, action "
        "from revetl_tracking_plan_violations order by message_id, property_path"
    )
    about = ("track", "Order Completed")
    assert found == [
        *(("order-bob", *about, *each, "block") for each in VIOLATIONS),
        ("order-cleo", *about, *VIOLATIONS[0], "block"),
    ]
    buyers = "select user_id from buyers order by 1"
    assert shop.ask(buyers) == [("ann",), ("dan",)]
    shop.revetl("sync", "audience", "buyers")
    assert sorted(sandbox.members("crm", "buyers")) == ["ann", "dan"]

    (shop.root / "tracking_plan.yaml").write_text(MENDED)
    macro = shop.root / "macros" / "tracking_plan.sql"
    before = macro.read_text()
    counted = {
        "events": [
            {
                "message_type": "track",
                "event": "Order Completed",
                "blocked": 2,
                "let_in": 1,
                "taken_out": 1,
            }
        ],
        "written": [],
    }
    assert shop.revetl("protocols", "readmit", "--dry-run") == counted
    assert macro.read_text() == before
    told = shop.cli(shop.root, "protocols", "readmit")
    assert told.stderr.endswith(
        "Written: macros/tracking_plan.sql. The next `dbt build` lets in 1 message and takes out 1.\n"
    )
    assert macro.read_text() != before
    assert shop.ask(buyers) == [("ann",), ("dan",)]

    shop.build()
    assert shop.ask(buyers) == [("ann",), ("cleo",)]
    sent = len(sandbox.requests("crm"))
    (run,) = shop.revetl("sync", "audience", "buyers")
    assert {name: count for name, count in run["delivered"].items() if count} == {"add": 1, "remove": 1}
    assert sorted(sandbox.members("crm", "buyers")) == ["ann", "cleo"]
    assert len(sandbox.requests("crm")) == sent + 2

    # What has landed under another name is put right, and then judged by the plan.
    (shop.root / "transformations.yaml").write_text(PUT_RIGHT)
    shop.revetl("protocols", "compile")
    shop.build()
    assert shop.ask(buyers) == [("ann",), ("cleo",), ("eve",)]
    assert shop.ask("select lifetime_value from revetl_profiles where user_id = 'eve'") == [(12,)]
    assert shop.ask("select event_text from raw.tracks where user_id = 'eve'") == [("Order Paid",)]
    (run,) = shop.revetl("sync", "audience", "buyers")
    assert {name: count for name, count in run["delivered"].items() if count} == {"add": 1}
