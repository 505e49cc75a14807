"""What identifies people for a sync without `identifiers`."""

from __future__ import annotations

from typing import Any

import pytest

from revetl.destinations import TYPES, destination_class
from revetl.mapping.fields import default_identifiers
from tests.conftest import Cli
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people

MAILCHIMP = {"type": "mailchimp", "api_key": "key-us1", "list_id": "l1", "base_url": "http://127.0.0.1:1"}


def planned(project: ProjectFolder, cli: Cli, columns: str, *rows: tuple[Any, ...]) -> str:
    project.destinations({"news": MAILCHIMP})
    project.audience("vips", people(*rows, columns=columns), {"key": "user_id", "sync": [{"to": "news"}]})
    done = cli(project, "plan", "audience", "vips", "--sample", "2")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_email_is_in_its_own_column(project: ProjectFolder, cli: Cli) -> None:
    rows = [("C1", "ann@example.com"), ("C2", "bob@example.com")]
    plan = planned(project, cli, "user_id, EMAIL", *rows)
    assert "identifiers: 100.0% of the audience can be identified" in plan
    assert '"email_address": "ann@example.com"' in plan
    assert "C1" not in plan


def test_a_key_that_is_no_email_identifies_nobody(project: ProjectFolder, cli: Cli) -> None:
    plan = planned(project, cli, "user_id, score", ("C1", 1), ("bob@example.com", 2))
    assert "identifiers: 50.0% of the audience can be identified" in plan
    assert "invalid identifiers, not sent: email_address 1" in plan


@pytest.mark.parametrize("name", sorted(TYPES))
def test_values_with_a_format_are_never_taken_from_a_key_beside_their_column(name: str) -> None:
    """Of every destination, in its usual configuration."""
    type_ = destination_class(name, name)

    class Usual:
        known_by = type_.identifiers
        matches_by_all = type_.matches_by_all

    for each in type_.identifiers:
        columns = ["customer_number", *(other.column for other in type_.identifiers)]
        found = default_identifiers(Usual, "customer_number", columns)  # type: ignore[arg-type]
        if each.name in found and each.has_format:
            assert found[each.name] == each.column
        by_key = default_identifiers(Usual, each.column, [each.column])  # type: ignore[arg-type]
        assert each.column in by_key.values()
