"""What we say to SendGrid against what its own client says: the sandbox holds the same after both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SandboxClient
from tests.helpers.holding import held
from tests.helpers.ours import synced_by_us

sendgrid = pytest.importorskip("sendgrid")

PEOPLE = """
    select * from (values
        ('u1', 'Ada@example.com', 'Ada "🎯"', 1.5), ('u2', 'marie@example.com', 'Marie', 7),
        ('u3', 'no address', 'Nobody', 3)
    ) as t (user_id, email, first_name, score)
"""
CONTACTS: list[dict[str, Any]] = [
    {"email": "ada@example.com", "first_name": 'Ada "🎯"', "custom_fields": {"e1_N": 1.5}},
    {"email": "marie@example.com", "first_name": "Marie", "custom_fields": {"e1_N": 7}},
]


@pytest.mark.slow
def test_contacts_and_lists(tmp_path: Path, sandbox: SandboxClient) -> None:
    ours = {"type": "sendgrid", "api_key": "SG.KEY", "base_url": f"{sandbox.url}/sendgrid.ours"}
    fields = {"first_name": "first_name", "score": "score"}
    sync = {"identifiers": {"email": "email"}, "fields": fields}
    project = synced_by_us(tmp_path / "shop", ours, PEOPLE, sync)

    client = sendgrid.SendGridAPIClient("SG.KEY", host=f"{sandbox.url}/sendgrid.theirs").client.marketing
    told = json.loads(client.field_definitions.get().body)
    assert {each["id"]: each["name"] for each in told["custom_fields"]}["e1_N"] == "score"
    made = json.loads(client.lists.post(request_body={"name": "vips"}).body)["id"]
    answer = client.contacts.put(request_body={"list_ids": [made], "contacts": CONTACTS})
    assert answer.status_code == 202
    job = client.contacts.imports._(json.loads(answer.body)["job_id"])
    assert [json.loads(job.get().body)["status"] for _ in range(2)] == ["pending", "completed"]
    assert held(sandbox, "sendgrid.ours") == held(sandbox, "sendgrid.theirs")

    project.audience("vips", f"select * from ({PEOPLE}) where user_id = 'u1'")
    project.open().sync("vips")
    found = json.loads(
        client.contacts.search.emails.post(request_body={"emails": ["marie@example.com"]}).body
    )
    ids = found["result"]["marie@example.com"]["contact"]["id"]
    client.lists._(made).contacts.delete(query_params={"contact_ids": ids})
    assert held(sandbox, "sendgrid.ours") == held(sandbox, "sendgrid.theirs")
    assert held(sandbox, "sendgrid.ours")["members"] == {"vips": ["ada@example.com"]}


def test_an_email_is_the_one_that_its_own_client_makes(tmp_path: Path, sandbox: SandboxClient) -> None:
    mail = pytest.importorskip("sendgrid.helpers.mail")
    settings = {
        "from": {"email": "shop@example.com", "name": "Shop"},
        "reply_to": "help@example.com",
        "events": {"Order Completed": {"template_id": "d-order", "categories": ["orders", "shop"]}},
        "asm": {"group_id": 14, "groups_to_display": [12, 14]},
        "to_name": "first_name",
    }
    ours = {
        "type": "sendgrid",
        "api_key": "SG.KEY",
        "base_url": f"{sandbox.url}/sendgrid.ours",
        "mail": settings,
    }
    sync = {
        "mode": "events",
        "event": "Order Completed",
        "identifiers": {"email": "email"},
        "fields": {"first_name": "first_name", "total": "score"},
    }
    synced_by_us(tmp_path / "shop", ours, PEOPLE, sync)

    client = sendgrid.SendGridAPIClient("SG.KEY", host=f"{sandbox.url}/sendgrid.theirs")
    for email, name, total in (("ada@example.com", 'Ada "🎯"', 1.5), ("marie@example.com", "Marie", 7.0)):
        message = mail.Mail(from_email=mail.From("shop@example.com", "Shop"))
        message.reply_to = mail.ReplyTo("help@example.com")
        message.template_id = mail.TemplateId("d-order")
        message.category = [mail.Category("shop"), mail.Category("orders")]
        message.asm = mail.Asm(mail.GroupId(14), mail.GroupsToDisplay([12, 14]))
        personal = mail.Personalization()
        personal.add_to(mail.To(email, name))
        personal.dynamic_template_data = {"first_name": name, "total": total}
        message.add_personalization(personal)
        assert client.send(message).status_code == 202
    found = [sorted(held(sandbox, f"sendgrid.{whose}")["events"], key=str) for whose in ("ours", "theirs")]
    for each in (*found[0], *found[1]):
        each["properties"]["categories"].sort()
    assert found[0] == found[1]
    assert [each["person"] for each in found[0]] == ["ada@example.com", "marie@example.com"]
