"""Identifiers from the audience to the wire: invalid ones are counted, spellings of one are one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from revetl.delivery.serializer import shaping_in
from revetl.sync.plan.options import SyncOptions
from revetl.sync.run import Progress, ReadyRun, Runner
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast

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


@pytest.fixture(params=["duckdb"])
def shop(tmp_path: Path, sandbox: SandboxClient, request: pytest.FixtureRequest) -> ProjectFolder:
    """A project with an audience `vips` for ads, by email and phone."""
    ads = {**ADS, "base_url": f"{sandbox.url}/facebook_ads"}
    project = ProjectFolder(tmp_path / "shop", {"ads": ads}, request.param)
    project.audience("vips", rows("('u0', 'zoe@example.com', null)"), meta())
    return project


def meta(**sync: Any) -> dict[str, Any]:
    by = {"EMAIL": "email", "PHONE": "phone"}
    return {"key": "user_id", "sync": [{"to": "ads", "max_change": "900%", "identifiers": by, **sync}]}


def state(project: ProjectFolder) -> dict[str, str]:
    return dict(project.sql("select key, identifiers from revetl.revetl.sync_state"))


@pytest.mark.parametrize("shop", first_fast(["duckdb", "postgres"]), indirect=True)
def test_one_phone_in_two_spellings_stays_while_a_member_has_it(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    ann, bob = "('u1', null, '(650) 555-0123')", "('u2', null, '+1 650 555 0123')"
    shop.audience("vips", rows(ann, bob))
    assert shop.open().sync("vips")[0].status == "success"
    shop.audience("vips", rows(bob))
    (run,) = shop.open().sync("vips")
    assert (run.status, run.planned["remove"]) == ("success", 0)
    assert list(dict.fromkeys(each["operation"] for each in sandbox.deliveries("facebook_ads"))) == [
        "find",
        "create",
        "add",
    ]
    assert set(state(shop)) == {"u2"}


def test_a_run_keeps_hashes_and_no_phone_number(shop: ProjectFolder) -> None:
    """Neither what it is about to send, nor its spool and journal, nor the state afterwards."""
    shop.audience("vips", rows("('u1', 'ann@example.com', '(650) 555-0123')", "('u2', null, '6505550124')"))
    workspace = shop.open().workspace
    (sync,) = workspace.syncs(workspace.audience("vips"))
    destination = workspace.destination(sync)
    shaping = shaping_in(workspace.root, sync, destination)
    runner = Runner(workspace, sync, SyncOptions(), Progress(), destination, shaping)
    ready = runner.spool()
    assert isinstance(ready, ReadyRun)
    kept = [str(shop.sql("select identifiers, fields from revetl.revetl.sync_intents"))]
    kept += [str(batch.to_pylist()) for _, batch in ready.spool.batches("add")]
    kept += [file.read_bytes().decode("latin1") for file in ready.spool.folder.glob("journal*")]
    assert runner.deliver(ready).status == "success"
    kept.append(str(state(shop)))
    for digits in ("16505550123", "16505550124"):
        assert sum(sha256(digits) in text for text in kept) == 3
    hidden = re.compile("|".join(map(sha256, ("16505550123", "16505550124", "ann@example.com"))))
    assert not re.findall("555|ann@", "".join(hidden.sub("", text) for text in kept))


def test_who_was_suppressed_by_a_phone_is_known_as_such_in_another_spelling(shop: ProjectFolder) -> None:
    ann, bob = "('u1', null, '(650) 555-0123')", "('u2', null, '6505550124')"
    shop.audience("vips", rows(ann, bob))
    shop.open().sync("vips")
    shop.sql(
        "insert into revetl.revetl.suppressions (identifier_type, identifier_value, suppressed_at) "
        "values ('phone', '+1 650-555-0124', timestamp '2026-01-01')"
    )
    shop.audience("vips", rows(ann))
    assert shop.open().sync("vips")[0].status == "success"
    assert shop.sql("select cause from revetl.revetl.sync_changes where operation = 'remove'") == [
        ("suppressed",)
    ]


def test_a_phone_that_is_only_spelled_anew_is_no_other_phone(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    shop.audience("vips", rows("('u1', null, '(650) 555-0123')"))
    shop.open().sync("vips")
    shop.audience("vips", rows("('u1', null, '+1 650 555 0123')"))
    (run,) = shop.open().sync("vips")
    assert (run.status, run.planned) == ("success", {"remove": 0, "update": 1, "add": 0})


@pytest.mark.parametrize("shop", first_fast(["duckdb", "postgres"]), indirect=True)
def test_a_state_of_an_older_version_re_sends_nobody_and_loses_no_remove(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    """An older version kept the phone number as it was written, and named what was set aside by it."""
    ann, bob, eve = (
        "('u1', null, '(650) 555-0123')",
        "('u2', null, '650 555 0124')",
        "('u3', null, '6505550125')",
    )
    shop.audience("vips", rows(ann, bob, eve))
    shop.open().sync("vips")
    for key, text in (("u1", "(650) 555-0123"), ("u2", "650 555 0124"), ("u3", "6505550125")):
        shop.sql(
            "update revetl.revetl.sync_state set hash_by = replace(hash_by, ' sent', ''), "
            f'identifiers = \'{{"EMAIL":null,"PHONE":"{text}"}}\' where key = \'{key}\''
        )
    shop.sql(
        "insert into revetl.revetl.sync_state (sync, key, row_hash, hash_by, identifiers, fields, "
        "acknowledged_at, run_id) "
        'select sync, \'u9 was {"EMAIL":null,"PHONE":"650 555 0129"}\', '
        '0, hash_by, \'{"EMAIL":null,"PHONE":"650 555 0129"}\', fields, acknowledged_at, run_id '
        "from revetl.revetl.sync_state where key = 'u1'"
    )
    shop.audience("vips", rows(ann, bob))
    (plan,) = shop.open().plan("vips")
    assert (plan.add, plan.update, plan.remove) == (0, 0, 2)
    (run,) = shop.open().sync("vips")
    assert (run.status, run.planned) == ("success", {"remove": 2, "update": 0, "add": 0})
    removed = sandbox.deliveries("facebook_ads")[-1]
    assert sha256("16505550125") in str(removed)
    kept = state(shop)
    assert set(kept) == {"u1", "u2"}
    assert not any(
        "555" in text.replace(sha256(p), "")
        for text in kept.values()
        for p in ("16505550123", "16505550124")
        if sha256(p) in text
    )
    assert shop.open().sync("vips")[0].planned == {"remove": 0, "update": 0, "add": 0}


def test_a_text_that_an_older_version_kept_and_never_sent_is_not_sent_to_take_somebody_out(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    bob = "('u2', 'bob@example.com', '650 555 0124')"
    shop.audience("vips", rows("('u1', 'ann@example.com', 'ext. 12')", bob))
    shop.open().sync("vips")
    shop.sql(
        "update revetl.revetl.sync_state set hash_by = replace(hash_by, ' sent', ''), "
        'identifiers = replace(identifiers, \'"PHONE":null\', \'"PHONE":"ext. 12"\')'
    )
    shop.audience("vips", rows(bob))
    (run,) = shop.open().sync("vips")
    assert (run.status, run.planned) == ("success", {"remove": 1, "update": 0, "add": 0})
    removed = str(sandbox.deliveries("facebook_ads")[-1])
    assert sha256("ann@example.com") in removed
    assert "ext. 12" not in removed


@pytest.mark.parametrize("shop", first_fast(["duckdb", "postgres"]), indirect=True)
def test_emails_and_phones_that_are_none_are_counted_and_not_hashed(shop: ProjectFolder) -> None:
    shop.audience(
        "vips",
        rows(
            "('u1', 'ann@example.com', '(650) 555-0123')",
            "('u2', 'N/A', '(650) 555-0124')",
            "('u3', '-', 'call me')",
            "('u4', 'a b@c.co', null)",
            "('u5', null, '')",
        ),
    )
    (plan,) = shop.open().plan("vips")
    assert plan.preview is not None
    assert plan.preview.share == 0.4
    assert {each.name: (each.share, each.invalid) for each in plan.preview.identifiers} == {
        "EMAIL": (0.2, 3),
        "PHONE": (0.4, 1),
    }
    (run,) = shop.open().sync("vips")
    assert run.delivered == {"remove": 0, "update": 0, "add": 2}
    assert run.invalid_identifiers == {"EMAIL": 3, "PHONE": 1}
    assert shop.sql("select invalid_identifiers from revetl.revetl.sync_runs") == [
        ('{"EMAIL": 3, "PHONE": 1}',)
    ]
    nobody = "it has no identifier that the destination supports"
    reasons = "select key, reason from revetl.revetl.sync_rejections order by key"
    assert shop.sql(reasons) == [
        (
            "u3",
            f"{nobody}: EMAIL '-' is not a valid email address; PHONE 'call me' is not a valid phone number "
            "(phone_region: US)",
        ),
        ("u4", f"{nobody}: EMAIL 'a b@c.co' is not a valid email address"),
        ("u5", nobody),
    ]
    # What is unchanged and known to be none is counted in later runs, too.
    (run,) = shop.open().sync("vips")
    assert run.invalid_identifiers == {"EMAIL": 3, "PHONE": 1}
