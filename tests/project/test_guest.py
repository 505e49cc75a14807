"""`revetl init --here`: add revetl to a dbt project, and undo it."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from revetl.dbt.clashes import clash
from revetl.dbt.project_files import Options, read_project
from revetl.project.scaffolding.vendored import PACKAGE_PARTS, copy_package
from tests.conftest import Cli
from tests.project.projects import contents, dbt, make_untidy

ADDED = {"packages.yml", "revetl.yml"}


def test_only_the_package_the_variables_and_revetl_yml_are_added(tmp_path: Path, cli: Cli) -> None:
    make_untidy(tmp_path)
    before = contents(tmp_path)
    done = cli(tmp_path, "init", "--here", "--yes")
    assert done.returncode == 0, done.stderr
    after = contents(tmp_path)
    copied = {name for name in after if name.startswith("vendor/revetl/")}
    notes = {".revetl/init.json", ".revetl/.gitignore"}
    assert set(after) - set(before) - copied - notes == ADDED
    assert {name for name in before if before[name] != after[name]} == {"dbt_project.yml"}
    assert yaml.safe_load(after["packages.yml"]) == {"packages": [{"local": "vendor/revetl"}]}
    inserted = (
        "    revetl:\n      # true: build from a few sample events until your first events are loaded.\n"
        "      sample_events: false\n"
    )
    assert after["dbt_project.yml"].decode().replace(inserted, "") == before["dbt_project.yml"].decode()
    assert "+++ b/dbt_project.yml\n@@" in done.stdout
    assert "--- /dev/null\n+++ b/revetl.yml" in done.stdout
    assert f"vendor/revetl/: {len(copied) - 1} new files" in done.stdout


def test_nothing_is_written_before_somebody_agrees(tmp_path: Path, cli: Cli) -> None:
    make_untidy(tmp_path)
    before = contents(tmp_path)
    done = cli(tmp_path, "init", "--here")
    assert (done.returncode, contents(tmp_path)) == (2, before)
    assert "+++ b/packages.yml" in done.stdout
    assert "Use --yes." in done.stderr


@pytest.mark.parametrize("arguments", [("--here",), ("--here", "--minimal")], ids=" ".join)
def test_it_is_undone_byte_for_byte(tmp_path: Path, cli: Cli, arguments: tuple[str, ...]) -> None:
    text = "# ours\r\npackages:\r\n- package: dbt-labs/dbt_utils\r\n  version: 1.3.0"
    make_untidy(tmp_path)
    (tmp_path / "packages.yml").write_bytes(text.encode())
    before = contents(tmp_path)
    assert cli(tmp_path, "init", *arguments, "--yes").returncode == 0
    assert contents(tmp_path) != before
    done = cli(tmp_path, "init", "--here", "--undo")
    assert (done.returncode, contents(tmp_path)) == (0, before)
    assert list(tmp_path.glob("vendor")) == list(tmp_path.glob(".revetl")) == []


def test_what_was_edited_since_is_not_undone(tmp_path: Path, cli: Cli) -> None:
    make_untidy(tmp_path)
    cli(tmp_path, "init", "--here", "--yes")
    (tmp_path / "revetl.yml").write_text("destinations: {}\n")
    (tmp_path / "packages.yml").unlink()
    (tmp_path / "vendor/revetl/macros/ours.sql").write_text("{# ours #}")
    edited = contents(tmp_path)
    done = cli(tmp_path, "init", "--here", "--undo")
    assert (done.returncode, contents(tmp_path)) == (2, edited)
    assert "packages.yml (removed), revetl.yml, vendor/revetl/macros/ours.sql (added)." in done.stderr


def test_dependencies_yml_is_used_where_the_project_has_it(tmp_path: Path, cli: Cli) -> None:
    make_untidy(tmp_path, **{"dependencies.yml": "projects:\n  - name: finance  # theirs\n"})
    cli(tmp_path, "init", "--here", "--yes")
    assert not (tmp_path / "packages.yml").exists()
    assert (tmp_path / "dependencies.yml").read_text() == (
        "projects:\n  - name: finance  # theirs\n\npackages:\n  - local: vendor/revetl\n"
    )


def test_minimal_adds_revetl_yml_alone(tmp_path: Path, cli: Cli) -> None:
    make_untidy(tmp_path)
    before = contents(tmp_path)
    done = cli(tmp_path, "init", "--here", "--minimal", "--yes")
    assert set(contents(tmp_path)) - set(before) == {"revetl.yml", ".revetl/init.json", ".revetl/.gitignore"}
    assert "meta:\n            revetl:" in done.stdout
    again = cli(tmp_path, "init", "--here", "--minimal", "--yes")
    assert "revetl.yml is there already" in again.stdout


def test_spark_gets_the_dispatch_that_its_seeds_need(tmp_path: Path, cli: Cli) -> None:
    make_untidy(tmp_path)
    outputs = {"dev": {"type": "spark", "method": "session", "host": "x", "schema": "main"}}
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump({"untidy": {"target": "dev", "outputs": outputs}}))
    cli(tmp_path, "init", "--here", "--yes")
    document = yaml.safe_load((tmp_path / "dbt_project.yml").read_text())
    assert document["dispatch"] == [{"macro_namespace": "dbt", "search_order": ["untidy", "revetl", "dbt"]}]


REFUSED = {
    "no project": ({}, ("--here",), "there is no dbt_project.yml here. Go to the folder of a dbt project"),
    "the package is there": (
        {"packages.yml": 'packages:\n  - git: "https://example.com/revetl.git"\n    revision: v1\n'},
        ("--here",),
        "packages.yml: already contains revetl.",
    ),
    "a folder that is ours": ({"vendor/revetl/x": ""}, ("--here",), "vendor/revetl already exists."),
    "models in the project's own folder": (
        {"dbt_project.yml": "name: untidy\nprofile: untidy\nmodel-paths: ['.']\n"},
        ("--here",),
        "model-paths contains the project's root",
    ),
    "an unknown source": ({}, ("--here", "--package", "gti:x"), "Did you mean 'git'?"),
    "git without a revision": ({}, ("--here", "--package", "git:x"), "--package git: requires --revision"),
    "a revision of a tarball": (
        {},
        ("--here", "--package", "tarball:x", "--revision", "v1"),
        "--revision and --subdirectory require --package git:URL.",
    ),
    "a local folder that is not the package": (
        {},
        ("--here", "--package", "local:."),
        "--package local:.: does not contain the dbt_project.yml of the package 'revetl'.",
    ),
    "a new project in a project": ({}, (".",), "In it, run `revetl init --here` to add revetl"),
    "nothing": ({}, (), "Name the folder of a new project"),
    "undo of nothing": ({}, ("--here", "--undo"), ".revetl/init.json does not exist"),
    "an upgrade of nothing": ({}, ("--upgrade",), "Run `revetl init --here` to add one"),
}


@pytest.mark.parametrize(("files", "arguments", "sentence"), REFUSED.values(), ids=REFUSED)
def test_an_error_changes_nothing(
    tmp_path: Path, cli: Cli, files: dict[str, str], arguments: tuple[str, ...], sentence: str
) -> None:
    make_untidy(tmp_path, **files)
    if sentence.startswith("there is no dbt_project.yml here"):
        (tmp_path / "dbt_project.yml").unlink()
    before = contents(tmp_path)
    done = cli(tmp_path, "init", *arguments, "--yes")
    assert (done.returncode, contents(tmp_path)) == (2, before)
    assert sentence in done.stderr


@pytest.fixture
def published(tmp_path: Path) -> Iterator[dict[str, tuple[str, ...]]]:
    """The package as it is published: in git, at the top and in a folder, and as a tarball over HTTP."""
    package = tmp_path / "published" / "revetl"
    copy_package(tmp_path / "copy")
    (tmp_path / "published").mkdir()
    (tmp_path / "copy" / "vendor" / "revetl").rename(package)
    repositories = {"top": tmp_path / "top", "inside": tmp_path / "inside"}
    for name, repository in repositories.items():
        folder = repository / ("dbt" if name == "inside" else ".")
        folder.mkdir(parents=True)
        subprocess.run(["cp", "-r", *(package / part for part in PACKAGE_PARTS), folder], check=True)
        git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@example.com"]
        for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"], ["tag", "v1"]):
            subprocess.run([*git, *words], check=True)
    with tarfile.open(tmp_path / "published" / "revetl.tar.gz", "w:gz") as archive:
        archive.add(package, "revetl-1")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "published")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "git": (f"git:{repositories['top']}", "--revision", "v1"),
            "git and a folder": (
                f"git:{repositories['inside']}",
                "--revision",
                "v1",
                "--subdirectory",
                "dbt",
            ),
            "tarball": (f"tarball:http://127.0.0.1:{server.server_port}/revetl.tar.gz",),
            "local": (f"local:{package}",),
        }
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["git", "git and a folder", "tarball", "local"])
def test_dbt_installs_the_package_from_each_source(
    tmp_path: Path, cli: Cli, published: dict[str, tuple[str, ...]], form: str
) -> None:
    project = make_untidy(tmp_path / "untidy")
    done = cli(project, "init", "--here", "--yes", "--package", *published[form])
    assert done.returncode == 0, done.stderr
    assert not (project / "vendor").exists()
    dbt(project, "deps")
    installed = yaml.safe_load((project / "dbt_packages/revetl/dbt_project.yml").read_text())
    assert installed["name"] == "revetl"
    assert (project / "dbt_packages/revetl/models/staging/stg_revetl__tracks.sql").is_file()


CLASHES = {
    "1.11.16": """Compilation Error
  dbt found two resources with the database representation ""untidy"."main"."revetl_profiles"".
  dbt cannot create two resources with identical database representations. To fix this,
  change the configuration of one of these resources:
  - model.untidy.revetl_profiles (models/revetl_profiles.sql)
  - model.revetl.revetl_profiles (models/marts/profiles/revetl_profiles.sql)
""",
    "2.0.0-alpha.4": "[error] [InvalidConfig (dbt1005)]: dbt found two resources with the database relation "
    '"untidy"."main"'
    '."revetl_profiles". Nodes: model.untidy.revetl_profiles, model.revetl.revetl_profiles\n',
}


@pytest.mark.parametrize("said", CLASHES.values(), ids=CLASHES)
def test_the_files_of_a_clash_are_named_as_each_dbt_words_it(tmp_path: Path, said: str) -> None:
    project = make_untidy(tmp_path, **{"models/revetl_profiles.sql": "select 1 as user_id\n"})
    copy_package(tmp_path)
    (tmp_path / "vendor").rename(tmp_path / "dbt_packages")
    sentence = clash(read_project(Options(project_dir=project)), said)
    assert str(sentence).startswith(
        "models/revetl_profiles.sql and revetl's model revetl_profiles "
        "(dbt_packages/revetl/models/marts/profiles/revetl_profiles.sql) have the same relation "
    )
    assert "\n      marts:\n        +schema: revetl_models\n" in str(sentence)


@pytest.mark.long
@pytest.mark.slow
def test_a_model_with_the_name_of_a_public_one_is_named_with_both_files_and_a_way_out(
    tmp_path: Path, in_a_process: Cli
) -> None:
    project = make_untidy(tmp_path / "untidy", **{"models/revetl_profiles.sql": "select 1 as user_id\n"})
    assert in_a_process(project, "init", "--here", "--yes").returncode == 0
    dbt(project, "deps")
    done = in_a_process(project, "validate")
    assert done.returncode == 2
    assert (
        "models/revetl_profiles.sql and revetl's model revetl_profiles "
        "(dbt_packages/revetl/models/marts/profiles/revetl_profiles.sql) have the same relation in the "
        "warehouse. Rename yours, or move revetl's to another schema in dbt_project.yml:\n"
    ) in done.stderr
    advice = yaml.safe_load(done.stderr.split("in dbt_project.yml:\n")[1])
    document = yaml.safe_load((project / "dbt_project.yml").read_text())
    document["models"] |= advice["models"]
    (project / "dbt_project.yml").write_text(yaml.safe_dump({**document, "flags": advice["flags"]}))
    moved = in_a_process(project, "validate")
    assert moved.returncode == 0, moved.stderr
    nodes = json.loads((project / "target/manifest.json").read_text())["nodes"]
    schemas = {name: nodes[name]["schema"] for name in nodes if name.endswith(".revetl_profiles")}
    assert schemas == {
        "model.untidy.revetl_profiles": "main",
        "model.revetl.revetl_profiles": "main_revetl_models",
    }
    read = {
        parent
        for name, node in nodes.items()
        if name.startswith(("model.revetl.", "test.revetl."))
        for parent in node["depends_on"]["nodes"]
    }
    assert "model.untidy.revetl_profiles" not in read
