"""Which edits dbt has to parse, and which are read without it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from revetl.dbt.edits import change_the_manifest
from revetl.dbt.project_files import Options, read_project
from tests.conftest import Cli
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people

SQL = "select user_id, 1 as score from {{ ref('people') }} where {{ revetl.did('Order Completed') }}"
YAML = """\
models:
  - name: vips
    description: Very important.
    config:
      meta:
        revetl: {key: user_id, sync: [{to: crm, fields: [score]}]}
"""


@pytest.fixture
def shop(project: ProjectFolder, cli: Cli) -> ProjectFolder:
    """A project with one audience, whose manifest has been read once."""
    meta = {"key": "user_id", "sync": [{"to": "crm", "fields": ["score"]}]}
    project.audience("vips", people(("u1", 1)), meta)
    (project.root / "models" / "vips.sql").write_text(SQL)
    (project.root / "models" / "audiences.yml").write_text(YAML)
    path = project.root / "target" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["metadata"]["invocation_id"] = "a"
    manifest["nodes"]["model.shop.vips"]["raw_code"] = SQL
    path.write_text(json.dumps(manifest))
    aged(project.root, 100)
    assert cli(project, "list").returncode == 0
    return project


def aged(root: Path, seconds: float) -> None:
    """Have everything been written so long ago, the manifest last."""
    then = time.time() - seconds
    for file in [*(root / "models").rglob("*"), root / "dbt_project.yml"]:
        os.utime(file, (then, then))
    os.utime(root / "target" / "manifest.json", (then + 1, then + 1))


def is_parsed(project: ProjectFolder, cli: Cli) -> bool:
    """Whether `list` has dbt parse the project: here, a program that fails."""
    done = cli(project, "list", REVETL_DBT="/bin/false")
    assert done.returncode in (0, 2)
    return done.returncode == 2


SQL_EDITS: dict[str, tuple[str, bool]] = {
    "nothing": (SQL, False),
    "a comment": (SQL + "\n-- a comment", False),
    "a column": (SQL.replace("1 as score", "2 as score, 3 as more"), False),
    "a comment of Jinja": (SQL + "{# {{ ref('other') }} #}", False),
    "another ref": (SQL.replace("ref('people')", "ref('others')"), True),
    "another condition": (SQL.replace("did('Order", "did_not('Order"), True),
    "a config": ("{{ config(alias='x') }}" + SQL, True),
    "text that is a value": (SQL + "{% set x %}a{% endset %}", True),
}


@pytest.mark.parametrize(("sql", "parsed"), SQL_EDITS.values(), ids=SQL_EDITS.keys())
def test_an_edit_of_sql(shop: ProjectFolder, cli: Cli, sql: str, parsed: bool) -> None:
    (shop.root / "models" / "vips.sql").write_text(sql)
    assert is_parsed(shop, cli) == parsed


YAML_EDITS: dict[str, tuple[str, bool]] = {
    "nothing": (YAML, False),
    "a comment": (YAML + "# a comment\n", False),
    "a mode": (YAML.replace("to: crm,", "to: crm, mode: upsert,"), False),
    "a value with Jinja": (YAML.replace("to: crm,", "to: \"{{ 'crm' }}\","), True),
    "a description": (YAML.replace("Very", "Most"), True),
    "a tag": (YAML.replace("    config:\n", "    config:\n      tags: [x]\n"), True),
    "another model": (YAML + "  - name: more\n", True),
    "no meta": (YAML[: YAML.index("    config:")], True),
    "invalid YAML": (YAML + "  - [", True),
}


@pytest.mark.parametrize(("text", "parsed"), YAML_EDITS.values(), ids=YAML_EDITS.keys())
def test_an_edit_of_yaml(shop: ProjectFolder, cli: Cli, text: str, parsed: bool) -> None:
    (shop.root / "models" / "audiences.yml").write_text(text)
    assert is_parsed(shop, cli) == parsed


def test_what_was_edited_is_what_counts(shop: ProjectFolder, cli: Cli) -> None:
    (shop.root / "models" / "audiences.yml").write_text(YAML.replace("to: crm,", "to: crm, mode: upsert,"))
    (listed,) = json.loads(cli(shop, "list", "-o", "json", REVETL_DBT="/bin/false").stdout)
    assert listed["syncs"][0]["mode"] == "upsert"
    (shop.root / "models" / "audiences.yml").write_text(YAML.replace("key: user_id", "key: user_ld"))
    done = cli(shop, "validate", REVETL_DBT="/bin/false")
    assert "key: the model has no column 'user_ld'" in done.stderr


@pytest.mark.parametrize("edit", ["a new model", "a macro", "dbt_project.yml", "another manifest"])
def test_what_only_dbt_can_read(shop: ProjectFolder, cli: Cli, edit: str) -> None:
    if edit == "a new model":
        (shop.root / "models" / "new.sql").write_text("select 1")
    elif edit == "a macro":
        (shop.root / "macros").mkdir()
        (shop.root / "macros" / "schemas.sql").write_text(
            "{% macro generate_schema_name(name, node) %}x{% endmacro %}"
        )
    elif edit == "dbt_project.yml":
        os.utime(shop.root / "dbt_project.yml")
    else:
        path = shop.root / "target" / "manifest.json"
        path.write_text(path.read_text().replace('"invocation_id": "a"', '"invocation_id": "b"'))
        aged(shop.root, 50)
        (shop.root / "models" / "audiences.yml").write_text(YAML + "# x\n")
    assert is_parsed(shop, cli)


VARIABLES: dict[str, tuple[dict[str, str], set[str], bool]] = {
    "the package's current time": ({}, {"as_of"}, False),
    "one that nothing reads": ({}, {"nothing"}, False),
    "text in the SQL of a model": ({"models/a.sql": "select {{ var('x', 1) }} as x"}, {"x"}, False),
    "a condition in a model": ({"models/a.sql": "{% if var('x') %}select 1{% endif %}"}, {"x"}, True),
    "a configuration": ({"models/a.sql": "{{ config(schema=var('x')) }}"}, {"x"}, True),
    "a macro in a folder of another name": (
        {"dbt_project.yml": "name: shop\nmacro-paths: [jinja]\n", "jinja/a.sql": "{% if var('x') %}"},
        {"x"},
        True,
    ),
    "a macro": ({"macros/a.sql": "{% macro a() %}{% do f(var('x')) %}{% endmacro %}"}, {"x"}, True),
    "YAML": ({"models/a.yml": "models: [{name: a, config: {schema: \"{{ var('x') }}\"}}]"}, {"x"}, True),
    "a package's macro": ({"dbt_packages/p/macros/a.sql": "{% if var('x') %}"}, {"x"}, True),
    "one of two": ({"models/a.yml": "a: \"{{ var('x') }}\""}, {"as_of", "x"}, True),
}


@pytest.mark.parametrize(("files", "names", "expected"), VARIABLES.values(), ids=VARIABLES.keys())
def test_variables_that_may_change_a_manifest(
    project: ProjectFolder, files: dict[str, str], names: set[str], expected: Any
) -> None:
    for name, text in files.items():
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_text(text)
    found = read_project(Options(project_dir=project.root))
    assert change_the_manifest(found, names) == expected
