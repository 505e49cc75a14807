"""What validate passes, sync does not refuse for its configuration; what sync refuses, validate says."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from revetl import dbt
from revetl.dbt.column_lineage import CompiledColumns
from revetl.errors import RevetlError, UsageError
from revetl.inspect.validate import validate
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.helpers.suites import first_fast

VIPS = "select 'u1' as user_id, 1 as score, 'a@b.example' as email, timestamp '2026-01-01' as seen_at"
PLACE = "models/audiences.yml: vips: meta.revetl"
KEY = {"key": "user_id"}


def compiled(project: ProjectFolder, **queries: str) -> None:
    """Give the manifest's models the SQL they are made of, as `dbt compile` does."""
    path = project.root / "target" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for node in manifest["nodes"].values():
        if (query := queries.get(node["name"])) is not None:
            node["compiled_code"] = query
            node["config"].setdefault("materialized", "table")
    path.write_text(json.dumps(manifest))
    later = time.time() + 5
    os.utime(path, (later, later))


def shop(project: ProjectFolder, meta: Any, revetl_yml: Any = None, *, known: bool = True) -> ProjectFolder:
    """The audience vips with a meta, another one, and a list of people who opted out."""
    project.audience("vips", VIPS, meta if isinstance(meta, dict) else {"is": meta})
    project.audience("lapsed", "select 'u9' as user_id", {**KEY, "sync": [{"to": "crm"}]})
    project.audience("opted_out", "select 'u5' as person", {"key": "person", "sync": [{"to": "crm"}]})
    if known:
        compiled(
            project,
            vips=f"with people as ({VIPS}) select * from people",
            lapsed="select 'u9' as user_id",
            opted_out="select 'u5' as person",
        )
    if not isinstance(meta, dict):
        path = project.root / "target" / "manifest.json"
        path.write_text(path.read_text().replace(json.dumps({"is": meta}), json.dumps(meta)))
        os.utime(path, (time.time() + 5, time.time() + 5))
    if revetl_yml is not None:
        (project.root / "revetl.yml").write_text(yaml.safe_dump(revetl_yml))
    return project


def errors_of(project: ProjectFolder, **options: Any) -> list[str]:
    return validate(dbt.Options(project_dir=project.root), **options)


def refusal(project: ProjectFolder) -> str | None:
    """The sentence with which a sync of vips is refused for its configuration."""
    try:
        project.open().sync("vips")
    except UsageError as error:
        return str(error)
    except RevetlError:
        return None
    return None


def to_crm(**keys: Any) -> dict[str, Any]:
    return {**KEY, "sync": [{"to": "crm", **keys}]}


BROKEN_META: dict[str, Any] = {
    "no mapping at all": "crm",
    "no key": {"sync": [{"to": "crm"}]},
    "a key that is no text": {"key": 7, "sync": [{"to": "crm"}]},
    "no sync": KEY,
    "no destination": {**KEY, "sync": [{}]},
    "an unknown key": to_crm(feilds={}),
    "an unknown mode": to_crm(mode="miror"),
    "a mode the destination has not": {**KEY, "sync": [{"to": "tag", "mode": "insert"}]},
    "an unknown destination": {**KEY, "sync": [{"to": "cmr"}]},
    "a destination of an unknown type": {**KEY, "sync": [{"to": "odd"}]},
    "a key that is no column": {"key": "userid", "sync": [{"to": "crm"}]},
    "an unknown column": to_crm(fields={"points": "scor"}),
    "an unknown column in an expression": to_crm(fields={"points": "round(scores)"}),
    "an unknown column of an identifier": to_crm(identifiers={"id": "user"}),
    "an unknown identifier": to_crm(identifiers={"email": "email"}),
    "no SQL": to_crm(fields={"points": "round(score"}),
    "a query": to_crm(fields={"points": "(select 1)"}),
    "an aggregate": to_crm(fields={"points": "max(score)"}),
    "a window": to_crm(fields={"points": "row_number() over ()"}),
    "a constant that is a field": to_crm(fields=["score"], constants={"score": 1}),
    "a constant that is a list": to_crm(constants={"tags": ["a"]}),
    "set_if_empty of no field": to_crm(fields=["score"], set_if_empty=["scor"]),
    "set_if_empty where it cannot be": {
        **KEY,
        "sync": [{"to": "tag", "fields": ["score"], "set_if_empty": ["score"]}],
    },
    "archive of no field": to_crm(mode="archive", fields=["score"], archive={"active": False}),
    "archive without its mode": to_crm(fields=["score"], archive={"score": 0}),
    "events without an event": to_crm(mode="events", fields=["score"]),
    "an unknown timestamp": to_crm(mode="events", event="Left", timestamp="seen", fields=["score"]),
    "an order without a limit": to_crm(order_by="score desc"),
    "an unknown order": to_crm(limit=1, order_by="scor desc"),
    "an order that is no SQL": to_crm(limit=1, order_by="round(score desc"),
    "a share that is none": to_crm(holdout="many"),
    "a limit below nothing": to_crm(limit=-1),
    "excluding an unknown model": to_crm(exclude="opted_outt"),
    "excluding by an unknown column": to_crm(exclude=[{"model": "opted_out", "on": "mail"}]),
    "excluding an unknown column": to_crm(exclude=[{"model": "opted_out", "column": "persn"}]),
    "an unknown priority": to_crm(priority="offer"),
    "a priority it is not in": to_crm(priority="others"),
    "a priority of an unknown audience": to_crm(priority="wins"),
}
DESTINATIONS = {
    "crm": {"type": "webhook", "url": "http://127.0.0.1:1"},
    "tag": {"type": "segment", "write_key": "{{ env_var('TAG_KEY', 'x') }}"},
    "odd": {"type": "webhok", "url": "http://127.0.0.1:1"},
}
PRIORITIES = {"offers": ["lapsed", "vips"], "others": ["lapsed"], "wins": ["gone", "vips"]}


@pytest.mark.parametrize("meta", BROKEN_META.values(), ids=BROKEN_META.keys())
def test_what_sync_refuses_of_a_meta_validate_says(project: ProjectFolder, meta: Any) -> None:
    shop(project, meta, {"destinations": DESTINATIONS, "priorities": PRIORITIES})
    sentence = refusal(project)
    assert sentence is not None
    assert sentence in errors_of(project)


BROKEN_REVETL_YML: dict[str, Any] = {
    "a list": [1],
    "an unknown part": {"destination": {}},
    "no destinations": {},
    "a destination that is text": {"destinations": {"crm": "webhook"}},
    "no type": {"destinations": {"crm": {"url": "http://x"}}},
    "an unknown type": {"destinations": {"crm": {"type": "webhok", "url": "http://x"}}},
    "a missing key": {"destinations": {"crm": {"type": "webhook"}}},
    "an unknown key": {"destinations": {"crm": {"type": "webhook", "url": "http://x", "bach_size": 5}}},
    "a wrong number": {"destinations": {"crm": {"type": "webhook", "url": "http://x", "batch_size": "many"}}},
    "a URL that is none": {"destinations": {"crm": {"type": "webhook", "url": "crm.example"}}},
    "a secret that is not set": {
        "destinations": {
            "crm": {"type": "webhook", "url": "http://x", "secret": "{{ env_var('NOT_SET_1') }}"}
        }
    },
    "Jinja that is not known": {"destinations": {"crm": {"type": "webhook", "url": "{{ secret }}"}}},
    "Jinja that is broken": {"destinations": {"crm": {"type": "webhook", "url": "{{ env_var('X' }}"}}},
    "priorities that are text": {"destinations": DESTINATIONS, "priorities": {"offers": 3}},
}


@pytest.mark.parametrize("document", BROKEN_REVETL_YML.values(), ids=BROKEN_REVETL_YML.keys())
def test_what_sync_refuses_of_revetl_yml_validate_says(project: ProjectFolder, document: Any) -> None:
    shop(project, to_crm(fields=["score"]), document)
    sentence = refusal(project)
    assert sentence is not None
    assert sentence in errors_of(project)


BROKEN_FILES: dict[str, Callable[[Path], object]] = {
    "revetl.yml is no YAML": lambda root: (root / "revetl.yml").write_text("destinations: {crm: [\n"),
    "no profile": lambda root: (root / "profiles.yml").write_text("other: {}"),
    "no target": lambda root: (root / "profiles.yml").write_text("shop: {target: prod, outputs: {dev: {}}}"),
    "no name": lambda root: (root / "dbt_project.yml").write_text("profile: shop"),
}


@pytest.mark.parametrize("break_it", BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_what_sync_refuses_of_a_projects_files_validate_says(
    project: ProjectFolder, break_it: Callable[[Path], object]
) -> None:
    shop(project, to_crm(fields=["score"]))
    break_it(project.root)
    assert errors_of(project) == [refusal(project)]


RIGHT: dict[str, Any] = {
    "a mirror": to_crm(),
    "a list of columns": to_crm(fields=["score", "email"]),
    "expressions": to_crm(fields={"points": "round(SCORE * 2)", "mail": "lower(email)"}),
    "constants beside every column": to_crm(constants={"source": "revetl", "score": 7}),
    "set_if_empty": to_crm(fields=["score"], set_if_empty=["score"]),
    "an archive": to_crm(
        mode="archive", fields=["score"], constants={"active": True}, archive={"active": False}
    ),
    "events": to_crm(mode="events", event="Left", timestamp="seen_at", fields=["score"]),
    "people left out": to_crm(exclude=["opted_out", {"model": "lapsed"}], priority="offers", holdout="10%"),
    "a limit": to_crm(limit=1, order_by="score desc"),
    "one sync without a list": {**KEY, "sync": {"to": "crm"}},
}


@pytest.mark.parametrize("known", first_fast([True, False]), ids=["compiled", "only parsed"])
@pytest.mark.parametrize("meta", first_fast(RIGHT.values(), 5), ids=RIGHT.keys())
def test_what_is_right_is_passed_and_runs(
    project: ProjectFolder, sandbox: SandboxClient, meta: Any, known: bool
) -> None:
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    shop(project, meta, {"destinations": {"crm": crm}, "priorities": PRIORITIES}, known=known)
    assert (errors_of(project), refusal(project)) == ([], None)


@pytest.mark.parametrize(
    ("keys", "errors"),
    [
        ({"fields": {"LastName": "email"}}, 0),
        ({"fields": {"Score__c": "score"}, "constants": {"LastName": "?"}}, 0),
        ({"fields": {"Score__c": "score"}}, 1),
    ],
)
def test_a_field_that_nobody_is_made_without(project: ProjectFolder, keys: Any, errors: int) -> None:
    salesforce = {
        "type": "salesforce",
        "access_token": "x",
        "external_id_field": "Shop_Id__c",
        "base_url": "https://shop.my.salesforce.com",
    }
    meta = {**KEY, "sync": [{"to": "sf", "mode": "upsert", **keys}]}
    crm = {"type": "webhook", "url": "https://crm.example"}
    found = errors_of(shop(project, meta, {"destinations": {"sf": salesforce, "crm": crm}}))
    required = [each for each in found if "requires 'LastName' to create a record" in each]
    assert len(required) == len(found) == errors


def test_every_error_at_once(project: ProjectFolder, cli: Cli) -> None:
    meta = {
        **KEY,
        "sync": [
            {"to": "crm", "mode": "miror", "feilds": {}, "identifiers": {"ids": "user_id"}},
            {"to": "cmr"},
            {"to": "tag", "fields": {"a": "scor", "b": "max(score)", "c": "score"}, "set_if_empty": ["c"]},
            {"to": "crm", "order_by": "score", "salt": "s", "fields": {"d": "nothing"}},
        ],
    }
    destinations = {
        "crm": {
            "type": "webhook",
            "url": "{{ env_var('NOT_SET_1') }}",
            "secret": "{{ env_var('NOT_SET_2') }}",
        },
        "tag": {"type": "segment", "write_key": "{{ env_var('TAG_KEY', 'x') }}", "reigon": "eu"},
        "unused": {"type": "braze", "api_key": "{{ env_var('NOT_SET_3') }}"},
    }
    shop(project, meta, {"destinations": destinations, "priority": {}})
    not_set = "environment variable {} is not set. Export it, or use --to to skip crm."
    expected = [
        "revetl.yml: priority: unknown key 'priority'. Did you mean 'priorities'?",
        "revetl.yml: destinations.crm.url: " + not_set.format("NOT_SET_1"),
        "revetl.yml: destinations.crm.secret: " + not_set.format("NOT_SET_2"),
        f"{PLACE}: sync.0.mode: 'miror' is not known. Did you mean 'mirror'?",
        f"{PLACE}: sync.0.feilds: unknown key 'feilds'. Did you mean 'fields'?",
        f"{PLACE}: sync.3: order_by: sorts members for a limit and requires limit:.",
        f"{PLACE}: sync.3: salt: requires holdout:.",
        f"{PLACE}.sync.0: identifiers.ids: 'crm' does not support this identifier. Did you mean 'id'?",
        f"{PLACE}.sync.1.to: revetl.yml has no destination 'cmr'. Did you mean 'crm'?",
        "revetl.yml: destinations.tag: reigon: unknown key 'reigon'. Did you mean 'region'?",
        f"{PLACE}.sync.2: fields.a: the model has no column 'scor'. Did you mean 'score'?",
        f"{PLACE}.sync.2: fields.b: 'max(score)' reads several rows. Move it into the model.",
        f"{PLACE}.sync.2: set_if_empty: 'tag' cannot detect whether a field is empty. Remove the option.",
        f"{PLACE}.sync.3: fields.d: the model has no column 'nothing'. "
        "There are: email, score, seen_at, user_id.",
        "revetl.yml: destinations.unused: base_url is missing. Add it.",
    ]
    as_text = cli(project, "validate")
    as_json = cli(project, "validate", "-o", "json")
    assert (as_text.returncode, as_text.stdout, as_json.returncode) == (2, "", 2)
    assert sorted(json.loads(as_json.stdout)) == sorted(expected)
    assert [f"Error: {line}" for line in json.loads(as_json.stdout)] == as_text.stderr.splitlines()[:-1]
    assert as_text.stderr.splitlines()[-1] == "15 errors."
    without = json.loads(cli(project, "validate", "-o", "json", "--no-secrets").stdout)
    assert sorted(without) == sorted(line for line in expected if "NOT_SET" not in line)


def test_what_is_right_exits_0(project: ProjectFolder, cli: Cli) -> None:
    shop(project, to_crm(fields=["score"]))
    done = cli(project, "validate")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "The configuration is valid.\n")
    assert not (project.root / "revetl").exists()


COLUMNS: dict[str, str] = {
    "names": "select a, b as c, 1 + 1 as d from main.base",
    "a star": "select * from main.base",
    "a star of one of two": "select l.*, r.a as other from main.base l, main.base r",
    "stars of both sides": "select * from main.base inner join main.pair using (a)",
    "a star without": "select * exclude (b) from main.base",
    "a star with one renamed": "select * rename (b as z) from main.base",
    "a star with one replaced": "select * replace (1 as b) from main.base",
    "CTEs": "with x as (select * from main.base), y as (select a, x.b from x) select *, 1 as n from y",
    "a CTE with names": "with x (p, q) as (select 1, 2) select * from x",
    "a union": "select a from main.base union all select b from main.base",
    "a union in a CTE": "with x as (select a as k from main.base union select 2) select * from x",
    "a subquery": "select * from (select a, b from main.base) as s",
    "a subquery with names": "select * from (select 1, 2) as s(p, q)",
    "a model of a model": "select * from main.middle",
    "duckdb's from first": "from main.base",
}
UNKNOWN: dict[str, str] = {
    "no name": "select count(*) from main.base",
    "a table function": "select * from range(3)",
    "a table dbt does not have": "select * from elsewhere",
    "a pivot": "select * from main.base pivot (sum(a) for b in (1, 2))",
    "a pattern": "select columns('a') from main.base",
    "a union by name": "select a from main.base union by name select b from main.base",
    "no SQL": "selec a",
}


def columns_of(project: ProjectFolder, query: str) -> tuple[str, ...] | None:
    models = {
        "base": "select 1 as a, 2 as b",
        "pair": "select 1 as a, 3 as c",
        "middle": "select a, b from base",
    }
    for name, made_of in models.items():
        project.audience(name, made_of, dict(KEY))
    project.audience("asked", "select 1", dict(KEY))
    compiled(project, **models, asked=query)
    opened = dbt.read_project(dbt.Options(project_dir=project.root))
    return CompiledColumns(dbt.Manifest(opened), opened).of("model.shop.asked")


@pytest.mark.parametrize("query", COLUMNS.values(), ids=COLUMNS.keys())
def test_columns_are_those_that_duckdb_finds(project: ProjectFolder, query: str) -> None:
    found = columns_of(project, query)
    assert found == tuple(str(row[0]) for row in project.sql(f"describe {query}"))


@pytest.mark.parametrize("query", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_columns_that_cannot_be_known_are_not_guessed(project: ProjectFolder, query: str) -> None:
    assert columns_of(project, query) is None


def test_columns_of_older_sql_are_not_believed(project: ProjectFolder) -> None:
    shop(project, to_crm(fields={"points": "new_column"}))
    later = time.time() + 60
    (project.root / "models" / "vips.sql").write_text("select 1 as new_column")
    os.utime(project.root / "models" / "vips.sql", (later, later))
    opened = dbt.read_project(dbt.Options(project_dir=project.root))
    assert CompiledColumns(dbt.Manifest(opened), opened).of("model.shop.vips") is None


WRONG_COLUMNS: dict[str, tuple[Any, str]] = {
    "the key": (
        {"key": "user_ld", "sync": [{"to": "crm"}]},
        f"{PLACE}.sync.0: key: the model has no column 'user_ld'. Did you mean 'user_id'?",
    ),
    "a field": (
        to_crm(fields={"points": "scor"}),
        f"{PLACE}.sync.0: fields.points: the model has no column 'scor'. Did you mean 'score'?",
    ),
}


@pytest.mark.parametrize(("meta", "sentence"), WRONG_COLUMNS.values(), ids=WRONG_COLUMNS.keys())
def test_columns_are_those_of_the_relation_where_nothing_is_compiled(
    project: ProjectFolder, meta: Any, sentence: str
) -> None:
    shop(project, meta, known=False)
    assert errors_of(project) == [sentence]


def test_columns_that_could_not_be_checked_are_named(project: ProjectFolder, cli: Cli) -> None:
    shop(project, {"key": "user_ld", "sync": [{"to": "crm"}]}, known=False)
    project.sql("drop table vips")
    done = cli(project, "validate")
    assert done.returncode == 0, done.stderr
    assert "Not checked: the columns of vips." in done.stderr
    assert "The configuration is valid." in done.stderr


def test_the_relation_of_a_model_that_was_edited_since_is_not_believed(
    project: ProjectFolder, cli: Cli
) -> None:
    shop(project, to_crm(fields=["added_now"]), known=False)
    project.run_results({})
    file = project.root / "models" / "vips.sql"
    file.write_text("select user_id, 1 as added_now from people")
    project.write_manifest()
    later = time.time() + 3
    os.utime(file, (later, later))
    done = cli(project, "validate", "vips")
    assert done.returncode == 0, done.stderr
    assert "Not checked: the columns of vips." in done.stderr
