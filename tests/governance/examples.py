"""The plan that the documentation shows, and messages of it."""

from __future__ import annotations

from typing import Any

import yaml

from revetl.governance.tracking_plan import TrackingPlan

PLAN = r"""
events:
  - name: Order Completed
    description: A customer has paid for an order.
    properties:
      - {name: order_id, type: string, required: true, pattern: '^[A-Z0-9]+$'}
      - {name: total, type: number, required: true, minimum: 0, maximum: 100000}
      - {name: currency, type: string, enum: [USD, EUR, GBP]}
      - name: products
        type: array
        items:
          type: object
          properties:
            - {name: sku, type: string, required: true}
            - {name: price, type: number, minimum: 0}
"""

VALID: dict[str, Any] = {
    "order_id": "A1",
    "total": 20.5,
    "currency": "EUR",
    "products": [{"sku": "s1", "price": 20.5}, {"sku": "s2"}],
}


def plan_of(text: str) -> TrackingPlan:
    """A plan as YAML."""
    return TrackingPlan.model_validate(yaml.safe_load(text))


def order(properties: Any, **more: Any) -> dict[str, Any]:
    """An `Order Completed`."""
    return {
        "type": "track",
        "messageId": "m1",
        "event": "Order Completed",
        "properties": properties,
        **more,
    }
