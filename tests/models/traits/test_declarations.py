"""A wrong declaration stops dbt before it builds, with the trait's name and what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.models.traits.world import World

pytestmark = pytest.mark.slow

WRONG: dict[str, tuple[str, str]] = yaml.safe_load(Path(__file__).with_name("wrong.yml").read_text())
# Names of traits, and what is said of them after `vars.revetl.traits.NAME`.
NAMES = {
    "Order Count": " is no name for a trait; use lower-case letters, digits and underscores",
    "1st": " is no name for a trait",
    "canonical_id": " is the name of another column; take another one",
    "as_of": " is the name of another column",
    "user_id": " is the name of another column",
    "first_seen_at": " is the name of another column",
    "email": " is the name of another column",
    "email_set_at": " is the name of another column",
    "order": " is a word of SQL; take another name, such as my_order",
    "order_count": " is declared in order_traits too",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world that was parsed once: a declaration is then read by compiling a model, in half a second."""
    made = World(tmp_path_factory.mktemp("declarations"))
    with made.parsed():
        yield made


def said_of(world: World, traits: Any) -> str:
    done, said = world.compile("revetl_computed_traits", {"traits": traits})
    assert not done
    return said


@pytest.mark.parametrize(("declared", "expected"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_declaration_is_named(world: World, declared: str, expected: str) -> None:
    said = said_of(world, {"before": {"type": "count"}, "t": yaml.safe_load(declared)})
    (sentence, *_) = [line for line in said.splitlines() if "vars.revetl.traits.t" in line] or [said[-1000:]]
    assert expected in sentence
    assert "Traceback" not in said


@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=NAMES.keys())
def test_a_wrong_name_is_named(world: World, name: str, expected: str) -> None:
    assert f"vars.revetl.traits.{name}{expected}" in said_of(world, {name: {"type": "count"}})


def test_no_mapping_of_traits(world: World) -> None:
    assert "vars.revetl.traits is '['a']'; it must be a mapping" in said_of(world, ["a"])


def test_what_is_right_is_not_refused(world: World) -> None:
    done, said = world.compile("revetl_computed_traits", {"traits": {"t": {"type": "count", "event": "O"}}})
    assert done, said[-2000:]


def test_it_stops_before_anything_is_built(tmp_path: Path) -> None:
    """As a user sees it: dbt parses the project anew, and goes no further."""
    world = World(tmp_path)
    world.declare({"t": {"type": "summ"}})
    done, said = world.run("run", "--select", "stg_revetl__tracks")
    assert not done
    assert "vars.revetl.traits.t.type is 'summ'; a trait is one of count, sum, " in said
    assert world.ask("select * from information_schema.tables where table_name = 'stg_revetl__tracks'") == []
