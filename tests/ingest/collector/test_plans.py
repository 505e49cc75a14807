"""The tracking plan at the edge: blocked events are reported, and stored all the same."""

from __future__ import annotations

from pathlib import Path

from tests.ingest.collector.running import KEY, make_project, running, track

PLAN = """
unplanned_events: block
events:
  - name: Order Completed
    on_violation: block
    properties:
      - {name: total, type: number, required: true}
"""


def test_what_the_plan_blocks_is_reported_and_stored(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (tmp_path / "tracking_plan.yaml").write_text(PLAN)
    batch = [
        track(messageId="good", properties={"total": 5}),
        track(messageId="wrong", properties={"total": "secret value"}),
        track(messageId="unplanned", event="Other"),
    ]
    with running(project) as collector:
        answer = collector.post("/v1/batch", {"batch": batch}).json()
        settings = collector.client.get(f"/v1/projects/{KEY}/settings").json()
        blocked = collector.metric('revetl_plan_violations_total{source="web",action="block"}')
        stored = collector.messages("tracks", "id")
    assert [each["messageId"] for each in answer["blocked"]] == ["wrong", "unplanned"]
    assert "secret value" not in str(answer)
    assert (answer["blocked_count"], blocked) == (2, 2)
    assert stored == [("good",), ("unplanned",), ("wrong",)]
    plan = settings["plan"]["track"]
    assert (plan["__default"]["enabled"], plan["Order Completed"]["enabled"]) == (False, True)


def test_a_message_is_checked_as_transformed(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (tmp_path / "tracking_plan.yaml").write_text(PLAN)
    (tmp_path / "transformations.yaml").write_text(
        "transformations: [{event: order_done, rename_event: Order Completed, cast: {total: number}}]"
    )
    with running(project) as collector:
        answer = collector.post("/v1/t", track(event="order_done", properties={"total": "5"})).json()
        stored = collector.messages("tracks", "event_text", "properties ->> 'total'")
    assert (answer, stored) == ({"success": True}, [("order_done", "5")])
