"""`revetl identity`: a profile and what made it, cuts that reach a destination, rules that are only tried."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from revetl import Project
from revetl.inspect.identity.cut import COLUMNS
from revetl.inspect.identity.preview import write_profiles
from tests.conftest import Cli, SandboxClient
from tests.models.identity.people import MANY, RULES, id_of, make_built, run_dbt_in, sql

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of `revetl init`, with its events landed, built."""
    folder = tmp_path_factory.mktemp("identity") / "my_cdp"
    make_built(folder)
    return folder


@pytest.fixture
def mine(built: Path, tmp_path: Path) -> Path:
    """A copy of the project, to change."""
    return Path(shutil.copytree(built, tmp_path / "my_cdp", symlinks=True))


def shown(cli: Cli, project: Path, *arguments: str) -> dict[str, Any]:
    done = cli(project, "identity", "show", *arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


ANN = id_of("anonymous_id:a1")


@pytest.mark.parametrize(
    ("arguments", "canonical", "found_by"),
    [
        pytest.param(("u1",), ANN, "user_id", id="a value"),
        pytest.param(("ann@x.com",), ANN, "email", id="a normalised value"),
        pytest.param((" Ann@X.com",), ANN, "email", id="a value as the event has it"),
        pytest.param(("user_id:u1",), ANN, "user_id", id="a type and value"),
        pytest.param(("email:ANN@x.com",), ANN, "email", id="a type and value in capitals"),
        pytest.param((ANN,), ANN, "canonical id", id="a canonical id"),
        pytest.param((id_of("user_id:u1"),), ANN, "lost canonical id", id="a lost canonical id"),
        pytest.param((id_of("anonymous_id:n07"),), id_of("user_id:many"), "identifier id", id="another id"),
        pytest.param(("dee", "--type", "user_id"), id_of("user_id:dee"), "user_id", id="a type that decides"),
        pytest.param(("anonymous_id:dee",), id_of("user_id:u3"), "anonymous_id", id="a prefix that decides"),
        pytest.param(("same",), id_of("user_id:same"), "anonymous_id", id="two types of one profile"),
    ],
)
def test_a_profile_is_found_by(
    built: Path, cli: Cli, arguments: tuple[str, ...], canonical: str, found_by: str
) -> None:
    found = shown(cli, built, *arguments)
    assert (found["canonical_id"], found["found_by"]) == (canonical, found_by)


@pytest.mark.parametrize(
    ("arguments", "sentences"),
    [
        pytest.param(
            ("dee",),
            ("2 profiles have 'dee'", "anonymous_id:dee", "user_id:dee", "--type user_id"),
            id="a value that two profiles have",
        ),
        pytest.param(("nobody",), ("No profile has the identifier 'nobody'", "dbt build"), id="unknown"),
        pytest.param(("u1", "--type", "email"), ("'u1' of type email",), id="unknown in a type"),
        pytest.param(
            ("u1", "--type", "emial"), ("Known types: user_id, email, anonymous_id.",), id="an unknown type"
        ),
    ],
)
def test_no_profile_is_found_by(
    built: Path, cli: Cli, arguments: tuple[str, ...], sentences: tuple[str, ...]
) -> None:
    done = cli(built, "identity", "show", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(sentence in done.stderr for sentence in sentences), done.stderr


def test_a_profile_tells_what_made_it(built: Path, cli: Cli) -> None:
    found = shown(cli, built, "u1")
    assert [(each["identifier_value"], each["is_canonical"]) for each in found["identifiers"]] == [
        ("a1", True),
        ("ann@x.com", False),
        ("u1", False),
    ]
    edges = {(each["left_value"], each["right_value"]): each for each in found["edges"]}
    assert {pair: each["message_id"] for pair, each in edges.items()} == {
        ("u1", "ann@x.com"): "m02",
        ("u1", "a1"): "m03",
    }
    (merge,) = found["merges"]
    assert (merge["loser_id"], merge["survivor_id"], merge["message_id"]) == (id_of("user_id:u1"), ANN, "m03")
    (conflict,) = found["conflicts"]
    assert {conflict["left_value"], conflict["right_value"]} == {"u2", "ann@x.com"}
    assert conflict["why"] == "user_id: at most 1 ever"


def test_a_profile_as_a_tree(built: Path, cli: Cli) -> None:
    text = cli(built, "identity", "show", "u1").stdout
    assert f"{ANN}   3 identifiers, seen 2026-01-01 10:00 to 2026-01-04 10:00" in text
    assert "anonymous_id:a1   2026-01-01 10:00 to 2026-01-03 10:00   (canonical)" in text
    assert "user_id:u1 — email:ann@x.com   identify, 1 message, first 2026-01-02 10:00 by m02" in text
    assert f"{id_of('user_id:u1')} → {ANN} by identify m03" in text
    assert (
        "user_id:u2 was left out, though seen with email:ann@x.com (1 message): user_id: at most 1 ever; "
        f"it is in {id_of('user_id:u2')}"
    ) in text
    many = cli(built, "identity", "show", "many").stdout
    assert f"identifiers ({MANY + 1})" in many
    assert "… and 6 more" in many
    assert len(shown(cli, built, "many")["identifiers"]) == MANY + 1


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        pytest.param(("u1", "nobody"), "No event has the identifier 'nobody'.", id="unknown"),
        pytest.param(
            ("dee", "u1"), "'dee' is ambiguous: anonymous_id:dee, user_id:dee.", id="a value of two"
        ),
        pytest.param(("u1", "user_id:u1"), "user_id:u1 cannot be split from itself.", id="the same"),
        pytest.param((ANN, "u1"), f"'{ANN}' is a profile id", id="a canonical id"),
    ],
)
def test_what_cannot_be_cut(built: Path, cli: Cli, ends: tuple[str, str], sentence: str) -> None:
    done = cli(built, "identity", "cut", *ends)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert not (built / "seeds").exists()


HEADER = "left_type,left_value,right_type,right_value,cut_at,reason"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(f'{HEADER}\nuser_id,"x, ""y""",email,Ü@x.com,2026-01-01,', id="no newline at the end"),
        pytest.param(f"{HEADER}\r\nuser_id,x,email,y@x.com,2026-01-01,\r\n", id="newlines of Windows"),
        pytest.param(
            f"\ufeff{HEADER.upper()},ticket\nuser_id,x,email,y,,,T1\n", id="a column more, and a BOM"
        ),
        pytest.param("reason,left_value,left_type,right_type,right_value,cut_at\n", id="another order"),
        pytest.param("", id="an empty file"),
        pytest.param(None, id="no file"),
    ],
)
def test_a_cut_is_one_row_more(mine: Path, cli: Cli, before: str | None) -> None:
    seed = mine / "seeds" / "cut_edges.csv"
    kept = (before or "").encode()
    seed.parent.mkdir()
    if before is not None:
        seed.write_bytes(kept)
    done = cli(mine, "identity", "cut", "email:ann@x.com", "u1", "--reason", 'a "shared" inbox, she says')
    assert done.returncode == 0, done.stderr
    assert "dbt build" in done.stdout
    assert "revetl sync" in done.stdout
    assert seed.read_bytes().startswith(kept)
    assert [file.name for file in seed.parent.iterdir() if file.name.startswith(".")] == []
    with seed.open(encoding="utf-8-sig", newline="") as file:
        *rest, row = csv.DictReader(line.lower() for line in file)
    assert len(rest) == max(len((before or "").splitlines()) - 1, 0)
    assert (row["left_type"], row["left_value"], row["right_type"], row["right_value"], row["reason"]) == (
        "email",
        "ann@x.com",
        "user_id",
        "u1",
        'a "shared" inbox, she says',
    )
    after = seed.read_bytes()
    again = cli(mine, "identity", "cut", "user_id:u1", "ann@x.com")
    assert "already" in again.stdout
    assert seed.read_bytes() == after


def test_a_cut_of_what_is_apart_says_so(mine: Path, cli: Cli) -> None:
    done = cli(mine, "identity", "cut", "u1", "u2")
    assert done.returncode == 0
    assert "They are in different profiles today" in done.stdout
    answer = json.loads(cli(mine, "identity", "cut", "u1", "u2", "-o", "json").stdout)
    assert (answer["seed"], answer["is_new"], answer["were_one_profile"]) == (
        "seeds/cut_edges.csv",
        False,
        False,
    )


def test_a_seed_that_lacks_a_column_is_left_alone(mine: Path, cli: Cli) -> None:
    seed = mine / "seeds" / "cut_edges.csv"
    seed.parent.mkdir()
    seed.write_text("left_type,left_value\n")
    done = cli(mine, "identity", "cut", "u1", "ann@x.com")
    assert done.returncode == 2
    assert "the column 'right_type' is missing" in done.stderr
    assert seed.read_text() == "left_type,left_value\n"


def test_the_first_cut_creates_the_seed_and_says_what_reads_it(mine: Path, cli: Cli) -> None:
    done = cli(mine, "identity", "cut", "u1", "a1")
    assert done.returncode == 0, done.stderr
    assert (mine / "seeds" / "cut_edges.csv").read_text().startswith(f"{HEADER}\nuser_id,u1,anonymous_id,a1,")
    (declared,) = yaml.safe_load((mine / "seeds" / "cut_edges.yml").read_text())["seeds"]
    assert (declared["name"], set(declared["config"]["column_types"])) == (
        "cut_edges",
        set(HEADER.split(",")),
    )
    assert "Name it in dbt_project.yml:\n  vars:\n    revetl:\n      cut_edges: cut_edges" in done.stdout


def test_the_variable_names_the_seed_that_a_cut_goes_to(mine: Path, cli: Cli) -> None:
    have_read(mine, "my_cuts")
    file = mine / "seeds" / "my_cuts.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(",".join(COLUMNS) + "\n")
    done = cli(mine, "identity", "cut", "u1", "a1")
    assert done.returncode == 0, done.stderr
    assert [each.name for each in (mine / "seeds").iterdir()] == ["my_cuts.csv"]
    assert len(file.read_text().splitlines()) == 2
    assert "dbt_project.yml" not in done.stdout
    assert "dbt build --select my_cuts+" in done.stdout


def test_a_seed_that_the_variable_names_and_that_is_not_there_is_named(mine: Path, cli: Cli) -> None:
    have_read(mine, "my_cuts")
    done = cli(mine, "identity", "cut", "u1", "a1")
    assert (done.returncode, (mine / "seeds").exists()) == (2, False)
    assert (
        "Error: dbt_project.yml: vars.revetl.cut_edges: the project has no seed, model or snapshot "
        f"'my_cuts', or it is disabled. Create seeds/my_cuts.csv with the line `{','.join(COLUMNS)}`, "
        "or remove the variable (`revetl identity cut` creates a seed then)."
    ) in done.stderr
    assert "Compilation Error" not in done.stderr


def have_read(project: Path, seed: str) -> None:
    """Have the models of a project read its seed of cuts."""
    document = yaml.safe_load((project / "dbt_project.yml").read_text())
    document["vars"]["revetl"]["cut_edges"] = seed
    (project / "dbt_project.yml").write_text(yaml.safe_dump(document))


def test_the_sync_after_a_cut_repairs_the_destination(mine: Path, cli: Cli, sandbox: SandboxClient) -> None:
    def sync() -> dict[str, Any]:
        done = cli(mine, "sync", "audience", "known", REVETL_SANDBOX_URL=sandbox.url)
        assert done.returncode == 0, done.stderr + done.stdout
        return {key: fields["user_id"] for key, fields in sandbox.members("crm", "known").items()}

    first = sync()
    assert first[id_of("anonymous_id:a5")] == "00123"
    done = cli(mine, "identity", "cut", "a5", "00123")
    assert done.returncode == 0, done.stderr
    have_read(mine, "cut_edges")
    built = run_dbt_in(mine, "build", "--select", "cut_edges+")
    assert "WARN=0 ERROR=0 SKIP=0" in built.stdout
    second = sync()
    assert id_of("anonymous_id:a5") not in second
    assert second == {key: user_id for key, user_id in first.items() if user_id != "00123"} | {
        id_of("user_id:00123"): "00123"
    }
    assert second == dict(sql(mine, "select canonical_id, user_id from known"))

    found = shown(cli, mine, "00123")
    (conflict,) = found["conflicts"]
    assert conflict["why"] == "cut"
    assert found["cuts"][0]["left_value"] == "a5"
    assert "conflicts (1)" in cli(mine, "identity", "show", "a5").stdout


Rules = Callable[[dict[str, Any]], Path]


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    """Write a file of rules."""

    def write(document: dict[str, Any]) -> Path:
        path = tmp_path / "new.yml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write


def limited(**limits: int | str) -> dict[str, Any]:
    """The project's rules with other limits."""
    own = {name: {**each} for name, each in RULES["identifiers"].items()}
    return {
        **RULES,
        "identifiers": {
            name: each | ({"limit": limits[name]} if name in limits else {}) for name, each in own.items()
        },
    }


@pytest.fixture
def untouched(built: Path) -> Iterator[None]:
    """Neither the project's tables nor its files are other than before."""

    def state() -> Any:
        tables = sql(
            built,
            "select table_schema, table_name from information_schema.tables order by all",
        )
        counts = [sql(built, f'select count(*) from "{schema}"."{name}"') for schema, name in tables]
        files = sorted(str(path) for path in built.rglob("*") if "logs" not in path.parts)
        return tables, counts, sql(built, "from revetl.model_builds order by all"), files

    before = state()
    schemas = sql(built, "select schema_name from information_schema.schemata order by 1")
    yield
    assert state() == before
    assert sql(built, "select schema_name from information_schema.schemata order by 1") == schemas


@pytest.mark.long
def test_rules_that_merge(built: Path, cli: Cli, rules: Rules, untouched: None) -> None:
    path = rules({"identity": limited(user_id="none")})
    done = cli(built, "identity", "diff", "--rules", str(path), "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["profiles_before"], found["profiles_after"]) == (7, 6)
    assert (found["merged"], found["split"], found["identifiers_moved"]) == (1, 0, 1)
    assert found["largest"][0] == {
        "canonical_id": id_of("user_id:many"),
        "identifiers": MANY + 1,
        "old_profiles": 1,
    }
    assert found["largest"][1] == {"canonical_id": ANN, "identifiers": 4, "old_profiles": 2}
    audiences = {each["audience"]: each for each in found["audiences"]}
    for name in ("everyone", "known"):
        assert (audiences[name]["gained"], audiences[name]["lost"]) == (0, 1)
        assert audiences[name]["lost_examples"] == [id_of("user_id:u2")]


@pytest.mark.long
def test_rules_that_split(built: Path, cli: Cli, rules: Rules, untouched: None) -> None:
    done = cli(built, "identity", "diff", "--rules", str(rules(limited(anonymous_id=5))))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["profiles", "7", "27"] in lines
    assert "0 new profiles made of two old ones or more (merged)" in done.stdout
    assert "1 old profile in two new ones or more (split)" in done.stdout
    assert "20 identifiers with another canonical id" in done.stdout
    assert ["everyone", "canonical_id", "7", "27", "20", "0"] in lines
    assert ["known", "canonical_id", "7", "7", "0", "0"] in lines
    assert "… and 15 more" in done.stdout


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        pytest.param(
            limited(email=0),
            "Error: vars.revetl.identity.identifiers.email.limit is '0'; it must be a whole number from 1",
            id="a wrong rule",
        ),
        pytest.param([1], "not a mapping", id="no mapping"),
        pytest.param({"identity": {}}, "not a mapping", id="nothing"),
    ],
)
def test_wrong_rules(
    built: Path, cli: Cli, rules: Rules, untouched: None, document: Any, sentence: str
) -> None:
    done = cli(built, "identity", "diff", "--rules", str(rules(document)))
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Compilation" not in done.stderr


def test_rules_that_are_not_there(built: Path, cli: Cli) -> None:
    done = cli(built, "identity", "diff", "--rules", "nwe.yml")
    assert done.returncode == 2
    assert "nwe.yml: file not found" in done.stderr


def test_what_profiles_yml_says_stays_unread(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PATH", "my_cdp.duckdb")
    output = {"type": "duckdb", "path": "{{ env_var('SHOP_PATH') }}", "schema": "{{ env_var('S', 'main') }}"}
    profile = {"target": "dev", "outputs": {"dev": output, "prod": {"type": "duckdb", "path": "elsewhere"}}}
    (mine / "profiles.yml").write_text(yaml.safe_dump({"my_cdp": profile}))
    write_profiles(Project(mine).workspace, tmp_path)
    written = yaml.safe_load((tmp_path / "profiles.yml").read_text())
    schema = "{{ env_var('S', 'main') }}_identity_diff"
    assert written == {"my_cdp": {"target": "dev", "outputs": {"dev": {**output, "schema": schema}}}}


@pytest.mark.long
def test_a_project_that_would_be_built_over_is_refused(mine: Path, cli: Cli, rules: Rules) -> None:
    (mine / "macros").mkdir()
    (mine / "macros" / "schemas.sql").write_text(
        "{% macro generate_schema_name(custom_schema_name, node) %}main{% endmacro %}"
    )
    done = cli(mine, "identity", "diff", "--rules", str(rules(RULES)))
    assert done.returncode == 2
    assert "would be built in schema 'main' with the new rules" in done.stderr
    assert len(sql(mine, "from int_revetl__identity_graph")) == len(
        sql(mine, "select distinct identifier_id from int_revetl__identity_graph")
    )


@pytest.mark.long
def test_a_build_that_fails_leaves_nothing(mine: Path, cli: Cli, rules: Rules) -> None:
    (mine / "models" / "audiences" / "known.sql").write_text(
        "{% if var('identity_preview', false) %}select nothing{% else %}select 1 as canonical_id{% endif %} "
        "-- {{ ref('revetl', 'revetl_profile_identifiers') }}"
    )
    done = cli(mine, "identity", "diff", "--rules", str(rules(RULES)))
    assert done.returncode == 5
    assert "`dbt build` with the new rules failed" in done.stderr
    assert (
        sql(mine, "select 1 from information_schema.schemata where schema_name ilike '%identity_diff%'") == []
    )
