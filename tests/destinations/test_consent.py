"""Nobody who has unsubscribed is subscribed again, whatever is mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revetl.destinations import make_destination
from revetl.destinations.base.consent import towards_less
from revetl.destinations.base.destination import Record, Records
from revetl.destinations.braze.destination import LESS
from revetl.destinations.intercom.contact import contact
from revetl.destinations.iterable.users import NEVER
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(("unsubscribed", "subscribed", "opted_in", "")),
    st.lists(st.integers(0, 2)),
)
BRAZE = make_destination({"type": "braze", "region": "us-05", "api_key": "KEY"}, "test")
ITERABLE = make_destination({"type": "iterable", "api_key": "KEY"}, "test")


def body_of(destination: Any, operation: str, fields: dict[str, Any]) -> Any:
    """The first request's body, of one person."""
    known = {"external_id": "u1"} if destination is BRAZE else {"email": "ada@example.com"}
    records = Records("s", "vips", "run", operation, (Record("u1", known, fields, "run"),), audience_id="7")
    flow = getattr(destination, operation)(records)
    try:
        return orjson.loads(next(flow).content)
    finally:
        flow.close()


@given(
    st.dictionaries(st.sampled_from([*LESS, "plan"]), VALUES), st.sampled_from(("upsert", "add", "change"))
)
def test_braze_is_told_towards_less(fields: dict[str, Any], operation: str) -> None:
    (sent,) = body_of(BRAZE, operation, fields)["attributes"]
    assert all(sent[name] == "unsubscribed" for name in LESS if name in sent)
    assert "subscription_groups" not in sent
    assert ("plan" in sent) is ("plan" in fields)


@given(st.dictionaries(st.sampled_from([*NEVER, "plan"]), VALUES), st.sampled_from(("upsert", "add")))
def test_iterable_is_told_nothing(fields: dict[str, Any], operation: str) -> None:
    body = body_of(ITERABLE, operation, fields)
    (sent,) = body.get("users") or body["subscribers"]
    assert set(sent["dataFields"]) == {"plan"} & set(fields)


@given(st.fixed_dictionaries({"unsubscribed_from_emails": VALUES, "name": VALUES}))
def test_intercom_is_told_towards_less(fields: dict[str, Any]) -> None:
    assert contact(fields).get("unsubscribed_from_emails", True) is True


def test_other_fields_are_as_they_were() -> None:
    assert towards_less({"a": 1, "b": None, "c": "no"}, {"c": ("yes",)}) == {"a": 1, "b": None}


@pytest.mark.slow
def test_who_left_a_group_of_braze_is_not_put_back(tmp_path: Path, sandbox: SandboxClient) -> None:
    url = f"{sandbox.url}/braze"
    group = {"audiences_as": "subscription_group", "audience_id": "news"}
    own = {"type": "braze", "api_key": "k", "base_url": url, **group}
    project = ProjectFolder(tmp_path / "shop", {"braze": own})
    left = {"subscription_group_id": "news", "subscription_state": "unsubscribed", "external_ids": ["u1"]}
    answer = httpx.post(
        f"{url}/v2/subscription/status/set",
        json={"subscription_groups": [left]},
        headers={"Authorization": "Bearer k"},
    )
    assert answer.status_code == 201
    people = "select * from (values ('u1', 1), ('u2', 2)) as t (user_id, score)"
    project.audience("news", people, {"key": "user_id", "sync": [{"to": "braze", "max_change": "200%"}]})
    (run,) = project.open().sync("news")
    assert run.rejected["add"] == 1
    assert set(sandbox.members("braze", "news")) == {"u2"}
    (again,) = project.open().sync("news", retry=True)
    assert again.rejected["add"] == 1
    assert set(sandbox.members("braze", "news")) == {"u2"}
