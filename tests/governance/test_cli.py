"""`revetl protocols` on the command line."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.governance.examples import PLAN, VALID, order

WRONG = {**VALID, "total": -1, "currency": "CHF"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A dbt project with a plan."""
    (tmp_path / "dbt_project.yml").write_text("{name: shop, profile: shop}")
    (tmp_path / "tracking_plan.yaml").write_text(PLAN)
    return tmp_path


def test_compile_and_check_that_it_was(shop: Path, cli: Cli) -> None:
    before = cli(shop, "protocols", "compile", "--check")
    assert (before.returncode, before.stdout) == (2, "")
    assert before.stderr == (
        "Error: macros/tracking_plan.sql is out of date with tracking_plan.yaml. "
        "Run `revetl protocols compile`.\n"
    )
    assert not (shop / "macros").exists()
    done = cli(shop, "protocols", "compile")
    assert done.returncode == 0
    assert done.stderr.startswith("macros/tracking_plan.sql is written.")
    assert cli(shop, "protocols", "compile", "--check").returncode == 0
    (shop / "tracking_plan.yaml").write_text(PLAN + "unplanned_events: flag\n")
    told = cli(shop, "protocols", "compile", "--check", "-o", "json")
    assert told.returncode == 2
    assert json.loads(told.stdout) == [{"file": "macros/tracking_plan.sql", "same": False}]


def test_validate_reports_an_outdated_macro(shop: Path, cli: Cli) -> None:
    assert "macros/tracking_plan.sql is out of date with tracking_plan.yaml." in cli(shop, "validate").stderr
    cli(shop, "protocols", "compile")
    assert "tracking_plan" not in cli(shop, "validate").stderr
    (shop / "tracking_plan.yaml").write_text("events: [{name: A, kind: b}]")
    assert "Error: tracking_plan.yaml, line 1: events.0" in cli(shop, "validate").stderr


def test_the_package_macro_without_transformations_is_valid(tmp_path: Path, cli: Cli) -> None:
    root = Path(__file__).parents[2]
    for name in ("dbt_project.yml", "macros/transformations.sql"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    assert "transformations" not in cli(tmp_path, "validate").stderr


def test_one_message_in_a_file(shop: Path, cli: Cli) -> None:
    (shop / "message.json").write_text(json.dumps(order(WRONG), indent=2))
    done = cli(shop, "protocols", "check", "message.json")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        'line 1: m1: Order Completed: currency: enum: expected one of "USD", "EUR", "GBP", found "CHF" '
        "(flag)",
        "line 1: m1: Order Completed: total: minimum: expected at least 0, found -1 (flag)",
    ]
    assert done.stderr == "2 violations in 1 of 1 message.\n"


def test_one_message_per_line_with_blank_lines(shop: Path, cli: Cli) -> None:
    lines = [json.dumps(order(VALID)), "", json.dumps(order(WRONG)), json.dumps({"type": "page"})]
    for name, text in {"a.ndjson": "\n".join(lines), "b.ndjson": "\n" + "\n".join(lines) + "\n\n"}.items():
        (shop / name).write_text(text)
    found = cli(shop, "protocols", "check", "a.ndjson", "-o", "json")
    assert found.returncode == 1
    assert [(each["line"], each["path"]) for each in json.loads(found.stdout)] == [
        (3, "currency"),
        (3, "total"),
    ]
    assert cli(shop, "protocols", "check", "b.ndjson").stderr == "2 violations in 1 of 3 messages.\n"
    (shop / "c.ndjson.gz").write_bytes(gzip.compress(lines[0].encode()))
    right = cli(shop, "protocols", "check", "c.ndjson.gz")
    assert (right.returncode, right.stdout, right.stderr) == (0, "", "0 violations in 0 of 1 message.\n")


def test_from_stdin(shop: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.TextIOWrapper(io.BytesIO(json.dumps(order(WRONG)).encode()))
    monkeypatch.setattr(sys, "stdin", text)
    assert cli(shop, "protocols", "check", "-").returncode == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"type": "page"}\n{"type": ', "a.ndjson, line 2: is not JSON"),
        ('{"type": ', "a.ndjson, line 1: is not JSON"),
        ("", "a.ndjson, line 1: is not JSON"),
        ('[{"type": "page"}]', "a.ndjson, line 1: is not a JSON object. A message must be an object."),
        ('{"type": "page"}\n\n{}', "a.ndjson, line 3: type is missing."),
        ('{"type": "pages"}', "a.ndjson, line 1: type 'pages' is not known. Did you mean 'page'?"),
    ],
)
def test_an_invalid_message_is_an_error(shop: Path, cli: Cli, text: str, sentence: str) -> None:
    (shop / "a.ndjson").write_text(text)
    done = cli(shop, "protocols", "check", "a.ndjson")
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {sentence}")


def test_a_missing_file_is_an_error(shop: Path, cli: Cli) -> None:
    done = cli(shop, "protocols", "check", "none.ndjson")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: none.ndjson: cannot be read (No such file or directory).\n",
    )


def test_without_a_plan(shop: Path, cli: Cli) -> None:
    (shop / "tracking_plan.yaml").unlink()
    for command in (["compile"], ["check", "a.ndjson"], ["export"]):
        done = cli(shop, "protocols", *command)
        assert done.returncode == 2
        assert "tracking_plan.yaml: no such file. Create a plan there" in done.stderr


def test_export_and_import_are_a_pipe(shop: Path, cli: Cli) -> None:
    exported = cli(shop, "protocols", "export", "--format", "segment")
    (shop / "segment.json").write_text(exported.stdout)
    imported = cli(shop, "protocols", "import", "segment.json")
    assert (imported.returncode, imported.stderr) == (0, "")
    (shop / "tracking_plan.yaml").write_text(imported.stdout)
    assert cli(shop, "protocols", "export", "--format", "segment").stdout == exported.stdout
    (shop / "tracking_plan.yaml").write_text(PLAN + "unplanned_events: block\n")
    assert cli(shop, "protocols", "export", "--format", "segment").stderr == (
        "Not carried over: unplanned_events: block\n"
    )
