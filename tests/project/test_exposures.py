"""`revetl exposures`: a file that dbt reads, without overwriting other files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli

PROJECT = {
    "dbt_project.yml": "{name: shop, version: '1.0', config-version: 2, profile: shop}",
    "profiles.yml": "{shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}}",
    "revetl.yml": """
destinations:
  crm: {type: webhook, url: "http://crm.example"}
  crm-eu: {type: webhook, url: "http://crm.example/eu"}
  b_to_crm: {type: braze, region: us-01, api_key: "{{ env_var('NOT_SET') }}"}
""",
    "models/vips.sql": "select 1 as user_id, 2 as score",
    "models/a.sql": "select 1 as user_id, 2 as score",
    "models/a_to_b.sql": "select 1 as user_id, 2 as score",
    "models/models.yml": """
models:
  - name: vips
    config:
      meta:
        owner: {name: Growth, email: growth@shop.example}
        revetl:
          key: user_id
          sync:
            - to: crm
              fields: {points: score, shouted: "upper('{% raw %}{{ me }}{% endraw %}')"}
              constants: {greeting: "{% raw %}Hello {{ name }}{% endraw %}"}
            - {to: crm-eu, mode: upsert}
  - name: a
    config: {meta: {revetl: {key: user_id, sync: {to: b_to_crm, fields: [score]}}}}
  - name: a_to_b
    config: {meta: {revetl: {key: user_id, sync: {to: crm, fields: [score]}}}}
""",
}
OWNER = ("--owner", "Data <data@shop.example>")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dbt project with four syncs."""
    root = tmp_path_factory.mktemp("exposures")
    for name, text in PROJECT.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.slow
@pytest.mark.long
def test_written_exposures_are_in_dbts_lineage(shop: Path, cli: Cli) -> None:
    written = cli(shop, "exposures", *OWNER)
    assert (written.returncode, written.stdout) == (0, ""), written.stderr
    text = (shop / "models/revetl_exposures.yml").read_text()
    parsed = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "parse", "--no-use-colors", "--show-all-deprecations"],
        cwd=shop,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert parsed.returncode == 0, parsed.stdout
    assert "eprecat" not in parsed.stdout
    found = json.loads((shop / "target/manifest.json").read_text())["exposures"].values()
    assert {each["name"]: (each["label"], each["depends_on"]["nodes"]) for each in found} == {
        "revetl_a_to_b_to_crm": ("a to b_to_crm", ["model.shop.a"]),
        "revetl_a_to_b_to_crm_2": ("a_to_b to crm", ["model.shop.a_to_b"]),
        "revetl_vips_to_crm": ("vips to crm", ["model.shop.vips"]),
        "revetl_vips_to_crm_eu": ("vips to crm-eu", ["model.shop.vips"]),
    }
    (vips,) = (each for each in found if each["name"] == "revetl_vips_to_crm")
    assert (vips["owner"]["name"], vips["owner"]["email"]) == ("Growth", "growth@shop.example")
    assert vips["description"] == (
        "The audience vips, sent by revetl to crm (webhook) in mode mirror. "
        "Fields: points (from score), shouted (from upper('{{ me }}')), greeting (constant)."
    )
    assert vips["config"]["meta"]["revetl"] == {
        "sync": "vips.crm",
        "audience": "vips",
        "destination": "crm",
        "type": "webhook",
        "mode": "mirror",
        "key": "user_id",
        "fields": {"points": "score", "shouted": "upper('{{ me }}')"},
        "constants": {"greeting": "Hello {{ name }}"},
    }
    again = cli(shop, "exposures", *OWNER)
    assert (again.returncode, (shop / "models/revetl_exposures.yml").read_text()) == (0, text)
    assert "is up to date" in again.stderr


@pytest.mark.slow
@pytest.mark.long
def test_check_reports_differences(shop: Path, cli: Cli) -> None:
    path = shop / "models/revetl_exposures.yml"
    cli(shop, "exposures", REVETL_OWNER="Data <data@shop.example>")
    same = cli(shop, "exposures", "--check", *OWNER)
    # Without --owner, exposures keep the owner that the file has.
    assert cli(shop, "exposures", "--check").returncode == 0
    text = path.read_text()
    path.write_text(
        text.replace("mode upsert", "mode mirror").replace("revetl_a_to_b_to_crm_2", "revetl_old")
    )
    os.utime(path, (1, 1))
    differs = cli(shop, "exposures", "--check", *OWNER)
    assert (same.returncode, same.stdout) == (0, "")
    assert (differs.returncode, differs.stdout) == (1, "")
    assert differs.stderr == (
        "Error: models/revetl_exposures.yml is out of date. added: revetl_a_to_b_to_crm_2; "
        "changed: revetl_vips_to_crm_eu; removed: revetl_old. Run `revetl exposures`.\n"
    )
    assert "revetl_old" in path.read_text()
    as_json = cli(shop, "exposures", "--check", "-o", "json", *OWNER)
    assert json.loads(as_json.stdout) == {
        "file": "models/revetl_exposures.yml",
        "same": False,
        "added": ["revetl_a_to_b_to_crm_2"],
        "changed": ["revetl_vips_to_crm_eu"],
        "removed": ["revetl_old"],
    }


REFUSALS = {
    "another's file": (
        ("--file", "models/models.yml", *OWNER),
        "models/models.yml: was not written by `revetl exposures` and is not overwritten.",
    ),
    "a folder that dbt does not read": (
        ("--file", "exposures.yml", *OWNER),
        "--file exposures.yml: dbt reads exposures from .yml files in models.",
    ),
    "what is no YAML": (
        ("--file", "models/exposures.json", *OWNER),
        "--file models/exposures.json: dbt reads",
    ),
    "no owner": (
        (),
        "models/models.yml: a: meta.owner is missing, and dbt requires exposures to have an owner.",
    ),
}


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("arguments", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_errors_before_anything_is_written(
    shop: Path, cli: Cli, arguments: tuple[str, ...], sentence: str
) -> None:
    if not arguments:
        (shop / "models/revetl_exposures.yml").unlink(missing_ok=True)
    before = {path: path.read_bytes() for path in (shop / "models").iterdir()}
    done = cli(shop, "exposures", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert {path: path.read_bytes() for path in (shop / "models").iterdir()} == before
