"""The destination `file`, with real files: on a disk, and in an object store that a server plays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from revetl.errors import UsageError
from tests.destinations.test_round_trip import people
from tests.helpers.project import ProjectFolder

TYPES = {"score": "INTEGER", "company": "VARCHAR"}
READ = {"parquet": "read_parquet", "csv": "read_csv", "ndjson": "read_json_auto"}


def project_of(root: Path, **config: Any) -> ProjectFolder:
    return ProjectFolder(root, {"lake": {"type": "file", "path": "lake", **config}})


def meta(**sync: Any) -> dict[str, Any]:
    fields = {"score": "score", "company": "company"}
    return {"key": "user_id", "sync": [{"to": "lake", "max_change": "200%", "fields": fields, **sync}]}


def rows_of(files: str, read: str) -> list[tuple[Any, ...]]:
    """Operation, person and score of every row, in order."""
    return duckdb.execute(
        f"select _operation, user_id, score from {read}('{files}', union_by_name = true) order by all"
    ).fetchall()


def runs_of(root: Path) -> list[Path]:
    """The folders of the runs, oldest first."""
    return sorted(
        (root / "lake" / "vips.lake").glob("run_id=*"), key=lambda folder: folder.stat().st_mtime_ns
    )


@pytest.mark.parametrize(("kind", "compression"), [("parquet", None), ("csv", "gzip"), ("ndjson", None)])
def test_there_and_back(tmp_path: Path, kind: str, compression: str | None) -> None:
    project = project_of(tmp_path, format=kind, compression=compression, records_per_file=500)
    project.audience("vips", people(0, 1_200, "7"), meta())
    assert project.open().sync("vips")[0].status == "success"
    (first,) = runs_of(tmp_path)
    assert len(list(first.iterdir())) == 3
    project.audience("vips", people(300, 1_200, "case when i < 400 then 9 else 7 end"))
    assert project.open().sync("vips")[0].status == "success"
    _, second = runs_of(tmp_path)
    expected = {
        first: [("add", f"u{i}", 7) for i in range(1_200)],
        second: [("remove", f"u{i}", 7) for i in range(300)]
        + [("update", f"u{i}", 9) for i in range(300, 400)],
    }
    for folder, rows in expected.items():
        assert rows_of(f"{folder}/*", READ[kind]) == sorted(rows)
    assert not [name for _, _, names in os.walk(tmp_path / "lake") for name in names if "partial" in name]


def test_a_plan_shows_the_size_of_what_is_no_text(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    project.audience("vips", people(0, 2, "7"), meta())
    (plan,) = project.open().plan("vips")
    assert plan.preview is not None
    (request,) = plan.preview.requests
    assert (request.method, request.operation) == ("PUT", "add")
    assert request.url.startswith(f"file:{tmp_path}/lake/vips.lake/run_id=plan/add-")
    assert str(request.body).endswith(" bytes)")
    assert not (tmp_path / "lake").exists()


def test_a_column_of_nulls_keeps_its_type(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    query = "select 'u1' as user_id, cast(null as decimal(10, 2)) as score, date '2026-01-02' as company"
    project.audience("vips", query, meta())
    project.open().sync("vips")
    found = duckdb.execute(f"describe select * from read_parquet('{runs_of(tmp_path)[0]}/*')").fetchall()
    types = {name: kind for name, kind, *_ in found}
    assert (types["score"], types["company"], types["_at"]) == (
        "DECIMAL(10,2)",
        "DATE",
        "TIMESTAMP WITH TIME ZONE",
    )


def test_a_sum_of_whole_numbers_is_a_whole_number_in_parquet(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    sums = "sum(i) as score, max(18446744073709551615::ubigint) as company"
    project.audience("vips", f"select 'u1' as user_id, {sums} from range(4, 6) as t (i)", meta())
    (run,) = project.open().sync("vips")
    assert (run.status, run.delivered["add"]) == ("success", 1)
    rows = duckdb.execute(
        f"select score, typeof(score), company, typeof(company) from read_parquet('{runs_of(tmp_path)[0]}/*')"
    ).fetchall()
    assert rows == [(9, "DECIMAL(38,0)", 18446744073709551615, "DECIMAL(20,0)")]


def test_formulas_are_escaped_where_it_is_asked_for(tmp_path: Path) -> None:
    query = "select 'u1' as user_id, 1 as score, '=HYPERLINK(1)' as company"
    for number, escaped in enumerate((False, True)):
        root = tmp_path / str(number)
        project = project_of(root, format="csv", escape_formulas=escaped, include=[])
        project.audience("vips", query, meta())
        project.open().sync("vips")
        (file,) = runs_of(root)[0].iterdir()
        said = "'=HYPERLINK(1)" if escaped else "=HYPERLINK(1)"
        assert file.read_text() == f'"user_id","company","score"\n"u1","{said}",1\n'


def killed(root: Path, named: str, times: int = 4) -> int:
    """Start runs, and kill each when it has written a few files; gives how many were."""
    done = 0
    for number in range(times):
        known = len(list((root / "lake").rglob(f"{named}-*")))
        command = [sys.executable, "-m", "revetl", "sync", "audience", "vips", "--force", "max_change"]
        run = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and run.poll() is None:
            if len(list((root / "lake").rglob(f"{named}-*"))) > known + 3 * number:
                break
        run.send_signal(signal.SIGKILL)
        run.communicate()
        done += run.returncode == -signal.SIGKILL
    return done


@pytest.mark.slow
def test_a_change_that_is_written_twice_has_one_id(tmp_path: Path) -> None:
    project = project_of(tmp_path, format="ndjson", records_per_file=100, requests_per_second=50)
    project.audience("vips", people(0, 3_000, "7"), meta())
    assert killed(tmp_path, "add")
    assert project.open().sync("vips", force=("max_change",))[0].status == "success"
    files = f"{tmp_path}/lake/vips.lake/*/*.ndjson"
    counted = duckdb.execute(
        f"select count(distinct _change_id), count(distinct user_id) from read_json_auto('{files}')"
    ).fetchall()
    assert counted == [(3_000, 3_000)]


class TestWhole:
    """`contents: full`: a folder a run with everybody, which is whole when its manifest is there."""

    def project(self, root: Path, first: int, last: int) -> ProjectFolder:
        project = project_of(root, contents="full", format="ndjson", records_per_file=100, max_in_flight=1)
        project.audience("vips", people(first, last, "7"), meta())
        return project

    def held(self, folder: Path) -> set[str]:
        manifest = orjson.loads((folder / "_manifest.json").read_bytes())
        people = [
            orjson.loads(line)["user_id"]
            for each in manifest["files"]
            for line in (folder / each["name"]).read_bytes().splitlines()
        ]
        assert manifest["rows"] == len(people) == len(set(people))
        assert {each["name"] for each in manifest["files"]} == {file.name for file in folder.glob("member-*")}
        return set(people)

    def test_a_change_writes_everybody(self, tmp_path: Path) -> None:
        project = self.project(tmp_path, 0, 250)
        project.open().sync("vips")
        assert self.held(runs_of(tmp_path)[-1]) == {f"u{i}" for i in range(250)}
        project.audience("vips", people(1, 250, "7"))
        (plan,) = project.open().plan("vips")
        assert (plan.whole, plan.update, plan.remove) == (True, 249, 1)
        project.open().sync("vips")
        assert self.held(runs_of(tmp_path)[-1]) == {f"u{i}" for i in range(1, 250)}
        assert project.open().sync("vips")[0].status == "success"
        assert len(runs_of(tmp_path)) == 2
        project.audience("vips", people(0, 0, "7"))
        assert project.open().sync("vips", force=("empty", "max_change"))[0].status == "success"
        assert self.held(runs_of(tmp_path)[-1]) == set()

    def test_guards_look_at_what_changed(self, tmp_path: Path) -> None:
        project = project_of(tmp_path, contents="full")
        project.audience("vips", people(0, 2_000, "7"), meta(max_change=0.1))
        project.open().sync("vips")
        project.audience("vips", people(1, 2_000, "7"))
        assert project.open().sync("vips")[0].status == "success"
        project.audience("vips", people(1_500, 2_000, "7"))
        assert project.open().sync("vips")[0].status == "stopped"

    def test_who_has_no_manifest_is_written_again_though_nothing_changed(self, tmp_path: Path) -> None:
        """The last thing a run does fails: all is acknowledged, and the folder is not whole."""
        project = self.project(tmp_path, 0, 250)
        project.open().sync("vips")
        project.audience("vips", people(0, 0, "7"))
        folder = tmp_path / "lake" / "vips.lake"
        folder.chmod(0o500)
        if os.access(folder, os.W_OK):
            # Nothing is forbidden to root: a file stands where the folder is to be.
            folder.chmod(0o700)
            folder.rename(tmp_path / "before")
            folder.write_text("in the way")
        (run,) = project.open().sync("vips", force=("empty", "max_change"))
        assert run.status == "refused"
        assert "manifest" in str(run.error)
        if folder.is_file():
            folder.unlink()
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
        # Nobody is held and nobody is in the audience: the folder is due all the same.
        assert project.open().sync("vips", force=("empty", "max_change"))[0].status == "success"
        assert self.held(runs_of(tmp_path)[-1]) == set()

    @pytest.mark.slow
    def test_killed_between(self, tmp_path: Path) -> None:
        project = self.project(tmp_path, 0, 5_000)
        assert killed(tmp_path, "member")
        partial = {folder for folder in runs_of(tmp_path) if not (folder / "_manifest.json").exists()}
        assert partial
        assert project.open().sync("vips", force=("max_change",))[0].status == "success"
        (whole,) = {folder for folder in runs_of(tmp_path) if (folder / "_manifest.json").exists()}
        assert self.held(whole) == {f"u{i}" for i in range(5_000)}
        assert project.open().plan("vips")[0].changes == 0

    def test_other_modes_have_no_whole(self, tmp_path: Path) -> None:
        project = project_of(tmp_path, contents="full")
        project.audience("vips", people(0, 2, "7"), meta(mode="upsert"))
        (run,) = project.open().sync("vips")
        assert "mode mirror" in str(run.error)


def test_a_disk_that_is_not_ours_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file")
    project = project_of(tmp_path)
    project.audience("vips", people(0, 2, "7"), meta())
    (run,) = project.open().sync("vips")
    assert (run.status, run.exit_code) == ("refused", 4)
    assert "lake" in str(run.error)


def test_a_package_that_is_not_there_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    from revetl.delivery.transports.files import FileTransport

    with pytest.raises(UsageError, match=r"'s3://' requires s3fs.*revetl\[s3\]"):
        FileTransport("s3", {})
    with pytest.raises(UsageError, match=r"unknown scheme 's4://'.*'s3'"):
        FileTransport("s4", {})


def test_secrets_of_a_store_are_not_shown(tmp_path: Path) -> None:
    options = {
        "key": "AKIA1234",
        "secret": "verysecret",
        "client_kwargs": {"aws_session_token": "tokentoken"},
    }
    project = project_of(tmp_path, path="s3://bucket/x", storage_options=options)
    project.audience("vips", people(0, 2, "7"), meta())
    opened = project.open()
    destination = opened.workspace.destination(opened.sync_named("vips.lake"))
    assert set(destination.secrets()) == {"AKIA1234", "verysecret", "tokentoken"}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that plays S3."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.slow
def test_an_object_store(tmp_path: Path, s3: str) -> None:
    import s3fs

    options = {"endpoint_url": s3, "key": "testing", "secret": "testing"}
    store = s3fs.S3FileSystem(**options)
    project = project_of(
        tmp_path, path="s3://lake-1/out", format="ndjson", contents="full", storage_options=options
    )
    project.audience("vips", people(0, 120, "7"), meta())
    (run,) = project.open().sync("vips")
    assert (run.status, run.exit_code) == ("refused", 4)
    assert "s3://lake-1" in str(run.error)
    store.mkdir("lake-1")
    assert project.open().sync("vips")[0].status == "success"
    store.invalidate_cache()
    (manifest,) = store.glob("lake-1/out/vips.lake/*/_manifest.json")
    said = orjson.loads(store.cat_file(manifest))
    (file,) = said["files"]
    lines = store.cat_file(f"{manifest.rpartition('/')[0]}/{file['name']}").splitlines()
    assert said["rows"] == len(lines) == 120
    nowhere = {
        **options,
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    project.destinations(
        {"lake": {"type": "file", "path": "s3://lake-1/out", "retries": 1, "storage_options": nowhere}}
    )
    project.audience("vips", people(0, 121, "7"))
    (run,) = project.open().sync("vips")
    assert "no connection" in str(run.error)


@pytest.mark.slow
def test_sftp(tmp_path: Path) -> None:
    pytest.importorskip("paramiko")
    from tests.helpers.sftp import PASSWORD, USER, running_sftp

    there = tmp_path / "there"
    there.mkdir()
    with running_sftp(there) as port:
        config = {"path": f"sftp://{USER}@127.0.0.1:{port}/in/box", "format": "ndjson", "contents": "full"}
        project = project_of(tmp_path / "shop", **config, storage_options={"password": PASSWORD})
        project.audience("vips", people(0, 120, "7"), meta())
        (run,) = project.open().sync("vips")
        assert run.status == "success", run.error
        (folder,) = (each for each in (there / "in" / "box" / "vips.lake").iterdir() if each.is_dir())
        (file, manifest) = sorted(folder.iterdir(), reverse=True)
        assert len(file.read_bytes().splitlines()) == orjson.loads(manifest.read_bytes())["rows"] == 120
        project = project_of(tmp_path / "shop", **config, storage_options={"password": "another one"})
        project.audience("vips", people(0, 121, "7"))
        (run,) = project.open().sync("vips")
        assert run.exit_code == 4
        assert "Authentication failed" in str(run.error)


def test_a_password_is_no_part_of_an_address(tmp_path: Path) -> None:
    project = project_of(tmp_path, path="sftp://user:letmein@host/x")
    project.audience("vips", people(0, 2, "7"), meta())
    with pytest.raises(
        UsageError, match=r"lake: path: the URL contains a password. Move it to storage_options"
    ):
        project.open().sync("vips")
