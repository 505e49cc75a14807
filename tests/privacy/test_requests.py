"""Requests: the closure of a person, what is stored, and whom a suppression keeps from being sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from revetl.privacy import closure
from revetl.privacy.requests import GivenIdentifier, PrivacyRequest
from revetl.privacy.store import RequestOptions, list_requests, make_requests, show_request
from revetl.warehouse import Warehouse
from tests.conftest import Cli
from tests.helpers.project import ProjectFolder
from tests.privacy.support import identifier_id, identity

ADA = [("user_id", "u1"), ("email", "ada@x.co"), ("anonymous_id", "a1"), ("anonymous_id", "a2")]
BEN = [("user_id", "u2"), ("email", "ben@x.co"), ("phone", "+16505551212")]
META = {"key": "user_id", "sync": [{"to": "crm"}]}


def closure_of(request: PrivacyRequest) -> set[tuple[str, str, str]]:
    return {(each.type, each.value, each.role) for each in request.identifiers}


def asked(project: ProjectFolder, *values: str, dry_run: bool = True, **options: Any) -> list[PrivacyRequest]:
    given = [GivenIdentifier(value) for value in values]
    made = make_requests(project.open().workspace, given, RequestOptions(**options), dry_run=dry_run)
    return list(made.requests)


ADA_BY_EMAIL = {
    ("user_id", "u1", "profile"),
    ("email", "ada@x.co", "requested"),
    ("anonymous_id", "a1", "profile"),
    ("anonymous_id", "a2", "profile"),
    ("canonical_id", identifier_id("user_id", "u1"), "profile"),
}


@pytest.mark.parametrize("given", ["ada@x.co", " ADA@X.co ", "email:ada@x.co", "email: Ada@x.co"])
def test_a_request_resolves_to_every_identifier_of_the_profile(shop: ProjectFolder, given: str) -> None:
    identity(shop, [ADA, BEN])
    (request,) = asked(shop, given)
    assert closure_of(request) == ADA_BY_EMAIL
    assert request.status == "initialized"


def test_a_canonical_id_and_one_that_was_merged_away_name_the_profile(shop: ProjectFolder) -> None:
    identity(shop, [ADA, BEN], merges=[(("anonymous_id", "a2"), ("user_id", "u1"))])
    merged = identifier_id("anonymous_id", "a2")
    own, lost = asked(shop, identifier_id("user_id", "u1"), merged)
    for request, by in ((own, ("user_id", "u1")), (lost, ("anonymous_id", "a2"))):
        named = {(kind, value) for kind, value, _ in closure_of(request)}
        assert named == {*ADA, ("canonical_id", identifier_id("user_id", "u1")), ("canonical_id", merged)}
        assert (*by, "requested") in closure_of(request)


def test_a_phone_number_is_found_and_suppressed_in_every_spelling(shop: ProjectFolder) -> None:
    identity(shop, [ADA, BEN])
    shop.sql(
        "update int_revetl__identity_graph set identifier_value = '16505551212' "
        "where identifier_type = 'phone'"
    )
    (request,) = asked(shop, "+1 (650) 555-1212", phone_region="US")
    phones = {value for kind, value, _ in closure_of(request) if kind == "phone"}
    assert phones == {"16505551212", "0016505551212", "01116505551212", "6505551212", "06505551212"}


def test_a_shared_identifier_is_listed_and_followed_only_on_demand(shop: ProjectFolder) -> None:
    phone = ("phone", "+16505551212")
    identity(shop, [ADA, BEN], conflicts=[(("user_id", "u1"), phone)])
    ada, ben = asked(shop, "u1", "u2")
    assert {each for each in closure_of(ada) if each[2] == "shared"} == {(*phone, "shared")}
    assert ("user_id", "u2") not in {each[:2] for each in closure_of(ada)}
    assert {each for each in closure_of(ben) if each[2] == "shared"} == {(*phone, "shared")}
    (followed,) = asked(shop, "u1", follow=True)
    assert {*ADA, *BEN} <= {each[:2] for each in closure_of(followed)}
    assert not {each for each in closure_of(followed) if each[2] == "shared"}


def test_an_identifier_of_nobody_or_of_two_people_is_invalid(shop: ProjectFolder) -> None:
    phone = ("phone", "+16505551212")
    twin = [("user_id", "u3"), ("anonymous_id", "u1")]
    identity(shop, [ADA, BEN, twin], conflicts=[(("user_id", "u1"), phone)])
    nobody, several, shared = asked(shop, "zoe@x.co", "u1", "+16505551212")
    assert [each.status for each in (nobody, several, shared)] == ["invalid"] * 3
    assert (nobody.detail, several.detail, shared.detail) == (
        closure.NOBODY,
        closure.SEVERAL,
        closure.SHARED_BY,
    )
    assert not (nobody.identifiers or several.identifiers or shared.identifiers)
    (named,) = asked(shop, "user_id:u1")
    assert named.status == "initialized"


def test_a_person_of_a_message_that_no_build_has_seen_is_known(shop: ProjectFolder) -> None:
    identity(shop, [BEN])
    file = shop.root / "new.ndjson"
    message = {"type": "identify", "messageId": "m1", "userId": "u9", "traits": {"email": "New@x.co"}}
    file.write_text(json.dumps(message) + "\n")
    shop.open().load([file])
    by_id, by_email, nobody = asked(shop, "u9", "new@x.co", "u8")
    assert closure_of(by_id) == {("user_id", "u9", "requested")}
    assert closure_of(by_email) == {("email", "new@x.co", "requested")}
    assert nobody.status == "invalid"


def test_a_project_without_identity_resolution_knows_whom_it_has_delivered(
    shop: ProjectFolder, cli: Cli
) -> None:
    shop.audience("vips", "select 'u1' as user_id, 'Ada@x.co' as email", META)
    assert cli(shop, "sync", "--all").returncode == 0
    known, nobody = asked(shop, "u1", "u2")
    assert (known.status, nobody.status) == ("initialized", "invalid")


def test_a_stored_request_is_listed_and_shown_with_its_places(shop: ProjectFolder, cli: Cli) -> None:
    identity(shop, [ADA, BEN])
    done = cli(
        *(shop, "privacy", "request", "--delete", "ada@x.co", "zoe@x.co"),
        *("--requested-by", "Dana", "--reason", "ticket 7", "-o", "json"),
    )
    assert done.returncode == 1
    ada, zoe = json.loads(done.stdout)["requests"]
    workspace = shop.open().workspace
    listed = {each.request_id: each.status for each in list_requests(workspace)}
    assert listed == {ada["request_id"]: "initialized", zoe["request_id"]: "invalid"}
    shown = show_request(workspace, ada["request_id"])
    assert closure_of(shown) == ADA_BY_EMAIL
    assert (shown.requested_by, shown.reason) == ("Dana", "ticket 7")
    assert [each.place for each in shown.places] == [
        *("destination:crm", "local", "models", "raw", "snapshots", "state")
    ]
    assert {each.status for each in shown.places} == {"initialized"}
    assert show_request(workspace, zoe["request_id"]).places == ()
    # Nothing is kept of an identifier of nobody.
    stored = shop.sql("select identifier_value from revetl.revetl.privacy_requests order by 1")
    assert sorted(map(str, stored)) == sorted(map(str, [("ada@x.co",), (None,)]))
    text = cli(shop, "privacy", "show", ada["request_id"]).stdout
    assert "email:ada@x.co   (requested)" in text
    assert "Dana" in text
    assert cli(shop, "privacy", "show", "nothing").returncode == 2


def test_a_dry_run_stores_nothing(shop: ProjectFolder, cli: Cli) -> None:
    identity(shop, [ADA, BEN])
    done = cli(shop, "privacy", "request", "--suppress-with-delete", "ada@x.co", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "email:ada@x.co   (requested)" in done.stdout
    assert "destination:crm" in done.stdout
    assert "Nothing was stored." in done.stdout
    assert list_requests(shop.open().workspace) == []


def test_requests_come_from_a_file_or_a_table(shop: ProjectFolder, cli: Cli, tmp_path: Path) -> None:
    identity(shop, [ADA, BEN])
    file = tmp_path / "people.csv"
    file.write_text("email,user_id\nada@x.co,\n,u2\n")
    done = cli(shop, "privacy", "request", "--delete", "--file", str(file), "-o", "json")
    assert done.returncode == 0, done.stderr
    assert [len(each["identifiers"]) for each in json.loads(done.stdout)["requests"]] == [5, 4 + 2]
    shop.audience("leaving", "select 'u1' as user_id", {"key": "user_id", "sync": [{"to": "crm"}]})
    done = cli(shop, "privacy", "request", "--delete", "--table", "leaving", "-o", "json")
    assert [each["status"] for each in json.loads(done.stdout)["requests"]] == ["initialized"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"email\na@x.co,more\n", "line 2: has more values than the header has columns"),
        (b"email,user_id\n,\n", "line 2: has no identifier"),
        (b"email\n\xff\xfe\n", "is not a text file in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_with_its_line(
    project: ProjectFolder, cli: Cli, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(content)
    done = cli(project, "privacy", "request", "--delete", "--file", str(file))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--delete", "--suppress"]])
def test_exactly_one_type_of_request_is_named(project: ProjectFolder, cli: Cli, arguments: list[str]) -> None:
    done = cli(project, "privacy", "request", "u1", *arguments)
    assert done.returncode == 2
    assert "Use exactly one of: --delete, --suppress" in done.stderr


class _Counting:
    """A warehouse that counts its statements."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse, self.count = warehouse, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._warehouse, name)
        if name in ("run", "rows", "stream", "load", "temporary", "catalog", "columns"):
            self.count += 1
        return found


def test_the_number_of_statements_does_not_depend_on_the_number_of_requests(
    shop: ProjectFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity(shop, [[("user_id", f"u{n}"), ("email", f"e{n}@x.co")] for n in range(300)])
    counted = []
    real = type(shop.open().workspace).warehouse

    def counting(self: Any, **options: Any) -> Any:
        counted.append(_Counting(real(self, **options)))
        return counted[-1]

    monkeypatch.setattr("revetl.project.workspace.Workspace.warehouse", counting)
    for size in (1, 300):
        asked(shop, *(f"e{n}@x.co" for n in range(size)), dry_run=False)
    # The first also creates the tables.
    asked(shop, "e1@x.co", dry_run=False)
    assert counted[1].count == counted[2].count <= 40
