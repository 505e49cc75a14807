"""What identifies nobody is not sent: blank, invalid and misspelled identifiers, from audience to wire."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SandboxClient
from tests.support.project import ProjectFolder

ADS: dict[str, Any] = {
    "type": "facebook_ads",
    "ad_account_id": "7",
    "access_token": "TOKEN",
    "phone_region": "US",
    "retries": 0,
}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def rows(*values: str) -> str:
    return f"select * from (values {', '.join(values)}) as t (user_id, email, phone)"


@pytest.fixture
def shop(tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    """A project with an audience `vips` for ads, by email and phone."""
    project = ProjectFolder(tmp_path / "shop", {"ads": {**ADS, "base_url": f"{sandbox.url}/facebook_ads"}})
    project.audience("vips", rows("('u0', 'zoe@example.com', null)"), meta())
    return project


def meta(**sync: Any) -> dict[str, Any]:
    by = {"EMAIL": "email", "PHONE": "phone"}
    return {"key": "user_id", "sync": [{"to": "ads", "max_change": 9, "identifiers": by, **sync}]}


def state(project: ProjectFolder) -> dict[str, str]:
    return dict(project.sql("select key, identifiers from revetl.revetl.sync_state"))


def test_one_phone_in_two_spellings_stays_while_a_member_has_it(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    ann, bob = "('u1', null, '(650) 555-0123')", "('u2', null, '+1 650 555 0123')"
    shop.audience("vips", rows(ann, bob))
    assert shop.open().sync("vips")[0].status == "success"
    shop.audience("vips", rows(bob))
    (run,) = shop.open().sync("vips")
    assert (run.status, run.planned["remove"]) == ("success", 0)
    assert [each["operation"] for each in sandbox.requests("facebook_ads")] == ["find", "create", "add"]
    assert set(state(shop)) == {"u2"}


def test_the_state_keeps_hashes_and_no_phone_number(shop: ProjectFolder) -> None:
    shop.audience("vips", rows("('u1', 'ann@example.com', '(650) 555-0123')"))
    shop.open().sync("vips")
    kept = state(shop)
    assert sha256("16505550123") in kept["u1"]
    assert "555" not in kept["u1"].replace(sha256("16505550123"), "").replace(sha256("ann@example.com"), "")
