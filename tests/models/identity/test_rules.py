"""Rules that are not as they must be stop dbt before it builds, with the key's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.models.identity.reference import Rules
from tests.models.identity.world import World

pytestmark = pytest.mark.slow

WRONG: dict[str, tuple[Any, str]] = {
    "an unknown key": ({"identifers": {}}, "identity.identifers is not known; the keys here are identifiers"),
    "no mapping": ({"identifiers": ["email"]}, "identity.identifiers is '['email']'; it must be a mapping"),
    "nothing": ({"identifiers": {}}, "identity.identifiers is empty"),
    "a name": ({"identifiers": {"E-mail": {}}}, "identity.identifiers.E-mail is no name for an identifier"),
    "an unknown setting": (
        {"identifiers": {"email": {"normal": "lower"}}},
        "identity.identifiers.email.normal is not known; the keys here are column, context, trait, property, "
        "normalize, blocked, limit",
    ),
    "an unknown step": (
        {"identifiers": {"email": {"normalize": ["lowr"]}}},
        "identity.identifiers.email.normalize has 'lowr'; a step is one of lower, trim, digits",
    ),
    "an unknown step in the former spelling": (
        {"identifiers": {"email": {"normalise": ["lowr"]}}},
        "identity.identifiers.email.normalise has 'lowr'; a step is one of lower, trim, digits",
    ),
    "both spellings": (
        {"identifiers": {"email": {"normalize": "lower", "normalise": "trim"}}},
        "identity.identifiers.email.normalise is the former spelling of 'normalize', which is also set",
    ),
    "a pattern without one": (
        {"identifiers": {"email": {"normalize": [{"with": ""}]}}},
        "identity.identifiers.email.normalize must have a pattern",
    ),
    "no place": (
        {"identifiers": {"card": {}}},
        "identity.identifiers.card does not say where it is seen",
    ),
    "a limit of 0": ({"identifiers": {"email": {"limit": 0}}}, "identity.identifiers.email.limit is '0'"),
    "a limit of yes": (
        {"identifiers": {"email": {"limit": True}}},
        "identity.identifiers.email.limit is 'True'",
    ),
    "a window": (
        {"identifiers": {"email": {"limit": {"day": 1}}}},
        "identity.identifiers.email.limit.day is not known; the keys here are ever, week, month, year",
    ),
    "a number in a window": (
        {"identifiers": {"email": {"limit": {"week": "two"}}}},
        "identity.identifiers.email.limit.week is 'two'",
    ),
    "a priority of nobody": (
        {"identifiers": {"email": {}}, "priority": ["user_id"]},
        "identity.priority names 'user_id', which is none of the identifiers: email",
    ),
    "a priority twice": (
        {"priority": ["email", "email"]},
        "identity.priority names an identifier twice",
    ),
    "no list": ({"blocked": "null"}, "identity.blocked must be a list"),
    "a model without an id": (
        {"models": {"shown": {"timestamp": "shown_at", "identifiers": {"email": "email"}}}},
        "identity.models.shown.message_id is missing",
    ),
    "a model of nothing": (
        {"models": {"shown": {"message_id": "id", "timestamp": "shown_at"}}},
        "identity.models.shown.identifiers is missing",
    ),
    "a model of what is not known": (
        {"models": {"stg_revetl__tracks": {"identifiers": {"card": "card"}}}},
        "identity.models.stg_revetl__tracks.identifiers.card is none of the identifiers",
    ),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("rules"), Rules(("user_id",), {}))


@pytest.mark.parametrize(("identity", "message"), WRONG.values(), ids=WRONG.keys())
def test_an_invalid_rule_is_named(world: World, identity: dict[str, Any], message: str) -> None:
    said = world.operate("revetl.identity_rules", json.dumps({"identity": identity}))
    assert f"vars.revetl.{message}" in said, said


def test_an_invalid_rule_stops_dbt_before_it_builds(world: World) -> None:
    identity, message = WRONG["a limit of 0"]
    said = world.parse(json.dumps({"identity": identity}))
    assert f"vars.revetl.{message}" in said, said


def test_valid_rules_are_read_without_an_error(world: World) -> None:
    assert "rror" not in world.operate("revetl.identity_rules", json.dumps({"identity": {}}))


@pytest.mark.parametrize("key", ["normalize", "normalise"])
def test_normalize_and_its_former_spelling_set_the_same_sql(world: World, key: str) -> None:
    identity = {"identifiers": {"email": {key: ["trim", "digits", {"regex": "^0+", "with": ""}]}}}
    rules = "revetl.identity_rules().types[0].normalise"
    sql = world.render(f"revetl.normalised_identifier('email', {rules})", json.dumps({"identity": identity}))
    digits = "regexp_replace(email, '[^0-9]', '', 'g')"
    assert f"nullif(regexp_replace({digits}, '^0+', '', 'g'), '')" in sql, sql


@pytest.mark.long
def test_the_defaults_are_those_that_are_written_out(tmp_path: Path) -> None:
    """A project that says nothing has the rules that dbt_project.yml shows."""
    world = World(tmp_path, Rules(("user_id",), {}))
    columns = "identifier_type, priority, limit_ever, limit_week"
    world.build(select=["int_revetl__identity_rules"])
    assert world.ask(f"select {columns} from int_revetl__identity_rules") == [("user_id", 1, None, None)]
    same: list[dict[str, Any]] = [{}, {"identifiers": {"anonymous_id": {}, "email": None, "user_id": {}}}]
    for identity in same:
        world.build("--vars", json.dumps({"identity": identity}), select=["int_revetl__identity_rules"])
        assert world.ask(f"select {columns} from int_revetl__identity_rules order by 2") == [
            ("user_id", 1, 1, None),
            ("email", 2, 5, None),
            ("anonymous_id", 3, 5, None),
        ]
