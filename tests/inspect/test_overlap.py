"""Audiences beside each other, over tables that a test fills."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revetl.errors import UsageError, WarehouseError
from tests.conftest import Cli
from tests.helpers.project import ProjectFolder

PEOPLE = "(values ('u1', 'p1'), ('u2', 'p2'), ('u3', 'p3')) as t (user_id, canonical_id)"


@pytest.fixture
def audiences(project: ProjectFolder) -> ProjectFolder:
    """Four audiences: two by canonical id, one by user id alone, and an empty one; one with another key."""
    project.audience("one", f"select * from {PEOPLE}", {"key": "user_id"})
    # The same person by another user id.
    project.audience(
        "two",
        "select * from (values ('u9', 'p1'), ('u4', 'p4')) as t (user_id, canonical_id)",
        {"key": "user_id"},
    )
    project.audience(
        "by_key", "select * from (values ('u2'), ('u3'), ('u5'), (null)) as t (user_id)", {"key": "user_id"}
    )
    project.audience("empty", f"select * from {PEOPLE} where user_id = 'x'", {"key": "user_id"})
    project.audience("emails", "select 'a@x.com' as email", {"key": "email"})
    project.declare("unbuilt", {"key": "user_id"})
    return project


def test_pairs(audiences: ProjectFolder) -> None:
    found = audiences.open().overlap("one", "two", "by_key", "empty")
    assert {each.audience: each.members for each in found.audiences} == {
        "one": 3, "two": 2, "by_key": 3, "empty": 0,
    }  # fmt: skip
    pairs = {
        (each.first, each.second): (
            each.matched_on, each.both, each.only_first, each.only_second,
            each.share_of_first, each.share_of_second, each.jaccard,
        )
        for each in found.pairs
    }  # fmt: skip
    assert pairs == {
        ("one", "two"): ("canonical_id", 1, 2, 1, 0.3333, 0.5, 0.25),
        ("one", "by_key"): ("user_id", 2, 1, 1, 0.6667, 0.6667, 0.5),
        ("two", "by_key"): ("user_id", 0, 2, 3, 0.0, 0.0, 0.0),
        ("one", "empty"): ("canonical_id", 0, 3, 0, 0.0, None, 0.0),
        ("two", "empty"): ("canonical_id", 0, 2, 0, 0.0, None, 0.0),
        ("by_key", "empty"): ("user_id", 0, 3, 0, 0.0, None, 0.0),
    }


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        (("one",), UsageError, "needs at least two audiences"),
        (("one", "two", "one"), UsageError, "one is listed twice"),
        (("one", "tow"), UsageError, "Did you mean 'two'?"),
        (("one", "emails"), UsageError, "their keys are user_id and email"),
        (("one", "unbuilt"), WarehouseError, "dbt build --select +unbuilt"),
    ],
)
def test_refused(
    audiences: ProjectFolder, names: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words.replace("?", r"\?").replace("+", r"\+")):
        audiences.open().overlap(*names)


def test_command(audiences: ProjectFolder, cli: Cli) -> None:
    done = cli(audiences, "audience", "overlap", "one", "two", "-o", "json")
    assert json.loads(done.stdout)["pairs"][0]["jaccard"] == 0.25
    shown = cli(audiences, "audience", "overlap", "one", "empty")
    assert shown.returncode == 0, shown.stderr
    row = next(line for line in shown.stdout.splitlines() if "canonical_id" in line)
    assert row.split() == ["one", "empty", "canonical_id", "0", "3", "0", "0.0%", "0.000"]


IDS = st.sets(st.sampled_from("abcdefgh"))


@given(sets=st.lists(IDS, min_size=2, max_size=4))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_as_sets_have_it(project: ProjectFolder, sets: list[set[str]]) -> None:
    for place, members in enumerate(sets):
        rows = ", ".join(f"('{each}')" for each in sorted(members)) or "(null)"
        project.audience(f"a{place}", f"select * from (values {rows}) as t (user_id)", {"key": "user_id"})
    found = project.open().overlap(*(f"a{place}" for place in range(len(sets))))
    for pair in found.pairs:
        first, second = sets[int(pair.first[1:])], sets[int(pair.second[1:])]
        assert (pair.both, pair.only_first, pair.only_second) == (
            len(first & second), len(first - second), len(second - first),
        )  # fmt: skip
        whole = len(first | second)
        assert pair.jaccard == (round(len(first & second) / whole, 4) if whole else None)
