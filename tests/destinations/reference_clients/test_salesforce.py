"""What we say to Salesforce against what simple-salesforce says: the sandbox holds the same after both."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import requests
from joserfc import jwt
from joserfc.jwk import RSAKey
from simple_salesforce.api import Salesforce
from simple_salesforce.format import format_soql

from revetl.destinations.auth.oauth_grants import jwt_bearer
from revetl.destinations.salesforce.soql import literal, select
from tests.conftest import SandboxClient
from tests.helpers.project import ProjectFolder

NAME = "o'neil\\s\nown"
KEY = RSAKey.generate_key(2048)
PEM = KEY.as_pem(private=True).decode()
PEOPLE = """
    select * from (values
        ('u1', 'Lovelace', 'ada@example.com', 1.5), ('u2', 'O''Neil "🎯", jr', null, null),
        ('u3', null, 'marie@example.com', 3), ('u4', 'Curie', 'not an address', 4)
    ) as t (user_id, last_name, email, score)
"""
ROWS: list[dict[str, Any]] = [
    {"External_Id__c": "u1", "LastName": "Lovelace", "Email": "ada@example.com", "Score__c": 1.5},
    {"External_Id__c": "u2", "LastName": 'O\'Neil "🎯", jr', "Email": None, "Score__c": None},
    {"External_Id__c": "u3", "LastName": None, "Email": "marie@example.com", "Score__c": 3},
    {"External_Id__c": "u4", "LastName": "Curie", "Email": "not an address", "Score__c": 4},
]
CONFIG: dict[str, Any] = {"external_id_field": "External_Id__c", "client_id": "ID", "client_secret": "SECRET"}
SYNC: dict[str, Any] = {"fields": {"LastName": "last_name", "Email": "email", "Score__c": "score"}}


class Redirected(requests.Session):
    """Whatever the address, it is the sandbox that is asked."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._sandbox = url
        self.forms: list[dict[str, Any]] = []

    def request(self, method: Any, url: Any, *args: Any, **rest: Any) -> requests.Response:
        path = str(url).split("/", 3)[3]
        if "oauth2" in path:
            self.forms.append(rest["data"])
        return super().request(method, f"{self._sandbox}/{path}", *args, **rest)


def client(sandbox: SandboxClient, name: str) -> tuple[Any, Redirected]:
    """simple-salesforce, logged in to a sandbox of its own by a signed assertion."""
    session = Redirected(f"{sandbox.url}/{name}")
    made = Salesforce(
        username="sync@acme.example",
        consumer_key="ID",
        privatekey=PEM,
        session=session,
        version="62.0",
    )
    return made, session


def held(sandbox: SandboxClient, name: str) -> dict[str, Any]:
    """What a destination holds, but for the ids of records."""
    found: dict[str, Any] = httpx.get(f"{sandbox.url}/_/members/{name}").json()
    profiles = {
        person: {k: v for k, v in fields.items() if k != "Id"} for person, fields in found["profiles"].items()
    }
    members = {audience: sorted(each["members"]) for audience, each in found["audiences"].items()}
    return {"profiles": profiles, "members": members}


def calls(sandbox: SandboxClient, name: str) -> list[tuple[str, str, list[str]]]:
    """What was written there: method, path and whose records, without polling and reading."""
    written = ("upsert", "insert", "delete", "create", "job", "upload", "close")
    return [
        (entry["method"], entry["path"].removeprefix(f"/{name}").rstrip("/"), entry["ids"])
        for entry in sandbox.requests(name)
        if entry["operation"] in written
    ]


@pytest.fixture
def project(tmp_path: Path, sandbox: SandboxClient) -> ProjectFolder:
    own = {**CONFIG, "type": "salesforce", "base_url": f"{sandbox.url}/salesforce.ours"}
    bulk = {
        **own,
        "base_url": f"{sandbox.url}/salesforce.ours_bulk",
        "object": "Contact",
        "bulk_threshold": 1,
    }
    made = ProjectFolder(tmp_path / "shop", {"crm": own, "bulk": bulk})
    meta = {"key": "user_id", "sync": [{"to": "crm", **SYNC}, {"to": "bulk", "mode": "upsert", **SYNC}]}
    made.audience("vips", PEOPLE, meta)
    return made


@pytest.mark.slow
def test_collections_and_members(project: ProjectFolder, sandbox: SandboxClient) -> None:
    runs = {run.destination: run for run in project.open().sync("vips")}
    other, _ = client(sandbox, "salesforce.theirs")
    described = other.Contact.describe()
    assert described is not None
    assert {"LastName", "Email", "Score__c"} <= {field["name"] for field in described["fields"]}
    assert other.query("SELECT Id FROM Campaign WHERE Name = 'vips'")["totalSize"] == 0
    campaign = other.Campaign.create({"Name": "vips", "IsActive": True})["id"]
    attributes = {"attributes": {"type": "Contact"}}
    body = {"allOrNone": False, "records": [{**attributes, **row} for row in ROWS]}
    answers = other.restful("composite/sobjects/Contact/External_Id__c", method="PATCH", json=body)
    assert [each["success"] for each in answers] == [True, True, False, False]
    members = [
        {"attributes": {"type": "CampaignMember"}, "CampaignId": campaign, "ContactId": each["id"]}
        for each in answers
        if each["success"]
    ]
    other.restful("composite/sobjects", method="POST", json={"allOrNone": False, "records": members})
    assert runs["crm"].rejected["add"] == 2
    assert held(sandbox, "salesforce.ours") == held(sandbox, "salesforce.theirs")
    assert held(sandbox, "salesforce.ours")["members"] == {"vips": ["u1", "u2"]}
    assert calls(sandbox, "salesforce.ours") == calls(sandbox, "salesforce.theirs")
    assert other.api_usage["api-usage"].total == 100_000


@pytest.mark.slow
def test_a_job(project: ProjectFolder, sandbox: SandboxClient) -> None:
    runs = {run.destination: run for run in project.open().sync("vips")}
    other, _ = client(sandbox, "salesforce.theirs_bulk")
    texts = [{name: "#N/A" if value is None else str(value) for name, value in row.items()} for row in ROWS]
    (told,) = other.bulk2.Contact.upsert(records=texts, external_id_field="External_Id__c", wait=0.1)
    failed = csv.DictReader(io.StringIO(other.bulk2.Contact.get_failed_records(told["job_id"])))
    assert {line["External_Id__c"]: line["sf__Error"].partition(":")[0] for line in failed} == {
        "u3": "REQUIRED_FIELD_MISSING",
        "u4": "INVALID_EMAIL_ADDRESS",
    }
    assert runs["bulk"].rejected["add"] == told["numberRecordsFailed"] == 2
    assert held(sandbox, "salesforce.ours_bulk") == held(sandbox, "salesforce.theirs_bulk")
    assert calls(sandbox, "salesforce.ours_bulk") == calls(sandbox, "salesforce.theirs_bulk")


def test_a_signed_assertion(sandbox: SandboxClient) -> None:
    _, session = client(sandbox, "salesforce.theirs")
    (theirs,) = session.forms
    grant = jwt_bearer(
        "https://login.salesforce.com/services/oauth2/token",
        issuer="ID",
        subject="sync@acme.example",
        audience="https://login.salesforce.com",
        key=PEM.replace("\n", "\\n"),
    )
    ours = {name: value for name, (value,) in parse_qs(grant(None).content.decode()).items()}
    assert ours["grant_type"] == theirs["grant_type"]
    tokens = [jwt.decode(form["assertion"], KEY, algorithms=["RS256"]) for form in (ours, theirs)]
    named = [{name: token.claims[name] for name in ("iss", "sub", "aud")} for token in tokens]
    assert named[0] == named[1]
    assert abs(int(tokens[0].claims["exp"]) - int(tokens[1].claims["exp"])) < 150


def test_a_query_of_names_with_quotes(sandbox: SandboxClient) -> None:
    other, _ = client(sandbox, "salesforce.theirs")
    other.Campaign.create({"Name": NAME, "IsActive": True})
    text = format_soql("SELECT Id FROM Campaign WHERE Name = {}", NAME)
    assert select(["Id"], "Campaign", f"Name = {literal(NAME)}") == text
    assert other.query(text)["totalSize"] == 1
