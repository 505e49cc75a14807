"""Transformations: read, compiled, and applied the same in Python and in the warehouse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from revetl.errors import UsageError
from revetl.governance.tracking_plan.compiled_transformations import compile_transformations, snake_case
from revetl.governance.tracking_plan.derived import derived_sql
from revetl.governance.tracking_plan.project import compiled_errors
from revetl.governance.tracking_plan.transformed import transform
from revetl.governance.transformations import DerivedProperty, TransformationsFile, read_transformations
from tests.conftest import Cli
from tests.governance.examples import order
from tests.governance.rendering import Renderer
from tests.governance.test_compiled import returned
from tests.helpers.built import ROOT

TEXT = """
transformations:
  - event: Order Completed
    rename_event: Order Placed
    rename: {totl: total, shipping.zip: postcode}
    cast: {total: number, is_gift: boolean, shipping.floor: integer}
    derive: {total_with_tax: total * 1.2}
    drop: [debug]
  - type: identify
    source: site
    drop: [password]
"""


def file_of(*entries: dict[str, Any]) -> TransformationsFile:
    return TransformationsFile.model_validate({"transformations": entries})


def test_a_message_is_transformed() -> None:
    file = TransformationsFile.model_validate(yaml.safe_load(TEXT))
    properties = {"totl": "20.5", "shipping": {"zip": "1AB", "floor": "3.0"}, "debug": 1, "is_gift": "True"}
    made = transform(file.transformations, order(properties))
    assert made.message["event"] == "Order Placed"
    assert made.message["properties"] == {
        "total": 20.5,
        "shipping": {"floor": 3},
        "postcode": "1AB",
        "is_gift": True,
    }
    assert made.derived == ("total_with_tax",)
    traits = {"type": "identify", "traits": {"password": "x", "name": "Ann"}}
    assert transform(file.transformations, traits).message == traits
    assert transform(file.transformations, traits, "site").message["traits"] == {"name": "Ann"}


WRONG = {
    "of nothing": ("{drop: [a]}", "selects no messages; set event: NAME"),
    "of two": ("{type: page, event: A, drop: [a]}", "selects messages twice; set only one of"),
    "nothing done": ("{event: A}", "has no effect; set rename_event, rename, cast, drop or derive"),
    "a key": ("{event: A, drops: [a]}", "unknown key 'drops'. Did you mean 'drop'?"),
    "a type": ("{event: A, cast: {a: decimal}}", "'decimal' is not known."),
    "a path": ("{event: A, drop: [a..b]}", "'a..b' is not a valid property path"),
    "a place": ("{event: A, rename: {a.b: c.d}}", "'a.b' cannot be renamed to 'c.d'"),
    "twice": ("{event: A, rename: {a: c, b: c}}", "'c' is listed twice; keep one"),
    "inside": ("{event: A, rename: {a: b}, cast: {b.c: number}}", "'b.c' is inside 'b'"),
    "no new name": ("{event: A, rename_event: A}", "rename_event: 'A' is not a new name"),
    "the name of a page": ("{type: page, rename_event: A}", "rename_event: requires event: or events:"),
    "no SQL": ("{event: A, derive: {b: a +}}", "derive.b: 'a +' is neither a column nor a SQL expression."),
    "SQL with a comma": ("{event: A, derive: {b: round(a, 1)}}", "quote it, because YAML splits"),
    "a query": ("{event: A, derive: {b: (select 1)}}", "Reference only properties."),
    "many rows": ("{event: A, derive: {b: sum(a)}}", "Reference only the properties of one message."),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_an_error_has_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "transformations.yaml").write_text(
        f"transformations:\n  - {{event: B, drop: [a]}}\n  - {text}\n"
    )
    with pytest.raises(UsageError) as error:
        read_transformations(tmp_path)
    assert str(error.value).startswith("transformations.yaml, line 3: transformations.1")
    assert sentence in str(error.value)


def test_a_type_that_cannot_be_inferred_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text("{name: shop, profile: shop}")
    (tmp_path / "transformations.yaml").write_text(
        "transformations: [{event: A, derive: {b: 'some_function(a)'}}]"
    )
    (sentence,) = compiled_errors(tmp_path)
    assert sentence.startswith("transformations.yaml: transformations.0: derive.b: cannot infer the type of")
    assert derived_sql("b", DerivedProperty(sql="some_function(a)", type="number"), {}).type == "number"


READS: dict[str, tuple[str, str, list[str]]] = {
    "computed": ("total * 1.2", "number", ["number"]),
    "a text": ("upper(currency)", "string", ["string"]),
    "compared with a number": ("total > 100", "boolean", ["number"]),
    "compared with a text": ("currency = 'USD'", "boolean", ["string"]),
    "inside of others": ("coalesce(total, 0) - discount", "number", ["number", "number"]),
    "a case": (
        "case when total >= 100 then 'large' else lower(size) end",
        "string",
        ["number", "string"],
    ),
    "a path": ('round(shipping.cost, 1) + "the tax"', "number", ["number", "number"]),
}


@pytest.mark.parametrize(("sql", "kind", "reads"), READS.values(), ids=READS.keys())
def test_reads_and_type_of_derived_sql(sql: str, kind: str, reads: list[str]) -> None:
    made = derived_sql("x", DerivedProperty(sql=sql), {})
    assert (made.type, [each.type for each in made.reads]) == (kind, reads)


def test_compiled_transformations_round_trip(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "dbt_project.yml").write_text("{name: shop, profile: shop}")
    (tmp_path / "transformations.yaml").write_text(TEXT)
    assert (
        "macros/transformations.sql is out of date with transformations.yaml." in compiled_errors(tmp_path)[0]
    )
    done = cli(tmp_path, "protocols", "compile")
    assert (
        done.stderr == "macros/transformations.sql is written. It is in force from the next dbt build on.\n"
    )
    compiled = compile_transformations(read_transformations(tmp_path))
    text = (tmp_path / "macros" / "transformations.sql").read_text()
    assert returned(text.replace("default__transformations", "default__tracking_plan")) == compiled
    assert compiled["entries"][0]["event"] == snake_case(" Order Placed") == "order_placed"
    # What is taken out of the file is taken out of the macro.
    (tmp_path / "transformations.yaml").unlink()
    assert cli(tmp_path, "protocols", "compile", "--check").returncode == 2
    cli(tmp_path, "protocols", "compile")
    package = (ROOT / "macros" / "transformations.sql").read_text()
    written = (tmp_path / "macros" / "transformations.sql").read_text()
    assert returned(written.replace("default__transformations", "default__tracking_plan")) == returned(
        package.replace("default__transformations", "default__tracking_plan")
    )


def test_check_transforms_first_and_reports_it(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "dbt_project.yml").write_text("{name: shop, profile: shop}")
    (tmp_path / "transformations.yaml").write_text(TEXT)
    (tmp_path / "tracking_plan.yaml").write_text(
        "events:\n  - name: Order Placed\n    unplanned_properties: flag\n    properties:\n"
        "      - {name: total, type: number, required: true}\n"
        "      - {name: total_with_tax, type: number, required: true}\n"
        "unplanned_events: flag\n"
    )
    (tmp_path / "a.json").write_text(json.dumps(order({"totl": "20.5", "debug": 1})))
    done = cli(tmp_path, "protocols", "check", "a.json")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[1:] == [
        "transformations.yaml was applied to 1 message before.",
        "Not looked at, as only the warehouse derives it: total_with_tax.",
    ]


words = st.sampled_from(
    ["1", "1.50", "true", " 7 ", "FALSE", "007", "-0.5", "1.0", "é", "", 'say "x"', "a\\b"]
)
leaves = st.none() | st.booleans() | st.integers(-99, 99) | st.sampled_from([0.5, -1.25]) | words
names = st.sampled_from(["a", "b", "c", "it's", "d e"])
inner = st.dictionaries(names, leaves | st.lists(leaves, max_size=2), max_size=3)
documents = st.dictionaries(names, leaves | inner, max_size=5) | st.none() | st.just([1])
casts = st.sampled_from(["string", "number", "integer", "boolean"])


@st.composite
def entries(draw: st.DrawFn) -> dict[str, Any]:
    """An entry that is right: each place is named once."""
    places = st.sampled_from(["a", "b", "c.a", "c.b", "it's", "d e.it's"])
    chosen = draw(st.lists(places, min_size=3, max_size=5, unique=True))
    entry: dict[str, Any] = {"event": draw(st.sampled_from(["Order Completed", "Other"]))}
    entry["rename"] = {chosen[0]: draw(st.sampled_from(["new", "also new"]))}
    if "." in chosen[0]:
        entry["rename"] = {chosen[0]: f"{chosen[0].rpartition('.')[0]}.new" if draw(st.booleans()) else "new"}
    entry["cast"] = {chosen[1]: draw(casts)}
    if draw(st.booleans()):
        entry["cast"][next(iter(entry["rename"].values()))] = draw(casts)
    entry["drop"] = chosen[2:]
    return entry


def transformed_documents(renderer: Renderer, file: TransformationsFile) -> str:
    column = renderer.transformed(file, "properties")
    return f"select id, cast({column} as varchar) from landed"


def wanted(file: TransformationsFile, some: list[Any]) -> dict[str, Any]:
    return {
        f"m{place}": transform(file.transformations, order(each)).message["properties"]
        for place, each in enumerate(some)
    }


def read(rows: list[tuple[Any, ...]]) -> dict[str, Any]:
    return {name: None if text is None else json.loads(text) for name, text in rows}


def rows_of(some: list[Any]) -> list[tuple[str, str | None]]:
    return [
        (f"m{place}", None if each is None else json.dumps(each, ensure_ascii=False))
        for place, each in enumerate(some)
    ]


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return Renderer(tmp_path_factory.mktemp("rendered"))


def land(some: list[Any]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(
        "create table landed (id varchar, properties json, event_text varchar default 'Order Completed', "
        "source_id varchar)"
    )
    connection.executemany("insert into landed (id, properties) values (?, ?)", rows_of(some))
    return connection


@pytest.mark.slow
@settings(max_examples=80)
@given(entry=entries(), some=st.lists(documents, min_size=1, max_size=8))
def test_sql_and_python_agree(renderer: Renderer, entry: dict[str, Any], some: list[Any]) -> None:
    file = file_of(entry)
    found = land(some).execute(transformed_documents(renderer, file)).fetchall()
    assert read(found) == wanted(file, some)


DERIVED: dict[str, tuple[str, dict[str, Any], Any]] = {
    "of a number": ("total * 1.2", {"total": 10.1}, 12.12),
    "of a text that is one": ("total * 1.2", {"total": " 10 "}, 12),
    "of what is none": ("total * 1.2", {"total": "ten"}, ...),
    "of nothing": ("total * 1.2", {}, ...),
    "a text": ("upper(currency)", {"currency": 'e"ur'}, 'E"UR'),
    "a boolean": ("total > 100", {"total": 100}, False),
    "by a zero": ("round(total / nullif(n, 0), 2)", {"total": 10, "n": 0}, ...),
    "in the place of another": ("total - 1", {"total": 5, "x": 7}, 4),
}


@pytest.mark.slow
@pytest.mark.parametrize(("sql", "properties", "expected"), DERIVED.values(), ids=DERIVED.keys())
def test_derived_properties(renderer: Renderer, sql: str, properties: dict[str, Any], expected: Any) -> None:
    file = file_of({"event": "Order Completed", "derive": {"x": sql}})
    found = read(land([properties]).execute(transformed_documents(renderer, file)).fetchall())["m0"]
    assert found == {**properties, "x": expected} if expected is not ... else "x" not in found


@pytest.mark.slow
def test_the_first_applicable_transformation_wins(renderer: Renderer) -> None:
    file = file_of(
        {"event": "Order Completed", "source": "site", "rename_event": "From the site"},
        {"events": ["Order Completed", "Other"], "rename_event": "Order Placed"},
    )
    connection = land([{}, {}])
    connection.execute("update landed set source_id = 'site' where id = 'm1'")
    query = f"select {renderer.transformed(file, 'event_text')}, {renderer.transformed(file, 'event')} from "
    query += "(select *, 'order_completed' as event from landed) order by id"
    assert connection.execute(query).fetchall() == [
        ("Order Placed", "order_placed"),
        ("From the site", "from_the_site"),
    ]
    assert renderer.transformed(file, "properties") == "properties"
    assert renderer.transformed(file, "traits", "identify") == "traits"


def land_in(cursor: Any, some: list[Any]) -> None:
    cursor.execute("drop table if exists landed")
    cursor.execute(
        "create table landed (id text, properties jsonb, event_text text default 'Order Completed', "
        "source_id text)"
    )
    cursor.executemany("insert into landed (id, properties) values ($1, cast($2 as jsonb))", rows_of(some))


@pytest.mark.slow
@settings(max_examples=40)
@given(entry=entries(), some=st.lists(documents, min_size=1, max_size=8))
def test_postgres_and_python_agree(
    postgres: Renderer, cursor: Any, entry: dict[str, Any], some: list[Any]
) -> None:
    file = file_of(entry)
    land_in(cursor, some)
    cursor.execute(transformed_documents(postgres, file))
    assert read(cursor.fetchall()) == wanted(file, some)


@pytest.mark.slow
def test_derived_properties_in_postgres(postgres: Renderer, cursor: Any) -> None:
    for sql, properties, expected in DERIVED.values():
        land_in(cursor, [properties])
        cursor.execute(
            transformed_documents(postgres, file_of({"event": "Order Completed", "derive": {"x": sql}}))
        )
        found = read(cursor.fetchall())["m0"]
        assert found.get("x", ...) == expected, sql
