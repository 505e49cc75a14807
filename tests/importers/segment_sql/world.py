"""A small world of people whose story is told in one place, and the project that they are in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.models.traits.world import World

AS_OF = "2026-03-08"
PLAN = """
events:
  - name: Order Completed
    properties:
      - {name: total, type: number}
      - {name: coupon, type: string}
      - name: shipping
        type: object
        properties: [{name: cost, type: number}, {name: city, type: string}]
"""
VIP = """
select 'gus' as customer_id, 'gold' as tier
union all
select 'bob' as customer_id, 'silver' as tier
"""


def _message(kind: str, who: str, when: str, **more: Any) -> dict[str, Any]:
    """`who` is a user id, or an anonymous id where it begins with `a-`."""
    by = "anonymousId" if who.startswith("a-") else "userId"
    return {
        "messageId": f"{kind}-{who}-{when}-{more.get('event', '')}",
        "type": kind,
        by: who,
        "timestamp": f"2026-{when}T12:00:00Z",
        **more,
    }


def _view(who: str, when: str, price: float, **context: Any) -> dict[str, Any]:
    return _message("track", who, when, event="Product Viewed", properties={"price": price}, context=context)


def _order(who: str, when: str, total: float, **properties: Any) -> dict[str, Any]:
    return _message("track", who, when, event="Order Completed", properties={"total": total, **properties})


def _login(who: str, anonymous: str, when: str) -> dict[str, Any]:
    return {**_message("identify", who, when, traits={}), "anonymousId": anonymous}


def messages() -> Iterator[dict[str, Any]]:
    """What everybody did."""
    for who, plan in {
        "ann": "free",
        "bob": "pro",
        "cat": "free",
        "dan": "free",
        "eve": "pro",
        "fay": "free",
        "gus": "pro",
        "hal": "free",
    }.items():
        yield _message("identify", who, "01-01", traits={"email": f"{who}@example.com", "plan": plan})
    yield _view("ann", "03-05", 150, campaign={"name": "spring"}, page={"path": "/shoes"})
    yield _view("bob", "03-05", 200, campaign={"name": "autumn"})
    yield _order("bob", "03-06", 20, coupon="TEN")
    yield _view("cat", "03-05", 50)
    yield _view("dan", "02-01", 500)
    # eve browses before she logs in.
    yield _view("a-eve", "03-04", 300, campaign={"name": "spring"})
    yield _login("eve", "a-eve", "03-05")
    # fay orders before she logs in.
    yield _view("fay", "03-05", 120)
    yield _order("a-fay", "03-06", 30.5, gift=True)
    yield _login("fay", "a-fay", "03-07")
    for when, total in (("03-01", 50), ("03-03", 60), ("03-05", 70)):
        yield _order("gus", when, total, coupon="100", shipping={"cost": 9.5, "city": "Ghent"})
    yield _message("page", "hal", "03-07", name="Pricing", properties={"url": "https://x.example/pricing"})
    yield _message(
        "track", "hal", "03-07", event="signup", properties={"trialEndsAt": "2026-03-20T00:00:00Z"}
    )
    # Nobody knows whose this is.
    yield _view("a-nobody", "03-05", 999)


def make_world(folder: Path, output: Mapping[str, Any] | None = None) -> World:
    """The project, with its messages landed and nothing built; in the warehouse of a target."""
    world = World(folder, {"vip": VIP}, output=output)
    (folder / "tracking_plan.yaml").write_text(PLAN)
    world.load(lines=[json.dumps(message) for message in messages()])
    return world
