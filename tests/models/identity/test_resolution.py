"""The models against the reference: random messages, rules, cuts and blocked values, in any split and order.

One example is a crowd of small graphs that share nothing, as a dbt run takes seconds whatever its size. That
is too much to be drawn piece by piece: Hypothesis draws the rules and a seed, and does not shrink them.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.helpers.built import ROOT, copy_package
from tests.models.identity.reference import Answer, Identifier, Message, Rules, facts, resolve
from tests.models.identity.world import START, World

pytestmark = pytest.mark.slow

TYPES = ("user_id", "email", "anonymous_id", "device_id")
GRAPHS = 60
DAY = 86_400
HALF_BUILT = [
    "int_revetl__identity_changes",
    "int_revetl__identity_sightings",
    "int_revetl__identity_pairs",
    "int_revetl__identity_touched",
    "int_revetl__identity_components",
    "int_revetl__identity_identifiers",
    "int_revetl__identity_nodes",
    "int_revetl__identity_clusters",
    "int_revetl__identity_graph",
    "int_revetl__identity_left_out",
    "int_revetl__identity_merges",
]

limits = st.fixed_dictionaries(
    {}, optional={"ever": st.integers(1, 3), "week": st.integers(1, 2), "month": st.integers(1, 3)}
)
rules = st.builds(
    Rules,
    types=st.permutations(TYPES).map(tuple),
    limits=st.dictionaries(st.sampled_from(TYPES), limits, max_size=4),
)


@dataclass
class Facts:
    """What a world shows at one time."""

    messages: list[Message] = field(default_factory=list)
    cuts: set[tuple[Identifier, Identifier]] = field(default_factory=set)
    blocked: set[Identifier] = field(default_factory=set)


def an_identifier(chance: random.Random, graph: int) -> Identifier:
    kind = chance.choice(TYPES)
    return kind, f"g{graph}-{kind[0]}{chance.randrange(6)}"


def a_message(chance: random.Random, graph: int, number: int) -> Message:
    # Few moments, so that many are equal; some days apart, so that windows bind.
    second = chance.randrange(30) * 3 * DAY + chance.randrange(2)
    name = f"m{graph}-{number}"
    if chance.random() < 0.15:
        previous = f"g{graph}-{chance.choice('ua')}{chance.randrange(6)}"
        return Message(name, second, {"user_id": f"g{graph}-u{chance.randrange(6)}"}, previous)
    shown = dict(an_identifier(chance, graph) for _ in range(chance.choice([1, 2, 2, 2, 3])))
    return Message(name, second, shown)


def changed(chance: random.Random, before: Facts, everything: list[Message]) -> Facts:
    """Some messages go, more come; cuts and blocked identifiers come and go."""
    kept = [message for message in before.messages if chance.random() > 0.08]
    there = {message.id for message in kept}
    come = [message for message in everything if message.id not in there and chance.random() < 0.45]
    cuts = {cut for cut in before.cuts if chance.random() > 0.2}
    for graph in chance.sample(range(GRAPHS), 8):
        left, right = an_identifier(chance, graph), an_identifier(chance, graph)
        if left != right:
            cuts.add((left, right))
    blocked = {one for one in before.blocked if chance.random() > 0.3}
    blocked |= {an_identifier(chance, graph) for graph in chance.sample(range(GRAPHS), 2)}
    messages = kept + come
    chance.shuffle(messages)
    return Facts(messages, cuts, blocked)


def found(world: World) -> Answer:
    """What the models say."""
    left_out = world.ask(
        "select distinct left_type, left_value, right_type, right_value from revetl_identity_conflicts"
    )
    merges = world.ask("select loser_id, survivor_id, merged_at, message_id from revetl_profile_merges")
    assert all(message_id is not None for *_, message_id in merges)
    return Answer(
        canonical=world.profiles(),
        left_out={((a, b), (c, d)) for a, b, c, d in left_out},
        merges={(lost, kept, int((at - START).total_seconds())) for lost, kept, at, _ in merges},
    )


def expected(now: Facts, by: Rules) -> Answer:
    return resolve(facts(now.messages, now.blocked, by), now.cuts, by)


def same(found: Answer, expected: Answer) -> None:
    """Fails with what differs, not with all there is."""
    both = set(found.canonical.items()) ^ set(expected.canonical.items())
    assert not both, sorted(both)[:6]
    assert found.left_out == expected.left_out
    assert found.merges == expected.merges


@pytest.mark.long
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
)
@given(by=rules, seed=st.integers(0, 2**32 - 1))
def test_builds_in_any_split_are_the_reference_and_a_full_build(by: Rules, seed: int) -> None:
    live_through(by, seed)


@pytest.mark.long
def test_builds_in_a_split_are_the_reference_and_a_full_build() -> None:
    by = Rules(("anonymous_id", "user_id", "device_id", "email"), {"user_id": {"ever": 1, "month": 1}})
    live_through(by, seed=657)


def live_through(by: Rules, seed: int) -> None:
    """Random messages in some builds, of which some stop half-way."""
    chance = random.Random(seed)
    everything = [
        a_message(chance, graph, number)
        for graph in range(GRAPHS)
        for number in range(chance.randrange(2, 15))
    ]
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), by)
        now = Facts()
        for step in range(3):
            now = changed(chance, now, everything)
            world.show(now.messages, now.cuts, now.blocked)
            if step and chance.random() < 0.7:
                # A build that fails half-way, and then things change again.
                world.build(select=["world", "revetl.staging", f"+{chance.choice(HALF_BUILT)}"])
                now = changed(chance, now, everything)
                world.show(now.messages, now.cuts, now.blocked)
            world.build()
            same(found(world), expected(now, by))
        tables = {
            table: world.ask(f"select * exclude (component_id) from {table} order by all")
            if table == "int_revetl__identity_nodes"
            else world.ask(f"select * from {table} order by all")
            for table in (
                "int_revetl__identity_graph",
                "int_revetl__identity_nodes",
                "int_revetl__identity_pairs",
                "revetl_events",
                "revetl_identity_conflicts",
                "revetl_profile_identifiers",
                "revetl_profile_merges",
            )
        }
        chance.shuffle(now.messages)
        world.show(now.messages, now.cuts, now.blocked)
        world.build("--full-refresh")
        same(found(world), expected(now, by))
        for table, before in tables.items():
            columns = "* exclude (component_id)" if table == "int_revetl__identity_nodes" else "*"
            assert world.ask(f"select {columns} from {table} order by all") == before, table


@pytest.mark.long
@pytest.mark.parametrize("anew", ["a full refresh", "other rules and back"])
def test_what_came_before_a_build_anew_that_stopped_half_way(tmp_path: Path, anew: str) -> None:
    by = Rules(TYPES, {"user_id": {"ever": 1}})
    world = World(tmp_path, by)
    known = [Message("m1", 0, {"user_id": "u1", "anonymous_id": "a1"})]
    world.show(known)
    world.build()
    world.show([*known, Message("m2", DAY, {"user_id": "u1", "email": "e1"})])
    half = ["world", "revetl.staging", "+int_revetl__identity_sightings"]
    if anew == "a full refresh":
        world.build("--full-refresh", select=half)
    else:
        world.rule(Rules(TYPES, {"user_id": {"ever": 2}}))
        world.build(select=half)
        world.rule(by)
    world.build()
    found = world.profiles()
    assert found["email", "e1"] == found["user_id", "u1"] == found["anonymous_id", "a1"]


@pytest.mark.long
def test_only_touched_components_are_made_anew(tmp_path: Path) -> None:
    by = Rules(TYPES, {"user_id": {"ever": 1}})
    world = World(tmp_path, by)
    known = [
        Message("m1", 0, {"user_id": "u1", "anonymous_id": "a1"}),
        Message("m2", DAY, {"user_id": "u2", "anonymous_id": "a2"}),
        Message("m3", DAY, {"user_id": "u2", "anonymous_id": "a3"}),
        Message("m4", 2 * DAY, {"anonymous_id": "a4"}),
    ]
    again = Message("m6", 3 * DAY, {"user_id": "u2", "anonymous_id": "a3"})
    together = Message("m7", 3 * DAY, {"user_id": "u1", "anonymous_id": "a4"})
    touched = """
        select identifier_value from int_revetl__identity_graph
        semi join (from int_revetl__identity_touched where is_regrouped) using (node_id)
        order by 1
    """
    world.show(known)
    world.build()
    for label, messages, cuts, blocked, expected_ in [
        (
            "a late message",
            [*known, Message("m5", 0, {"anonymous_id": "a4", "email": "e4"})],
            set(),
            set(),
            "a4 e4",
        ),
        ("an erased one", known, set(), set(), "a4"),
        ("delivered again", [*known, known[0]], set(), set(), ""),
        ("seen again later", [*known, again], set(), set(), ""),
        ("seen together for the first time", [*known, again, together], set(), set(), "a1 a4 u1"),
        ("both erased", known, set(), set(), "a1 a2 a3 a4 u1 u2"),
        ("a cut", known, {(("user_id", "u2"), ("anonymous_id", "a3"))}, set(), "a2 a3 u2"),
        ("a blocked value", known, set(), {("anonymous_id", "a1")}, "a2 a3 u1 u2"),
    ]:
        distinct = list({message.id: message for message in messages}.values())
        world.show(distinct, cuts, blocked)
        # A build of everything empties it at its end.
        world.build(select=["world", "revetl.staging", "+int_revetl__identity_graph"])
        assert " ".join(value for (value,) in world.ask(touched)) == expected_, label
        world.build()
        same(found(world), expected(Facts(distinct, cuts, blocked), by))


def older_version(folder: Path) -> Path:
    """A copy of the package that normalizes no more than blanks."""
    copy_package(folder)
    for file, new, old in [
        (
            "adapters/text.sql",
            "(range(1, 33) | list) + (range(127, 161) | list)",
            "[32] + (range(127, 161) | list)",
        ),
        ("identity/increments.sql", "local_md5('4 '", "local_md5('1 '"),
    ]:
        macros = folder / "macros" / file
        assert new in macros.read_text()
        macros.write_text(macros.read_text().replace(new, old))
    return folder


@pytest.mark.long
def test_a_build_by_a_version_that_normalizes_otherwise_makes_everything_anew(tmp_path: Path) -> None:
    by = Rules(TYPES, {"user_id": {"ever": 1}})
    messages = [
        Message(f"m{number}", second, {"user_id": f"u{number % 4}", "email": f"e{number % 5}"})
        for number, second in enumerate(range(0, 12 * DAY, DAY))
    ] + [Message("m-alias", DAY, {"user_id": "u1"}, "u1"), Message("m-other", DAY, {"user_id": "u2"}, "u3")]
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world", by, older_version(tmp_path / "older"))
    world.show(messages)
    world.build()
    assert len(world.profiles()) > len(expected(Facts(messages), by).canonical)
    world.install(ROOT)
    world.build()
    same(found(world), expected(Facts(messages), by))
    tables = (
        "int_revetl__identity_graph",
        "int_revetl__identity_pairs",
        "int_revetl__identity_sightings",
        "revetl_events",
        "revetl_profile_merges",
    )
    upgraded = [world.ask(f"select * from {table} order by all") for table in tables]
    world.build("--full-refresh")
    assert [world.ask(f"select * from {table} order by all") for table in tables] == upgraded


@pytest.mark.long
def test_other_rules_make_everything_anew(tmp_path: Path) -> None:
    messages = [
        Message("m1", 0, {"user_id": "u1", "device_id": "d1"}),
        Message("m2", DAY, {"user_id": "u2", "device_id": "d1"}),
    ]
    world = World(tmp_path, Rules(TYPES, {"user_id": {"ever": 1}}))
    for by in (world.rules, Rules(TYPES, {}), Rules(("device_id", *TYPES[:3]), {"user_id": {"ever": 1}})):
        world.rule(by)
        world.show(messages)
        world.build()
        same(found(world), expected(Facts(messages), by))
