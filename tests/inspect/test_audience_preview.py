"""What an audience would be, before it is built; and the Segment example on the real events."""

from __future__ import annotations

import json

import pytest
import yaml

import revetl
from revetl.errors import UsageError
from tests.conftest import Cli
from tests.helpers.built import EXAMPLES
from tests.importers.segment_sql.cases import CANONICAL
from tests.importers.segment_sql.world import AS_OF, make_world
from tests.models.conftest import EXAMPLE
from tests.models.traits.world import World

pytestmark = [pytest.mark.slow, pytest.mark.long]

MEMBERS = "select user_id, canonical_id, email from {{ ref('revetl', 'revetl_profiles') }} where user_id "
DAY = "2011-06-29"
REPEATED = "SELECT user_id FROM tracks WHERE event = 'Order Completed' GROUP BY user_id HAVING COUNT(*) >= 3"


def _declare(world: World, name: str, sql: str, key: str = "user_id") -> None:
    (world.folder / "models" / f"{name}.sql").write_text(sql)
    model = {"name": name, "config": {"meta": {"revetl": {"key": key}}}}
    (world.folder / "models" / f"{name}.yml").write_text(yaml.safe_dump({"models": [model]}))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """An audience that is built, and then changed on disk; and one that never was."""
    made = make_world(tmp_path_factory.mktemp("previewed"))
    _declare(made, "few", MEMBERS + "in ('ann', 'bob', 'eve')")
    made.build(as_of=AS_OF, select=["+few", "revetl_profile_identifiers"])
    # dbt in this process lets go of the file, which a preview compiles against in another.
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    _declare(made, "few", MEMBERS + "in ('bob', 'eve', 'fay', 'gus')")
    _declare(
        made, "unbuilt",
        "select * from (values ('x', 1), ('x', 2), ('y', 3), (null, 4)) as t (user_id, n)",
    )  # fmt: skip
    return made


def _project(world: World) -> revetl.Project:
    return revetl.Project(world.folder, profiles_dir=world.folder, vars=f"{{as_of: {AS_OF}}}")


def test_against_what_is_built(world: World) -> None:
    before = {
        file: file.stat().st_mtime_ns for file in (world.folder / "target").rglob("*") if file.is_file()
    }
    found = _project(world).audience("few").preview(sample=2)
    assert (found.rows, found.members, found.null_keys, found.duplicate_keys) == (4, 4, 0, 0)
    assert (found.members_built, found.would_enter, found.would_leave) == (3, 2, 1)
    assert found.coverage is not None
    assert {each.identifier_type: (each.members, each.share) for each in found.coverage} == {
        "user_id": (4, 1.0), "email": (4, 1.0), "anonymous_id": (2, 0.5),
    }  # fmt: skip
    assert [row["user_id"] for row in found.sample] == ["bob", "eve"]
    # Nothing was built, and what target/ says of the last build is there still.
    assert len(world.ask("select * from few")) == 3
    for name in ("run_results.json", "manifest.json"):
        file = world.folder / "target" / name
        assert name == "manifest.json" or before[file] == file.stat().st_mtime_ns


@pytest.mark.long
def test_what_is_not_built(world: World, cli: Cli) -> None:
    done = cli(world.folder, "audience", "preview", "unbuilt", "--sample", "0", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "audience": "unbuilt", "key": "user_id", "rows": 4, "members": 2, "null_keys": 1, "duplicate_keys": 1,
        "members_built": None, "would_enter": None, "would_leave": None, "coverage": None, "sample": [],
    }  # fmt: skip
    shown = cli(world.folder, "audience", "preview", "few")
    assert shown.returncode == 0, shown.stderr
    assert "would leave" in shown.stdout and "bob@example.com" in shown.stdout


@pytest.mark.parametrize(
    ("sql", "key", "words"),
    [
        (
            "select {{ nope( }}",
            "user_id",
            "dbt cannot compile wrong: model wrong (models/wrong.sql), line 1: unexpected '}'",
        ),
        ("select {{ revetl.nope() }}", "user_id", "nope"),
        ("select 1 as one", "user_id", "wrong does not return column 'user_id'"),
    ],
)
def test_refused(world: World, sql: str, key: str, words: str) -> None:
    _declare(world, "wrong", sql, key)
    try:
        with pytest.raises(UsageError) as told:
            from revetl.inspect.audience_preview import preview_audience

            preview_audience(_project(world).workspace, "wrong")
    finally:
        (world.folder / "models" / "wrong.sql").unlink()
        (world.folder / "models" / "wrong.yml").unlink()
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_unknown_audience(world: World) -> None:
    from revetl.inspect.audience_preview import preview_audience

    with pytest.raises(UsageError, match="Did you mean 'few'"):
        preview_audience(_project(world).workspace, "fw")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The real events with views of products, made of every seventh order line's product before it."""
    example = {"viewed_not_bought": (EXAMPLES / "viewed_not_bought.sql").read_text()}
    world = World(tmp_path_factory.mktemp("real"), example)
    world.load(EXAMPLE / "events.ndjson.gz", lines=[json.dumps(each) for each in _views(world)])
    for name, sql in {"lookers": CANONICAL, "repeated": REPEATED}.items():
        file = world.folder / f"{name}.sql"
        file.write_text(sql)
        revetl.Project(world.folder, profiles_dir=world.folder).import_audience(file, name)
    world.build(as_of=DAY, select=["+lookers", "+repeated", "+viewed_not_bought"])
    return world


def _views(world: World) -> list[dict[str, object]]:
    import duckdb

    columns = "{type: 'varchar', userId: 'varchar', anonymousId: 'varchar'}"
    file = EXAMPLE / "events.ndjson.gz"
    source = f"read_json('{file}', format = 'newline_delimited', columns = {columns})"
    people = (
        duckdb.connect()
        .execute(
            f"select distinct coalesce(userId, anonymousId), userId is not null from {source} "
            "where type = 'track' order by 1"
        )
        .fetchall()
    )
    return [
        {
            "messageId": f"view-{place}", "type": "track", "userId" if known else "anonymousId": who,
            "event": "Product Viewed", "properties": {"price": 80 + place % 50},
            "timestamp": f"2011-06-{10 + place % 19:02}T10:00:00Z",
        }
        for place, (who, known) in enumerate(people)
        if place % 3
    ]  # fmt: skip


@pytest.mark.long
def test_canonical_on_real_events(shop: World) -> None:
    """As the model that was written by hand, and as plain DuckDB over the landed messages, has it."""
    plain = shop.ask(f"""
        with m as (
            select g.canonical_id as person, t.event_text as event,
                cast(json_extract_string(t.properties, '$.price') as double) as price
            from raw.tracks as t
            join int_revetl__identity_graph as g
                on g.identifier_value = coalesce(nullif(trim(t.user_id), ''), t.anonymous_id)
            where t.timestamp > timestamp '{DAY}' - interval 7 day and t.timestamp <= timestamp '{DAY}'
        )
        select distinct p.user_id from revetl_profiles as p where p.user_id is not null
            and p.canonical_id in (select person from m where event = 'Product Viewed' and price > 100)
            and p.canonical_id not in (select person from m where event = 'Order Completed')
        order by 1
    """)
    assert len(plain) > 20
    assert shop.ask("select user_id from lookers order by 1") == plain
    assert shop.ask("select user_id from viewed_not_bought order by 1") == plain


@pytest.mark.long
def test_groups_on_real_events(shop: World) -> None:
    plain = "select user_id from revetl_profiles where user_id is not null and order_count >= 3 order by 1"
    assert len(shop.ask(plain)) > 100
    assert shop.ask("select user_id from repeated order by 1") == shop.ask(plain)
