"""Audiences by conditions against Python's own reading of the messages; their history; experiments."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime, timedelta

import pytest

from revetl import Project
from tests.importers.segment_sql.conditions import (
    CONDITIONS,
    EVENTS,
    NOW,
    PEOPLE,
    TRAITS,
    audience,
    last,
    lines,
    of_,
    times,
)
from tests.models.traits.world import World

pytestmark = pytest.mark.slow

EXPERIMENT = """
{{ config(meta={'revetl': {
    'key': 'user_id', 'split': {'a': 45, 'b': 45, 'control': 10},
    'goal': {'event': 'Ordered', 'within': '14 days'},
    'sync': [{'to': 'crm'}],
}}) }}
select user_id, canonical_id, {{ revetl.variant('user_id') }} as variant
from {{ ref('revetl', 'revetl_profiles') }}
where {{ revetl.did('Viewed') }}
"""
HELD_OUT = """
{{ config(meta={'revetl': {
    'key': 'user_id', 'goal': 'Ordered', 'sync': [{'to': 'crm', 'holdout': '50%', 'salt': 'spring'}],
}}) }}
select user_id, canonical_id from {{ ref('revetl', 'revetl_profiles') }} where {{ revetl.did('Viewed') }}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """All audiences, built as of 20 January and as of March."""
    models = {name: audience(condition) for name, (condition, _) in CONDITIONS.items()}
    made = World(
        tmp_path_factory.mktemp("world"), {**models, "split_audience": EXPERIMENT, "held_out": HELD_OUT}
    )
    made.declare(TRAITS, order_traits={})
    made.load(lines=lines(EVENTS))
    made.build(as_of=str(EARLY))
    made.build(as_of=str(NOW))
    return made


EARLY = datetime(2026, 1, 20)


@pytest.mark.parametrize("name", CONDITIONS)
def test_an_audience_is_who_the_condition_says(world: World, name: str) -> None:
    _, holds = CONDITIONS[name]
    expected = {person for person in PEOPLE if holds(of_(EVENTS, person))}
    assert {row["user_id"] for row in world.ask(f"select user_id from {name}")} == expected
    if name != "mails":
        assert 0 < len(expected) < len(PEOPLE)


def test_the_history_of_an_audience(world: World) -> None:
    before = {p for p in PEOPLE if any(e.name == "Viewed" and e.at <= EARLY for e in of_(EVENTS, p))}
    lately = {p for p in PEOPLE if any(e.name == "Viewed" and last(10)(e) for e in of_(EVENTS, p))}
    early = {
        p
        for p in PEOPLE
        if any(e.name == "Viewed" and EARLY - timedelta(10) < e.at <= EARLY for e in of_(EVENTS, p))
    }
    stays = world.ask(
        "select key, entered_at, left_at from revetl_audience_membership where audience = 'lately'"
    )
    assert {(s["key"], s["entered_at"], s["left_at"]) for s in stays} == {
        *((p, EARLY, None if p in lately else NOW) for p in early),
        *((p, NOW, None) for p in lately - early),
    }
    growth = world.ask("select * from revetl_audience_growth where audience = 'lately' order by recorded_at")
    assert [(g["entered_rows"], g["left_rows"], g["member_rows"]) for g in growth] == [
        (len(early), 0, len(early)),
        (len(lately - early), len(early - lately), len(lately)),
    ]
    # One who has ever viewed stays.
    assert len(world.ask("from revetl_audience_membership where audience = 'held_out'")) >= len(before)
    assert not world.ask(
        "from revetl_audience_membership where audience = 'held_out' and left_at is not null"
    )


def bucket(salt: str, key: str) -> int:
    return int(hashlib.md5(f"{salt}:{key}".encode()).hexdigest()[:8], 16) % 10_000


def test_variants_are_those_of_the_runner(world: World) -> None:
    def variant(key: str) -> str:
        number = bucket("split_audience", key)
        return "control" if number < 1_000 else "a" if number < 5_500 else "b"

    rows = world.ask("select user_id, variant from split_audience")
    assert {row["user_id"]: row["variant"] for row in rows} == {
        row["user_id"]: variant(row["user_id"]) for row in rows
    }
    members = world.ask(
        "select key, variant from revetl_experiment_members where experiment = 'split_audience'"
    )
    assert {m["key"]: m["variant"] for m in members} == {row["user_id"]: row["variant"] for row in rows}


def test_lift_is_the_difference_of_the_rates(world: World) -> None:
    entered = {
        row["key"]: row["entered_at"]
        for row in world.ask(
            "select key, entered_at from revetl_audience_membership where audience = 'held_out'"
        )
    }
    groups: dict[str, list[bool]] = {"control": [], "treated": []}
    for person, since in entered.items():
        converted = any(e.name == "Ordered" and e.at >= since for e in of_(EVENTS, person))
        groups["control" if bucket("spring", person) < 5_000 else "treated"].append(converted)
    rows = world.ask(
        "select * from revetl_experiment_lift where experiment = 'held_out.crm' order by variant"
    )
    assert [(r["variant"], r["members"], r["converted"], r["expected_share"]) for r in rows] == [
        (name, len(group), sum(group), 0.5) for name, group in groups.items()
    ]
    control, treated = rows
    (n, x), (m, y) = ((len(group), sum(group)) for group in groups.values())
    assert control["lift"] is None
    assert treated["lift"] == pytest.approx(y / m - x / n)
    # Agresti and Caffo.
    p, q = (y + 1) / (m + 2), (x + 1) / (n + 2)
    half = 1.959964 * math.sqrt(p * (1 - p) / (m + 2) + q * (1 - q) / (n + 2))
    assert (treated["lift_low"], treated["lift_high"]) == (
        pytest.approx(p - q - half),
        pytest.approx(p - q + half),
    )
    assert treated["relative_lift"] == pytest.approx((y / m - x / n) / (x / n))
    # Nobody was delivered.
    assert treated["delivered_lift"] is None
    chi_squared = (n - (n + m) / 2) ** 2 / ((n + m) / 2) * 2
    assert [r["chi_squared"] for r in rows] == [pytest.approx(chi_squared)] * 2
    assert not any(r["is_sample_ratio_mismatch"] for r in rows)


def test_why_tells_conditions_apart(world: World) -> None:
    """`together` is who viewed lately, and did not order, and is often there."""
    told = {"did(Viewed, within 20 days)", "NOT did(Ordered, within 20 days)", "in_audience(often)"}
    # dbt ran in this process, and has the file open.
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    project = Project(world.folder, profiles_dir=world.folder)
    for person in PEOPLE[:8]:
        why = project.why(person, "together")
        conditions = {each.text: each.holds for step in why.membership.steps for each in step.conditions}
        assert set(conditions) == told
        mine = of_(EVENTS, person)
        assert conditions["did(Viewed, within 20 days)"] == (times("Viewed", last(20))(mine) >= 1)
        assert conditions["NOT did(Ordered, within 20 days)"] == (times("Ordered", last(20))(mine) == 0)
        assert conditions["in_audience(often)"] == (times("Ordered")(mine) >= 4)


WRONG = {
    "did('Ordered', at_least=0)": "did: at_least is '0'; it must be a whole number of 1 or more",
    "did('Ordered', at_least=3, at_most=2)": "did: at_most is '2'; it must be a whole number of 3 or more",
    "did('Ordered', within='soon')": "did: within.last is 'soon'; write a time such as 30 days",
    "did('Ordered', where={'property': 'price', 'above': 3})": "did.where.above is not known; the keys here",
    "did('Ordered', source='email')": "did: source is 'email'; it must be track, page or screen",
    "did_in_order(['Ordered'])": "did_in_order: steps is '['Ordered']'; it must be a list of two",
    "trait('spend', '>', 3)": "trait('spend') is no trait; those there are: canonical_id, user_id",
    "trait('spent', '~', 3)": "has the operator '~'; it must be one of",
    "trait('spent', '>', 'much')": "is compared with 'much'; it must be a number",
    "trait('favourite', '>', 3)": "is a varchar, which greater_than is not for",
    "trait('has_viewed', '=', 'yes')": "is a boolean; compare it with true or false",
}


def test_a_wrong_condition_is_named(world: World) -> None:
    """All in one model, of which each run is asked for one."""
    chosen = "".join(
        f"{{% if var('case', -1) == {n} %}}{{{{ revetl.{c} }}}}{{% endif %}}" for n, c in enumerate(WRONG)
    )
    depends = (
        "-- depends_on: {{ ref('revetl', 'revetl_events') }} {{ ref('revetl', 'stg_revetl__tracks') }}\n"
    )
    model = world.folder / "models" / "wrong.sql"
    model.write_text(f"{depends}select 1 as x where {chosen} 1 = 1")
    try:
        with world.parsed():
            for number, sentence in enumerate(WRONG.values()):
                done, said = world.compile("wrong", {"case": number})
                assert not done
                assert sentence in said, said
    finally:
        model.unlink()


WRONG_KEYS = {
    "without": ("select null as user_id union all select null", "without has 2 rows without a key"),
    "repeated": (
        "select 'u1' as user_id union all select 'u1'",
        "repeated has 1 row whose key another row has",
    ),
    "unknown": (
        "select 'me' as user_id from (select count(*) from {{ ref('revetl', 'revetl_profiles') }}) as n",
        "unknown has 1 row whose key no profile has",
    ),
}
ELSEWHERE = "select 'me' as user_id"
"""An audience of tables that are not revetl's: their keys are nobody's but theirs."""


@pytest.mark.long
def test_a_key_that_is_none_fails_the_build(world: World) -> None:
    queries = {name: query for name, (query, _) in WRONG_KEYS.items()} | {"elsewhere": ELSEWHERE}
    models = {world.folder / "models" / f"{name}.sql": query for name, query in queries.items()}
    for model, query in models.items():
        model.write_text("{{ config(meta={'revetl': {'key': 'user_id'}}) }} " + query)
    world.declare(TRAITS, order_traits={})
    try:
        for severity, passes in (("error", False), ("warn", True)):
            done, said = world.run("run", "--select", *queries, "--vars", f"audience_keys: {severity}")
            assert done is passes, said
            assert "elsewhere has" not in said
            for _, sentence in WRONG_KEYS.values():
                assert sentence in " ".join(said.split())
    finally:
        for model in models:
            model.unlink()
