"""Options that would do nothing, or that contradict each other, are errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from revetl.cli import error_document
from revetl.cli.common import Output
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import META, people


@pytest.fixture
def shop(project: ProjectFolder) -> ProjectFolder:
    project.audience("vips", people(("u1", 1)), META)
    return project


NOTHING: dict[tuple[str, ...], str] = {
    ("sync", "vips", "--undo"): "--undo",
    ("sync", "vips", "--only", "u1", "--undo", "--full-refresh"): "--undo",
    ("sync", "vips", "--only", "u1", "--undo", "--dry-run"): "--undo",
    ("sync", "vips", "--only", "u1", "--undo", "--force", "keys"): "--undo",
    ("sync", "--all", "--only", "u1"): "--only",
    ("sync", "vips", "--dry-run", "--force", "keys"): "--force",
    ("sync", "vips", "--dry-run", "--threads", "2"): "--threads",
    ("sync", "vips", "-o", "markdown"): "markdown",
    ("sync", "--plan", "plan.json", "vips"): "--plan",
    ("sync", "--plan", "plan.json", "--dry-run"): "--plan",
    ("sync", "--plan", "plan.json", "--full-refresh"): "--plan",
    ("plan", "vips", "--out", "plan.json", "--compare-target", "dev"): "--out",
    ("plan", "vips", "--out", "plan.json", "--only", "u1"): "--out",
    ("plan", "--all", "--only", "u1"): "--only",
    ("plan", "vips", "-o", "markdown", "--sample", "3"): "--sample",
    ("retire", "vips", "--dry-run", "--force", "keys"): "--force",
    ("retire", "vips", "-o", "markdown"): "markdown",
    ("reconcile", "vips", "--force", "keys"): "--repair",
    ("reconcile", "vips", "--remove-extra"): "--repair",
    ("audience", "preview", "vips", "--to", "crm"): "--to",
    ("auth", "--list", "--remove"): "--remove",
    ("auth", "crm", "--no-revoke"): "--remove",
    ("auth", "--list", "--port", "1234"): "--port",
    ("auth", "crm", "--remove", "--store", "file"): "--store",
    ("auth", "crm", "--paste", "--no-browser"): "--no-browser",
    ("init", "new", "--undo"): "--here",
    ("init", "new", "--force"): "--upgrade",
    ("init", "--here", "--target", "postgres"): "--target",
    ("init", "--here", "--minimal", "--package", "vendor"): "--package",
    ("init", "--upgrade", "--here"): "--upgrade",
    ("sandbox", "--config", "--misbehave", "[]"): "--misbehave",
    ("destinations", "-o", "json", "show", "webhook"): "-o",
    ("protocols", "export", "-o", "json"): "-o",
    ("list", "-o", "markdown"): "markdown",
    ("list", "--state", "target"): "--state",
}


def test_an_option_that_would_do_nothing_is_an_error(shop: ProjectFolder, cli: Cli) -> None:
    found = {}
    for arguments, named in NOTHING.items():
        done = cli(shop, *arguments)
        found[arguments] = (done.returncode, named in done.stderr, "Traceback" in done.stderr)
    assert found == dict.fromkeys(NOTHING, (2, True, False))
    assert shop.sql("select count(*) from information_schema.tables where table_schema = 'revetl'") == [(0,)]


ERRORS: dict[str, tuple[tuple[str, ...], int]] = {
    "a command": (("snyc", "-o", "json"), 2),
    "an option": (("sync", "--al", "--output", "json"), 2),
    "no selection": (("sync", "--output=json"), 2),
    "a name": (("why", "u1", "vip", "-ojson"), 2),
    "a project": (("list", "--project-dir", "models", "-o", "json"), 2),
    "a file": (("load", "none.ndjson", "-o", "json"), 2),
    "a destination": (("sync", "vips", "-o", "json"), 4),
}


@pytest.mark.parametrize(("arguments", "code"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_is_json_on_stdout_where_json_is_asked_for(
    shop: ProjectFolder, cli: Cli, sandbox: SandboxClient, arguments: tuple[str, ...], code: int
) -> None:
    sandbox.misbehave({"kind": "status", "status": 401})
    done = cli(shop, *arguments)
    document = json.loads(done.stdout)
    found = document[0] if isinstance(document, list) else document["error"]
    assert (done.returncode, found["exit_code"]) == (code, code)
    message = found["error"] if isinstance(document, list) else found["message"]
    assert message in done.stderr
    assert isinstance(document, list) == (code == 4)


def test_an_error_in_a_file_has_its_place(shop: ProjectFolder, cli: Cli) -> None:
    shop.audience("vips", people(("u1", 1)), {"key": "user_id", "sync": [{"to": "crm", "mode": "miror"}]})
    error = json.loads(cli(shop, "sync", "vips", "-o", "json").stdout)["error"]
    assert error["place"] == "models/audiences.yml: vips: meta.revetl: sync.0.mode"
    assert error_document("revetl.yml, line 3: is not YAML.", 2)["error"]["place"] == "revetl.yml, line 3"
    assert "place" not in error_document("There is no command 'x'.", 2)["error"]


def test_a_sync_that_cannot_run_is_among_the_runs(
    shop: ProjectFolder, cli: Cli, sandbox: SandboxClient
) -> None:
    both = {"key": "user_id", "sync": [{"to": "gone"}, {"to": "crm"}]}
    shop.audience("vips", people(("u1", 1)), both)
    crm = {"type": "webhook", "url": f"{sandbox.url}/crm"}
    shop.destinations({"crm": crm, "gone": {"type": "webhook", "url": "{{ env_var('GONE_URL') }}"}})
    done = cli(shop, "sync", "vips", "-o", "json")
    run, failed = json.loads(done.stdout)
    assert (done.returncode, run["sync"], run["status"]) == (2, "vips.crm", "success")
    assert (failed["sync"], failed["exit_code"], "GONE_URL" in failed["error"]) == ("vips.gone", 2, True)


COMPLETED: dict[str, tuple[str, set[str]]] = {
    "commands": ("revetl re", {"reconcile", "rejections", "replay", "replays", "retire", "retry"}),
    "audiences": ("revetl sync vi", {"vips"}),
    "audiences after the word": ("revetl sync audience vi", {"vips"}),
    "syncs": ("revetl plan vips.", {"vips.crm"}),
    "destinations": ("revetl sync vips --to c", {"crm"}),
    "selections": ("revetl list --select v", {"vips"}),
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("line", "expected"), COMPLETED.values(), ids=COMPLETED.keys())
def test_bash_completes_names_without_the_warehouse(
    shop: ProjectFolder, cli: Cli, tmp_path: Path, line: str, expected: set[str]
) -> None:
    shop.database.unlink()
    program = tmp_path / "bin" / "revetl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m revetl "$@"\n')
    program.chmod(0o755)
    script = cli(shop, "completion", "bash").stdout
    words = line.split(" ")
    asked = (
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        f"_revetl_completion {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}"], cwd=shop.root, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(tmp_path: Path, cli: Cli, shell: str) -> None:
    done = cli(tmp_path, "completion", shell)
    assert (done.returncode, "_REVETL_COMPLETE" in done.stdout) == (0, True)


OLDER = ("drop column forced", "drop column invalid_identifiers")
READS = (
    ("status",),
    ("history",),
    ("history", "vips"),
    ("rejections",),
    ("why", "u1", "vips"),
    ("plan", "vips"),
    ("list",),
    ("state", "show", "vips"),
)


def test_reading_older_tables_changes_none_of_them(shop: ProjectFolder, cli: Cli) -> None:
    assert cli(shop, "sync", "vips").returncode == 0
    for change in OLDER:
        shop.sql(f"alter table revetl.revetl.sync_runs {change}")
    shop.sql("drop table revetl.revetl.sync_rejections")
    shop.sql("update revetl.revetl.state_version set version = 1")
    schema = "select table_name, column_name from information_schema.columns order by 1, 2"
    before = shop.sql(schema)
    found = {arguments: cli(shop, *arguments, "-o", "json") for arguments in READS}
    assert {arguments: done.returncode for arguments, done in found.items()} == dict.fromkeys(READS, 0)
    assert shop.sql(schema) == before
    (run,) = json.loads(found[("history",)].stdout)
    assert (run["sync"], run["delivered_add"], run["forced"]) == ("vips.crm", 1, None)
    assert json.loads(found[("rejections",)].stdout) == []


def test_history_and_rejections_end_at_their_limit(
    shop: ProjectFolder, cli: Cli, sandbox: SandboxClient
) -> None:
    shop.audience("vips", people(("u1", 1), ("u2", 2), ("u3", 3)), META)
    sandbox.misbehave({"kind": "reject", "pattern": "u", "reason": "no"})
    assert [cli(shop, "retry", "vips").returncode for _ in range(3)] == [1, 1, 1]
    assert len(json.loads(cli(shop, "history", "--limit", "2", "-o", "json").stdout)) == 2
    done = cli(shop, "rejections", "--limit", "2", "-o", "json")
    assert ([row["key"] for row in json.loads(done.stdout)], "--limit" in done.stderr) == (["u1", "u2"], True)


WIDE = ("sync", "status", "finished_at", "error")
ROW = ("vips.crm", "success", "2026-01-02 03:04:05", "one two three four five six seven eight nine ten")


@pytest.mark.parametrize(("columns", "expected"), [(80, "record"), (200, "table")])
def test_a_table_that_is_wider_than_the_terminal_becomes_records(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, expected: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Output("text", quiet=False, no_color=True).print_table(WIDE, [ROW, ROW])
    lines = capsys.readouterr().out.splitlines()
    record = [f"{name:<11}   {value}" for name, value in zip(WIDE, ROW, strict=True)]
    assert (lines == [*record, "", *record]) == (expected == "record")
    assert (lines[0].split() == list(WIDE)) == (expected == "table")


def test_the_progress_bar_is_gone_while_a_result_is_printed(
    shop: ProjectFolder, sandbox: SandboxClient
) -> None:
    parent, child = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "revetl", "sync", "vips"], cwd=shop.root, stdout=child, stderr=child
    ) as process:
        os.close(child)
        screen = b""
        with suppress(OSError):
            while found := os.read(parent, 4096):
                screen += found
    os.close(parent)
    assert process.returncode == 0
    before = screen.decode().partition("vips.crm: success")[0]
    # Everything that was drawn in this line is erased before the result is printed.
    assert before.rpartition("\n")[2].rpartition("\x1b[2K")[2].strip("\r") == ""
