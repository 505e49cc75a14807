"""Exports of other tools, made by hand, imported into a real dbt project."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import revetl
from revetl.cli import cli
from revetl.dbt.project_files import Options
from revetl.destinations import TYPES, destination_class
from revetl.errors import UsageError
from revetl.importers import ImportResult, import_export
from revetl.importers.kinds import (
    ALSO,
    LOOKUPS,
    MODES,
    OBJECTS,
)
from revetl.importers.kinds import TYPES as THEIRS
from revetl.inspect.validate import validate
from revetl.project.workspace import Workspace

EXPORTS = Path(__file__).parent / "exports"
MODELS = "models/audiences"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A dbt project with one model."""
    folder = tmp_path / "shop"
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(json.dumps({"name": "shop", "profile": "shop", "version": "1.0"}))
    output = {"type": "duckdb", "path": str(folder / "shop.duckdb")}
    profile = {"shop": {"target": "dev", "outputs": {"dev": output}}}
    (folder / "profiles.yml").write_text(json.dumps(profile))
    customers = "select 'u1' as user_id, 'u1@example.com' as email, 1 as score"
    (folder / "models" / "customers.sql").write_text(customers)
    return folder


def _options(shop: Path) -> Options:
    return Options(project_dir=shop, profiles_dir=shop)


def _imported(shop: Path, tool: str, *, writes: bool = False) -> ImportResult:
    return import_export(Workspace(_options(shop)), tool, EXPORTS / tool, writes=writes)


def _meta(made: ImportResult, name: str) -> dict[str, Any]:
    (text,) = (text for file, text in made.files.items() if file.name == f"{name}.yml")
    config: dict[str, Any] = yaml.safe_load(text)["models"][0]["config"]
    return config


def test_hightouch_syncs_are_ours(shop: Path) -> None:
    made = _imported(shop, "hightouch")
    assert not (shop / MODELS).exists()
    vip = _meta(made, "high_value_customers")
    assert vip["tags"] == ["hourly"]
    assert vip["meta"]["revetl"] == {
        "key": "customer_id",
        "sync": [
            {
                "to": "braze_eu",
                "mode": "upsert",
                "identifiers": {"external_id": "customer_id"},
                "fields": {"email": "email", "first_name": '"First Name"', "lifetime_value": "ltv"},
                "constants": {"plan": "gold"},
                "null": "skip",
            },
            {"to": "meta", "mode": "mirror", "identifiers": {"EMAIL": "email", "FN": '"First Name"'}},
        ],
    }
    all_ = _meta(made, "customers_audience")
    assert all_["tags"] == ["scheduled"]
    assert [each["mode"] for each in all_["meta"]["revetl"]["sync"]] == ["mirror"]
    sql = {file.name: text for file, text in made.files.items() if file.suffix == ".sql"}
    assert sql["customers_audience.sql"] == "select * from {{ ref('customers') }}\n"
    assert sql["high_value_customers.sql"].endswith("from range(20) as t (i)\n")
    assert made.destinations["braze_eu"]["api_key"] == "{{ env_var('BRAZE_EU_API_KEY') }}"
    assert made.destinations["hub_spot_test_account"]["object_type"] == "contacts"


@pytest.mark.parametrize(
    ("file", "key", "part"),
    [
        ("models/segment-of-studio.yaml", "isSchema", "schema"),
        ("models/templated.yaml", "rawSql", "by hand"),
        ("syncs/vip-to-braze.yaml", "config.mappings[2] (last_sync)", "variable"),
        ("syncs/vip-to-braze.yaml", "config.customMappings[2] (greeting)", "Liquid"),
        ("syncs/vip-to-braze.yaml", "config.aliasMappings", "not converted"),
        ("syncs/customers-to-crm.yaml", "schedule", "*/30 8-18 * * *"),
        ("syncs/customers-to-crm.yaml", "mode", "'mirror'"),
        ("syncs/customers-to-crm.yaml", "destination", "assumed to be hubspot"),
        ("syncs/customers-to-sheet.yaml", "destination", "googleSheets"),
        ("syncs/customers-off.yaml", "disabled", "skipped"),
        ("syncs/of-nothing.yaml", "model", "'gone'"),
    ],
)
def test_what_hightouch_has_and_we_have_not_is_told(shop: Path, file: str, key: str, part: str) -> None:
    notes = _imported(shop, "hightouch").notes
    assert any(part in note.why for note in notes if (note.file, note.key) == (file, key)), notes


def test_census_syncs_are_ours(shop: Path) -> None:
    made = _imported(shop, "census")
    signups = _meta(made, "new_signups")
    assert signups["tags"] == ["daily", "hourly"]
    contacts, accounts, people = signups["meta"]["revetl"]["sync"]
    assert signups["meta"]["revetl"]["key"] == "id"
    assert contacts == {
        "to": "salesforce_production",
        "mode": "mirror",
        "identifiers": {"Shop_Id__c": "id"},
        "fields": {"Email": "email", "LastName": "last_name"},
        "constants": {"LeadSource": "web"},
        "set_if_empty": ["Email"],
    }
    assert (accounts["to"], accounts["fields"]) == ("salesforce_production_account", {"Name": "last_name"})
    # Iterable has no mode `update`, and all columns are sent.
    assert people == {"to": "iterable", "mode": "upsert", "identifiers": {"email": "email"}}
    told = "\n".join(map(str, made.notes))
    parts = ("Liquid", "looks up a record", "no mode 'update'", "'gong'", "paused", "'segment'", "dbt_cloud")
    for part in parts:
        assert part in told


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("tool", ["hightouch", "census"])
def test_what_is_written_loads(tool: str, shop: Path) -> None:
    arguments = ["import", tool, str(EXPORTS / tool), "--write", "--project-dir", str(shop)]
    done = CliRunner().invoke(cli, [*arguments, "--profiles-dir", str(shop)])
    assert done.exit_code == 0, done.output
    # dbt parses the project anew for it.
    assert validate(_options(shop), secrets=False) == []
    names = {audience.name for audience in Workspace(_options(shop)).models()}
    # Models that go nowhere are models, and no audiences.
    expected = {"hightouch": {"high_value_customers", "customers_audience"}, "census": {"new_signups"}}
    assert names == expected[tool]


@pytest.mark.slow
@pytest.mark.long
def test_a_destination_of_each_kind_loads(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TO_GOOGLEADS", "TO_GOOGLEADSCUSTOMERMATCH"):
        # It is checked by its form.
        monkeypatch.setenv(f"{name}_CUSTOMER_ID", "1234567890")
    export = tmp_path / "export"
    (export / "syncs").mkdir(parents=True)
    model = {"slug": "people", "primaryKey": "user_id", "rawSql": "select 1 as user_id, 'x' as last_name"}
    (export / "models.json").write_text(json.dumps([model]))
    names = {"salesforce": "LastName", "salesforcesandbox": "LastName"}
    for kind in THEIRS:
        mappings = [{"from": "last_name", "to": names.get(kind, "name"), "type": "standard"}]
        config: dict[str, Any] = {"mode": "upsert", "mappings": mappings}
        if kind.startswith("salesforce"):
            config["externalIdMapping"] = {"from": "user_id", "to": "Shop_Id__c"}
        sync = {"model": "people", "destination": f"to-{kind}", "config": config}
        (export / "syncs" / f"{kind}.yaml").write_text(yaml.safe_dump(sync))
    manifest = {f"to-{kind}": {"type": kind} for kind in THEIRS}
    (export / "manifest.yaml").write_text(yaml.safe_dump({"sources": {}, "destinations": manifest}))
    made = import_export(Workspace(_options(shop)), "hightouch", export, writes=True)
    assert len(made.destinations) == len(THEIRS)
    assert validate(_options(shop), secrets=False) == []


@pytest.mark.slow
@pytest.mark.long
def test_what_is_written_builds_and_plans(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRAZE_EU_BASE_URL", "https://rest.fra-01.braze.eu")
    _imported(shop, "hightouch", writes=True)
    words = ["build", "--quiet", "--project-dir", str(shop), "--profiles-dir", str(shop)]
    # In a process of its own, for dbt keeps the file open.
    dbt = [sys.executable, "-m", "dbt.cli.main", *words, "--exclude", "templated"]
    subprocess.run(dbt, check=True)
    (plan,) = revetl.Project(shop, profiles_dir=shop).plan("high_value_customers", to="braze_eu")
    assert plan.preview is not None
    (request, *_) = plan.preview.requests
    assert plan.add == 20
    assert "lifetime_value" in str(request.body)
    assert "gold" in str(request.body)
    assert 'Ada "the"' in str(request.body)


def test_nothing_is_written_over(shop: Path) -> None:
    taken = shop / MODELS / "high_value_customers.yml"
    taken.parent.mkdir()
    taken.write_text("version: 2\n")
    with pytest.raises(UsageError, match=r"high_value_customers\.yml already exists"):
        _imported(shop, "hightouch", writes=True)
    assert [file.name for file in taken.parent.iterdir()] == ["high_value_customers.yml"]
    taken.rename(shop / "models" / "high_value_customers.sql")
    with pytest.raises(UsageError, match="already has the name 'high_value_customers'"):
        _imported(shop, "hightouch", writes=True)


def test_destinations_that_are_there_are_used(shop: Path) -> None:
    own = {"braze_eu": {"type": "braze", "api_key": "x", "base_url": "https://rest.fra-01.braze.eu"}}
    (shop / "revetl.yml").write_text(json.dumps({"destinations": {**own, "meta": {"type": "webhook"}}}))
    made = _imported(shop, "hightouch")
    assert "braze_eu" not in made.destinations
    assert made.destinations["meta_2"]["type"] == "facebook_ads"
    assert not made.has_revetl_yml


def test_the_command_says_what_it_would_do(shop: Path, tmp_path: Path) -> None:
    arguments = ["import", "census", str(EXPORTS / "census"), "--project-dir", str(shop)]
    arguments += ["--profiles-dir", str(shop), "-o", "json"]
    done = CliRunner().invoke(cli, [*arguments, "--strict"], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 1)
    done = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0)
    said = json.loads(done.stdout)
    assert (said["written"], len(said["not_carried_over"]) > 5) == (False, True)
    assert "Liquid" in done.stderr
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments[2] = str(empty)
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, UsageError)
    assert "syncs.json not found" in str(done.exception)


def test_a_file_that_cannot_be_read_is_named(shop: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(EXPORTS / "hightouch", broken)
    (broken / "syncs" / "bad.yaml").write_text("a: [1")
    with pytest.raises(UsageError, match=r"bad\.yaml: invalid yaml"):
        import_export(Workspace(_options(shop)), "hightouch", broken, writes=False)


def test_every_name_that_is_mapped_is_one_of_ours() -> None:
    assert set(THEIRS.values()) <= set(TYPES)
    for tables in (OBJECTS, LOOKUPS):
        assert all(key in destination_class(kind, "x").model_fields for kind, key in tables.items())
    assert all(set(keys) <= set(destination_class(kind, "x").model_fields) for kind, keys in ALSO.items())
    assert set(MODES.values()) <= {"upsert", "update", "insert", "mirror", "events", "delete"}
