"""A destination's words about a person are not kept for longer than the person."""

from __future__ import annotations

import pytest

from revetl.delivery.scrub import scrub
from tests.helpers.gate import Answer, gate
from tests.helpers.project import ProjectFolder

RECORD = '{"email": "Ada@Example.com", "phone": "+44 7911 123456", "n": 7, "ok": true}'
FIELDS = '{"first_name": "Ada", "company": {"name": "Analytical Engines"}, "score": 12345}'


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("ada@example.com is invalid (field: email, code 100)", "[…] is invalid (field: email, code 100)"),
        ("INVALID_EMAIL: 'someone.else+x@mail.example.co.uk'", "INVALID_EMAIL: '[…]'"),
        ("bob%40example.com was not found", "[…] was not found"),
        ("phone +44 7911 123456 is no number", "phone […] is no number"),
        ("phone +49 (151) 234-56789 is no number", "phone […] is no number"),
        ("Ada of Analytical Engines has unsubscribed", "[…] of […] has unsubscribed"),
        ("score 12345 is above 100", "score […] is above 100"),
        ("hash 5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5", "hash […]"),
        ("400 at 2024-05-01T10:00:00.000Z: request 7 failed, code 1487366", None),
        ("Adamant is no word of hers; REQUIRED_FIELD_MISSING: LastName -- ", None),
    ],
)
def test_a_reason_keeps_its_code_and_field_and_names_nobody(said: str, kept: str | None) -> None:
    assert scrub(said, RECORD, FIELDS) == (said if kept is None else kept)


def test_what_is_kept_of_a_rejection_after_the_person_is_gone_names_nobody(tmp_path: object) -> None:
    project = ProjectFolder(tmp_path / "shop")  # type: ignore[operator]
    body = (
        '{"rejected": [{"id": "ada@example.com", '
        '"reason": "ada@example.com of Ada has unsubscribed (code 7)"}], "others": "bob@example.com"}'
    )
    with gate(lambda seen: Answer(body=body)) as here:
        project.destinations({"crm": {"type": "webhook", "url": here.url}})
        query = "select 'k1' as user_id, 'ada@example.com' as email, 'Ada' as name"
        sync = {"to": "crm", "identifiers": {"id": "email"}, "fields": ["name"]}
        project.audience("vips", query, {"key": "user_id", "sync": [sync]})
        (run,) = project.open().sync("vips")
    ((reason,),) = project.sql("select reason from revetl.revetl.sync_changes")
    ((shown, answer),) = project.sql("select reason, answer from revetl.revetl.sync_rejections")
    assert (run.status, reason) == ("rejected", "[…] of […] has unsubscribed (code 7)")
    # Until it is accepted, the rejection itself says which value is wrong; of others it says nothing.
    assert shown == "ada@example.com of Ada has unsubscribed (code 7)"
    assert "bob@" not in answer


def test_the_error_of_a_run_names_nobody(tmp_path: object) -> None:
    project = ProjectFolder(tmp_path / "shop")  # type: ignore[operator]
    with gate(lambda seen: Answer(401, body="ask ops@vendor.example, +44 7911 123456")) as here:
        project.destinations({"crm": {"type": "webhook", "url": here.url}})
        project.audience("vips", "select 'k1' as user_id", {"key": "user_id", "sync": [{"to": "crm"}]})
        project.open().sync("vips")
    ((error,),) = project.sql("select error from revetl.revetl.sync_runs")
    assert error == "127.0.0.1 refused the request: 401 Said ask […], […]."
