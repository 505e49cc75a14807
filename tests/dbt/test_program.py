"""Find dbt: the order of candidates, and errors for unsupported ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from revetl import dbt
from revetl.dbt.parsing import _other_vars
from revetl.dbt.program import find_dbt, run_dbt, said
from revetl.dbt.run_operation import ask
from revetl.errors import UsageError, WarehouseError
from tests.conftest import Cli
from tests.helpers.project import ProjectFolder

CORE = "Core:\n  - installed: {version}\n  - latest:    1.12.6\n\nPlugins:\n  - duckdb: 1.10.0"
PLACES = ("option", "named", "active", "conda", "path")


def fake(folder: Path, says: str, code: int = 0) -> Path:
    """A program `dbt` in a folder that prints this for --version."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "dbt"
    file.write_text(f"#!/bin/sh\ncat <<'END'\n{says}\nEND\nexit {code}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No dbt but the one that is installed with revetl."""
    for name in ("REVETL_DBT", "VIRTUAL_ENV", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.mark.parametrize("first", range(len(PLACES) + 1))
def test_the_order_of_candidates_for_dbt(
    first: int, tmp_path: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {}
    for number, place in enumerate(PLACES):
        if number >= first:
            inside = "bin" if place in ("active", "conda") else "."
            made[place] = fake(tmp_path / place / inside, CORE.format(version=f"1.11.{number}"))
    if "named" in made:
        monkeypatch.setenv("REVETL_DBT", str(made["named"]))
    for place, variable in (("active", "VIRTUAL_ENV"), ("conda", "CONDA_PREFIX")):
        if place in made:
            monkeypatch.setenv(variable, str(tmp_path / place))
    if "path" in made:
        monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    found = find_dbt(made.get("option"))
    if first == len(PLACES):
        assert Path(found.command[0]) == Path(sys.executable).with_name("dbt")
        assert (found.version[:5], found.reason) == (
            "1.11.",
            "installed with revetl; no other was found",
        )
        return
    reasons = [
        "set by --dbt",
        "set by REVETL_DBT",
        "in the active environment (VIRTUAL_ENV)",
        "in the active environment (CONDA_PREFIX)",
        "the first in PATH",
    ]
    assert (Path(found.shown).resolve(), found.version, found.reason) == (
        made[PLACES[first]].resolve(),
        f"1.11.{first}",
        reasons[first],
    )


def test_revetls_own_environment_is_the_active_one_where_its_folder_is_in_path(
    tmp_path: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, CORE.format(version="1.12.6"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin")
    assert find_dbt().reason == "in the active environment, which is revetl's"


@pytest.mark.parametrize(
    ("says", "version"),
    [
        (CORE.format(version="1.11.0"), "1.11.0"),
        (CORE.format(version="1.12.6"), "1.12.6"),
        ("dbt-core 2.0.0-alpha.4", "2.0.0-alpha.4"),
        ("dbt-fusion 2.0.0-preview.45", "2.0.0-preview.45"),
        ("\x1b[1mdbt\x1b[0m 2.0.9", "2.0.9"),
    ],
)
def test_the_version_is_parsed_for_every_supported_dbt(says: str, version: str, tmp_path: Path) -> None:
    assert find_dbt(fake(tmp_path, says)).version == version


@pytest.mark.parametrize(
    ("says", "code", "why"),
    [
        (CORE.format(version="1.10.19"), 0, "is dbt 1.10.19, which is too old. Supported: dbt >=1.11,<3.0."),
        ("installed version: 0.21.1\n   latest version: 1.12.6", 0, "is dbt 0.21.1, which is too old."),
        ("dbt-core 3.0.0", 0, "is dbt 3.0.0, which is too new. Supported: dbt >=1.11,<3.0."),
        ("dbt Cloud CLI - 0.40.7 (abc)", 0, "--version printed 'dbt Cloud CLI - 0.40.7 (abc)'."),
        ("pyenv: dbt: command not found", 127, "--version printed 'pyenv: dbt: command not found'."),
    ],
)
def test_a_dbt_that_cannot_be_run_is_named_with_where_it_was_found_and_none_other_is_taken(
    says: str, code: int, why: str, tmp_path: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = fake(tmp_path, says, code)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UsageError) as caught:
        find_dbt()
    told = str(caught.value)
    assert told.startswith(f"{program} (the first in PATH) is ")
    assert why in told
    assert told.endswith("Supported: dbt >=1.11,<3.0. Set another with --dbt PATH or REVETL_DBT.")


def test_a_missing_program_is_an_error_with_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "dbt"
    with pytest.raises(UsageError, match=f"^--dbt '{missing}': no such program"):
        find_dbt(missing)
    monkeypatch.setenv("REVETL_DBT", str(missing))
    with pytest.raises(UsageError, match=f"^REVETL_DBT '{missing}': no such program"):
        find_dbt()


def test_the_version_of_an_installed_dbt_is_read_without_running_it_also_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "dbt"
    link.symlink_to(Path(sys.executable).with_name("dbt"))
    ran: list[object] = []
    monkeypatch.setattr(subprocess, "run", lambda *words, **_: ran.append(words))
    assert (find_dbt(link).version[:5], ran) == ("1.11.", [])


def test_errors_of_dbt_2_are_read_on_stderr_without_its_stack(tmp_path: Path) -> None:
    file = tmp_path / "dbt"
    file.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo dbt-core 2.0.0 && exit\n"
        "printf '\\033[31m[error]\\033[0m [JinjaError (dbt1501)]: no luck\\n"
        "   0: <unknown>\\n  12: start_thread\\n         at ./nptl/pthread_create.c:442:8\\n' >&2\nexit 1\n"
    )
    file.chmod(0o755)
    done = run_dbt(find_dbt(file), ["parse"])
    assert (done.returncode, said(done)) == (1, "[error] [JinjaError (dbt1501)]: no luck")


def test_debug_shows_the_dbt_and_why_it_was_chosen(project: ProjectFolder, cli: Cli, tmp_path: Path) -> None:
    program = fake(tmp_path / "other", CORE.format(version="1.12.6"))
    project.audience("vips", "select 'u1' as user_id", {"key": "user_id"})
    old = fake(tmp_path / "old", CORE.format(version="1.9.2"))
    shown = []
    for given in (program, old):
        done = cli(project, "debug", "-o", "json", "--dbt", str(given))
        shown.append(next(each for each in json.loads(done.stdout)["checks"] if each["check"] == "dbt"))
    assert shown == [
        {"check": "dbt", "ok": True, "detail": f"1.12.6, {program}: set by --dbt"},
        {
            "check": "dbt",
            "ok": False,
            "detail": f"{old} (set by --dbt) is dbt 1.9.2, which is too old. "
            "Supported: dbt >=1.11,<3.0. Set another with --dbt PATH or REVETL_DBT.",
        },
    ]


@pytest.mark.parametrize("size", [10, 100_000])
def test_the_arguments_of_a_macro_reach_dbt_whole_however_long(size: int, tmp_path: Path) -> None:
    """A program that does as run-operation would: it puts the parts together."""
    file = tmp_path / "dbt"
    file.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "if sys.argv[1] == '--version':\n    print('dbt-core 2.0.0')\n    sys.exit()\n"
        "words = dict(zip(sys.argv, sys.argv[1:]))\n"
        "asked = json.loads(words['--args'])\n"
        "text = ''.join(os.environ[f'REVETL_ARGUMENTS_{part}'] for part in range(asked['parts']))\n"
        "print('revetl-rows:' + json.dumps([{'macro': asked['macro'], 'is': json.loads(text)['value']}]))\n"
    )
    file.chmod(0o755)
    (tmp_path / "dbt_project.yml").write_text("name: shop\n")
    options = dbt.Options(project_dir=tmp_path, dbt=file)
    value = "é'\"{{ x }}" + "a" * size
    assert ask(dbt.read_project(options), options, "seen", {"value": value}) == [
        {"macro": "seen", "is": value}
    ]


def test_arguments_beyond_what_a_process_can_be_given_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text("name: shop\n")
    options = dbt.Options(project_dir=tmp_path)
    with pytest.raises(UsageError, match="its arguments have 1,300,01"):
        ask(dbt.read_project(options), options, "seen", {"value": "a" * 1_300_000})


@pytest.mark.long
def test_a_failed_query_is_an_error_with_the_output_of_dbt(tmp_path: Path) -> None:
    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    (tmp_path / "profiles.yml").write_text(
        "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}\n"
    )
    own = Path(sys.executable).with_name("dbt")
    options = dbt.Options(project_dir=tmp_path, profiles_dir=tmp_path, dbt=own)
    with pytest.raises(WarehouseError, match="print_rows"):
        ask(dbt.read_project(options), options, "seen", {})
    assert not (tmp_path / "target").exists()


def results(version: str, variables: dict[str, object] | None) -> dict[str, object]:
    """What a run's results say of it, as dbt 1 and dbt 2 write them."""
    args = {"which": "build"} | ({} if variables is None else {"vars": variables})
    return {
        "metadata": {"dbt_version": version, "invocation_id": "i1"},
        "args": args,
        "results": [],
    }


@pytest.mark.parametrize(
    ("written", "given", "reason"),
    [
        (results("1.11.16", {}), None, None),
        (results("1.12.6", {"a": 1}), "a: 1", None),
        (results("1.12.6", {"a": 1}), None, "has other --vars"),
        (results("1.12.6", {"b": 1}), None, None),
        (results("1.11.16", None), None, None),
        (results("2.0.0-alpha.4", None), None, "does not record its --vars"),
        (results("2.0.0-alpha.4", None), "a: 1", "does not record its --vars"),
    ],
)
def test_a_manifest_is_used_where_its_variables_are_known_whatever_dbt_made_it(
    written: dict[str, object], given: str | None, reason: str | None, project: ProjectFolder
) -> None:
    project.audience("vips", "select 'u1' as user_id", {"key": "user_id"})
    (project.root / "macros").mkdir(exist_ok=True)
    # A macro may read it while dbt parses.
    (project.root / "macros" / "a.sql").write_text(
        "{% macro a() %}{% if var('a', 0) %}a{% endif %}{% endmacro %}"
    )
    manifest = project.root / "target" / "manifest.json"
    document = json.loads(manifest.read_bytes())
    document["metadata"]["invocation_id"] = "i1"
    manifest.write_text(json.dumps(document))
    (manifest.parent / "run_results.json").write_text(json.dumps(written))
    options = dbt.Options(project_dir=project.root, vars=given)
    found = dbt.read_project(options)
    assert _other_vars(found, dbt.Manifest(found)) == reason
