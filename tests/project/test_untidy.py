"""An untidy dbt project adopts revetl: its own models stay as they are, and CI leaves production alone.

The project has a schema macro, three targets in one database, a vendored dbt_utils, contracts, versions,
groups, access, disabled and ephemeral models, and models with the names that revetl's once had.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from revetl.sandbox import running_sandbox
from tests.project.projects import dbt

pytestmark = pytest.mark.long

AUDIENCE = "{key: user_id, sync: [{to: crm}, {to: preview}]}"
FILES = {
    "dbt_project.yml": """\
name: untidy   # the shop's
version: "1.0"
profile: untidy
vars:
    start_date: "2020-01-01"   # in four columns
flags:
  state_modified_compare_more_unrendered_values: true
models:
  untidy:
    +materialized: table
    legacy:
        +enabled: false
""",
    "profiles.yml": """\
untidy:
  target: dev
  outputs:
    dev: {type: duckdb, path: untidy.duckdb, schema: dev, threads: 2}
    ci: {type: duckdb, path: untidy.duckdb, schema: ci, threads: 2}
    prod: {type: duckdb, path: untidy.duckdb, schema: analytics, threads: 2}
""",
    "packages.yml": "# ours\npackages:\n- local: packages/dbt_utils\n",
    "packages/dbt_utils/dbt_project.yml": "name: dbt_utils\nversion: 1.3.0\nconfig-version: 2\n",
    "packages/dbt_utils/macros/keys.sql": (
        "{% macro generate_surrogate_key(fields) %}md5(concat_ws('-', {{ fields | join(', ') }}))"
        "{% endmacro %}\n"
        "{% macro star(relation) %}*{% endmacro %}\n"
    ),
    "packages/dbt_utils/models/calendar.sql": "select date '2026-01-01' as day\n",
    "macros/generate_schema_name.sql": """\
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- if target.name == 'prod' and custom_schema_name -%} {{ custom_schema_name | trim }}
    {%- elif custom_schema_name -%} {{ target.schema }}__{{ custom_schema_name | trim }}
    {%- else -%} {{ target.schema }} {%- endif -%}
{%- endmacro %}
""",
    "seeds/people.csv": (
        "id,name,email,country\n1,Ann,ann@example.com,DE\n2,Ben,,FR\n3,Cas,c@example.com,DE\n"
    ),
    "models/accounts.sql": (
        "select {{ dbt_utils.generate_surrogate_key(['id', 'name']) }} as id, name from {{ ref('people') }}\n"
    ),
    "models/stg_tracks.sql": "select 1 as id, 'Order' as event, timestamp '2026-01-01' as at\n",
    "models/stg_pages.sql": "{{ config(schema='staging') }} select '/home' as path\n",
    "models/users_v1.sql": "select id as user_id, name, email, country from {{ ref('people') }}\n",
    "models/users_v2.sql": (
        "select id as user_id, name, upper(email) as email, country from {{ ref('people') }}\n"
    ),
    "models/sessions.sql": (
        "select users.user_id, pages.path from {{ ref('users', v=1) }} as users "
        "cross join {{ ref('stg_pages') }} as pages\n"
    ),
    "models/legacy/old_users.sql": "select 1 as user_id\n",
    "models/germans.sql": (
        "{{ config(materialized='ephemeral') }} select user_id, email from {{ ref('users') }} "
        "where country = 'DE'\n"
    ),
    "models/newsletter.sql": "select user_id, email from {{ ref('germans') }}\n",
    "models/models.yml": """\
groups:
  - name: crm
    owner: {name: CRM, email: crm@example.com}
models:
  - name: accounts
    config: {contract: {enforced: true}, group: crm, access: private}
    columns: [{name: id, data_type: varchar}, {name: name, data_type: varchar}]
  - name: users
    latest_version: 1
    config: {access: public, contract: {enforced: true}}
    columns:
      - {name: user_id, data_type: integer, data_tests: [unique, not_null]}
      - {name: name, data_type: varchar}
      - {name: email, data_type: varchar}
      - {name: country, data_type: varchar}
    versions: [{v: 1}, {v: 2}]
  - name: newsletter
    config: {group: crm, access: protected}
""",
}
"""Before revetl."""

DESTINATIONS = {
    name: {"type": "webhook", "url": f"{{{{ env_var('REVETL_SANDBOX_URL') }}}}/{name}", "targets": targets}
    for name, targets in {"crm": ["prod"], "preview": ["dev", "ci"]}.items()
}
WITHOUT_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
Content = dict[str, tuple[list[str], list[tuple[Any, ...]]]]


@dataclass
class Story:
    """What was there at each step; `said` is what a command printed."""

    folder: Path
    before: Content = field(default_factory=dict)
    adopted: Content = field(default_factory=dict)
    after_ci: Content = field(default_factory=dict)
    after_slim_ci: Content = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    built_by_slim_ci: set[str] = field(default_factory=set)
    sandbox: str = ""

    def revetl(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "revetl", *words],
            cwd=self.folder,
            env={
                **os.environ,
                "NO_COLOR": "1",
                "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
                "REVETL_SANDBOX_URL": self.sandbox,
                "REVETL_BUDGET_DIR": str(self.folder.parent / "budgets"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    def write(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)

    def audience(self, name: str) -> None:
        """Make a model of theirs an audience, by its YAML alone."""
        document = yaml.safe_load((self.folder / "models/models.yml").read_text())
        for model in document["models"]:
            if model["name"] == name:
                model["config"]["meta"] = {"revetl": yaml.safe_load(AUDIENCE)}
        self.write("models/models.yml", yaml.safe_dump(document, sort_keys=False))

    def content(self) -> Content:
        """Every table and view of the database: its columns with their types, and its rows."""
        with duckdb.connect(str(self.folder / "untidy.duckdb"), read_only=True) as connection:
            found = connection.execute(
                "select table_schema, table_name from information_schema.tables order by all"
            ).fetchall()
            content: Content = {}
            for schema, name in found:
                made = connection.execute(f'select * from "{schema}"."{name}" order by all')
                columns = [f"{column[0]} {column[1]}" for column in made.description or []]
                content[f"{schema}.{name}"] = (columns, made.fetchall())
            return content


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    story = Story(tmp_path_factory.mktemp("story") / "untidy")
    with running_sandbox() as story.sandbox:
        for name, text in FILES.items():
            story.write(name, text)
        dbt(story.folder, "deps")
        dbt(story.folder, "build", "--target", "prod")
        story.before = story.content()

        story.revetl("init", "--here", "--yes")
        dbt(story.folder, "deps")
        story.write("revetl.yml", yaml.safe_dump({"destinations": DESTINATIONS}))
        story.audience("users")
        story.audience("newsletter")
        story.revetl("build", "--target", "prod", *WITHOUT_TESTS)
        shutil.copytree(story.folder / "target", story.folder.parent / "production")
        story.said["sync"] = story.revetl("sync", "--all", "--target", "prod")
        story.adopted = story.content()

        story.revetl("build", "--target", "ci", *WITHOUT_TESTS)
        story.said["ci sync"] = story.revetl("sync", "--all", "--target", "ci")
        story.after_ci = story.content()

        story.write(
            "models/newsletter.sql", "select user_id, email from {{ ref('germans') }} where user_id < 3\n"
        )
        changed = ("--select", "state:modified+", "--state", str(story.folder.parent / "production"))
        story.revetl("build", "--target", "ci", *changed, "--defer")
        results = json.loads((story.folder / "target/run_results.json").read_text())["results"]
        story.built_by_slim_ci = {
            each["unique_id"] for each in results if not each["unique_id"].startswith("operation.")
        }
        story.said["slim plan"] = story.revetl("plan", "--target", "ci", *changed)
        story.after_slim_ci = story.content()
    return story


def of_ci(relation: str) -> bool:
    return relation.split(".")[0].startswith("ci")


def test_its_own_models_are_as_before(story: Story) -> None:
    assert {"analytics.accounts", "analytics.users_v2", "staging.stg_pages"} <= story.before.keys()
    assert {name: story.adopted.get(name) for name in story.before} == story.before
    added = {name.split(".")[1] for name in story.adopted.keys() - story.before.keys()}
    ours = {"revetl_", "stg_revetl__", "int_revetl__"}
    named = {name for name in added if not name.startswith(tuple(ours))}
    # The raw events and the state are in schemas of their own, which the project's macro names.
    apart = {name.split(".")[1] for name in story.adopted if name.split(".")[0] in ("raw", "revetl")}
    assert named <= apart


def test_the_audiences_are_delivered(story: Story) -> None:
    assert "users.crm: success: 3 added" in story.said["sync"]
    assert "newsletter.crm: success: 2 added" in story.said["sync"]
    assert "users.preview: success: 3 added" in story.said["ci sync"]


@pytest.mark.parametrize("run", ["after_ci", "after_slim_ci"])
def test_ci_leaves_every_table_of_production_alone(story: Story, run: str) -> None:
    found: Content = getattr(story, run)
    kept = {name: rows for name, rows in story.adopted.items() if not of_ci(name)}
    assert {
        "revetl.sync_state",
        "revetl.audience_changes",
        "revetl.model_builds",
        "raw.tracks",
    } <= kept.keys()
    assert len(kept["revetl.sync_state"][1]) == 5
    assert len(kept["revetl.audience_changes"][1]) == 5
    assert {name: rows for name, rows in found.items() if not of_ci(name)} == kept
    assert len(story.after_ci["ci__revetl.sync_state"][1]) == 5


def test_slim_ci_builds_what_was_changed_alone_and_plans_it(story: Story) -> None:
    assert story.built_by_slim_ci == {"model.untidy.newsletter"}
    assert (
        "newsletter.preview (mirror): add 0, update 0, remove 1; 1 in the audience, 2 held"
        in (story.said["slim plan"])
    )
    assert "users.preview" not in story.said["slim plan"]


def test_an_ephemeral_audience_is_refused_with_what_to_do(story: Story) -> None:
    file = "models/germans.yml"
    story.write(file, f"models:\n  - name: germans\n    config: {{meta: {{revetl: {AUDIENCE}}}}}\n")
    try:
        said = story.revetl("validate", "--target", "prod", code=2)
        assert (
            "models/germans.yml: germans: is ephemeral, but an audience must be a relation in the "
            "warehouse. Set `materialized: table` (or view)."
        ) in said
    finally:
        (story.folder / file).unlink()


def test_a_disabled_audience_is_listed_as_orphaned(story: Story) -> None:
    kept = (story.folder / "models/newsletter.sql").read_text()
    story.write("models/newsletter.sql", "{{ config(enabled=false) }}" + kept)
    try:
        said = story.revetl("status", "--target", "prod")
        (line,) = [line for line in said.splitlines() if line.startswith("newsletter.crm")]
        assert "orphaned" in line
        assert "newsletter" not in story.revetl("list", "--target", "prod")
    finally:
        story.write("models/newsletter.sql", kept)
