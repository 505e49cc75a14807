"""Configuration as dbt reads it from YAML, where on, off, yes and no are true and false."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import revetl
from revetl.errors import UsageError
from revetl.project.scaffolding import make_minimal_project
from tests.conftest import Cli, SandboxClient

YES = """
models:
  - name: people
    config:
      meta:
        revetl:
          key: user_id
          sync:
            - to: crm
              fields: {no: score, on: email, n: score}
              constants: {yes: 1, Off: 2}
              exclude: [{model: complaints, on: email, column: address}]
"""
SPLIT = """
models:
  - name: people
    config: {meta: {revetl: {key: user_id, split: {on: 50, off: 50}, sync: [{to: crm, variants: ["on"]}]}}}
"""
TWICE = """
models:
  - name: people
    config: {meta: {revetl: {key: user_id, sync: [{to: crm, fields: {on: email, yes: score}}]}}}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without the package, built."""
    folder = tmp_path_factory.mktemp("words") / "shop"
    make_minimal_project(folder)
    for file in (folder / "models").iterdir():
        file.unlink()
    (folder / "models" / "people.sql").write_text(
        "select 'u1' as user_id, 'ann@x.example' as email, 1 as score "
        "union all select 'u2', 'bob@x.example', 2"
    )
    (folder / "models" / "complaints.sql").write_text("select 'Bob@X.example ' as address")
    dbt(folder, "build")
    return folder


def dbt(folder: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "--quiet", command], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def configure(shop: Path, url: str, text: str) -> revetl.Project:
    (shop / "revetl.yml").write_text(f"destinations: {{crm: {{type: webhook, url: '{url}/crm'}}}}\n")
    (shop / "models" / "people.yml").write_text(text)
    dbt(shop, "parse")
    return revetl.Project(shop)


def test_keys_are_the_words_that_the_file_has(shop: Path, sandbox: SandboxClient, cli: Cli) -> None:
    project = configure(shop, sandbox.url, YES)
    (run,) = project.sync("people")
    assert (run.status, run.left_out_rows) == ("success", 1)
    assert sandbox.members("crm", "people") == {
        "u1": {"no": 1, "on": "ann@x.example", "n": 1, "yes": 1, "Off": 2}
    }
    assert cli(shop, "validate").returncode == 0
    why = cli(shop, "why", "u2", "people")
    assert "is excluded by exclude: (complaints)" in why.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SPLIT, "split: dbt reads the names on, yes, off and no as true and false; quote them: 'on'"),
        (TWICE, "dbt reads the keys 'on' and 'yes' as the same. Quote them."),
    ],
    ids=["variants, which SQL has too", "two keys that are one"],
)
def test_words_that_cannot_be_told_apart(
    shop: Path, sandbox: SandboxClient, text: str, sentence: str
) -> None:
    with pytest.raises(UsageError) as error:
        configure(shop, sandbox.url, text).sync("people")
    assert sentence in str(error.value)


def test_words_in_revetl_yml(shop: Path, sandbox: SandboxClient, cli: Cli) -> None:
    configure(shop, sandbox.url, YES.replace("to: crm", "to: 'on'"))
    (shop / "revetl.yml").write_text(f"destinations: {{on: {{type: webhook, url: '{sandbox.url}/on'}}}}\n")
    assert cli(shop, "validate").returncode == 0
