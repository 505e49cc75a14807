"""A project's own functions: what they make of records, their limits, and their tests."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import httpx
import pytest

from revetl.config.models import FunctionConfig
from revetl.delivery.functions.process import FOLDER, Function, FunctionResult
from revetl.errors import UsageError
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people, synced

RECORD = {"type": "identify", "key": "u1", "audience": "a", "operation": "add", "identifiers": {"id": "u1"}}

CALLED = f"{FOLDER}/shop.py"
SHOP = """
from revetl.functions import Drop, Reject, Retry

def on_identify(record):
    score = record["traits"]["score"]
    if score == 1:
        raise Drop("is nothing to them")
    if score == 2:
        raise Reject("is two")
    if score == 3:
        raise Retry("come again")
    if score == 4:
        return [{**record, "identifiers": {"id": f"u4-{n}"}} for n in range(3)]
    record["traits"]["grade"] = "A" if score > 10 else "B"
    return record

def on_track(record):
    record["event"] = record["event"].upper()
    return [record, {**record, "event": "again"}]
"""


def write(root: Path, text: str, name: str = "shop") -> None:
    (root / FOLDER).mkdir(exist_ok=True)
    (root / FOLDER / f"{name}.py").write_text(textwrap.dedent(text))


def function(root: Path, text: str, **limits: Any) -> Function:
    write(root, text)
    return Function(root, FunctionConfig(name="shop", **limits))


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("return record", FunctionResult(({**RECORD, "traits": {"n": 1}},))),
        ("return [record, record]", FunctionResult(({**RECORD, "traits": {"n": 1}},) * 2)),
        ("return None", FunctionResult(dropped="the function returned None")),
        ("return []", FunctionResult()),
        ("raise Drop('small')", FunctionResult(dropped="small")),
        ("raise Reject('é \"x\"')", FunctionResult(rejected='é "x"')),
        ("raise Retry('later')", FunctionResult(later="later")),
        ("print('a line'); return record", FunctionResult(({**RECORD, "traits": {"n": 1}},))),
        ("1 / 0", FunctionResult(rejected=f"{CALLED}, line 3: ZeroDivisionError: division by zero")),
        ("return 5", FunctionResult(rejected=f"{CALLED}: returned a int, but a record must be a dict")),
        (
            "return {**record, 'key': 'u2'}",
            FunctionResult(rejected=f"{CALLED}: changed 'key', which is not allowed"),
        ),
        (
            "while True: pass",
            FunctionResult(rejected=f"{CALLED}: took longer than 0.2 s"),
        ),
        (
            "try:\n        while True: pass\n    except Exception: return record",
            FunctionResult(rejected=f"{CALLED}: took longer than 0.2 s"),
        ),
        (
            "return {**record, 'x': 'x' * 10**9}",
            FunctionResult(rejected=f"{CALLED}: exceeded 256 MB of memory"),
        ),
        (
            "raise SystemExit(3)",
            FunctionResult(rejected=f"{CALLED}, line 3: SystemExit: 3"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_function_makes_of_a_record(tmp_path: Path, body: str, outcome: FunctionResult) -> None:
    text = f"from revetl.functions import Drop, Reject, Retry\ndef on_identify(record):\n    {body}\n"
    own = function(tmp_path, text, timeout=0.2)
    assert own({**RECORD, "traits": {"n": 1}}) == outcome
    # And it goes on with the next.
    assert own({**RECORD, "traits": {"n": 1}}) == outcome


@pytest.mark.parametrize(
    "body",
    [
        "if key == 'u1': os.fork()",
        "if key == 'u1' and os.fork() == 0: return None",
        "if key == 'u1' and os.fork() > 0: time.sleep(0.05)",
        # The copy answers as the process does, as one that leaves the handler by itself would.
        "if key == 'u1' and os.fork() == 0: say(record, 1); os._exit(0)",
        "if key == 'u1': say(record, 1)",
        "if key == 'u2': say(record, 1)",
        "if key == 'u2': [os.write(fd, b'{}\\n') for fd in answers()]",
        "if key == 'u2': [os.write(fd, b'not JSON\\n') for fd in answers()]",
    ],
    ids=[
        "a fork",
        "a fork that drops the record",
        "a fork that answers first",
        "a fork that answers for itself",
        "the same answer twice",
        "the answer of an earlier record",
        "an answer without a number",
        "an answer that is not JSON",
    ],
)
def test_every_record_has_its_own_answer_though_the_function_forks(tmp_path: Path, body: str) -> None:
    text = f"""
import json, os, pathlib, stat, time

FIRST = pathlib.Path(__file__).with_name("asked")

def answers():
    return [fd for fd in range(3, 12) if fd_is_pipe(fd)]

def fd_is_pipe(fd):
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False

def say(record, number):
    line = json.dumps({{"number": number, "records": [{{**record, "made_for": "u1"}}]}})
    for fd in answers():
        os.write(fd, line.encode() + b"\\n")

def on_identify(record):
    key = record["key"]
    if not FIRST.exists() or FIRST.read_text() != "done":
        if key == "u2": FIRST.write_text("done")
        {body}
    return {{**record, "made_for": key}}
"""
    made = function(tmp_path, text)
    outcomes = [made({**RECORD, "key": f"u{n}"}) for n in range(1, 6)]
    assert [[record["made_for"] for record in each.records] for each in outcomes] == [
        [f"u{n}"] for n in range(1, 6)
    ]


def test_a_function_that_always_answers_out_of_step_is_rejected_with_its_reason(tmp_path: Path) -> None:
    text = """
import os

def on_identify(record):
    for fd in range(3, 12):
        try:
            os.write(fd, b'{"number": 99, "records": []}\\n')
        except OSError:
            pass
    return record
"""
    outcome = function(tmp_path, text)(RECORD)
    assert outcome == FunctionResult(rejected=f"{CALLED}: more than one answer for a record. Does it fork?")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "exited with -9"),
        ("signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(60)", "took longer than 0.2 s"),
        ("return {**record, 'traits': {'n': float('nan')}}", "a value that JSON does not support"),
        ("return {**record, 'traits': {'n': {1, 2}}}", "a value that JSON does not support"),
    ],
)
def test_a_record_that_kills_its_process_is_rejected_alone(tmp_path: Path, body: str, reason: str) -> None:
    bad = f"if record['traits']['n'] == 2: {body}"
    text = f"import os, signal, time\ndef on_identify(record):\n    {bad}\n    return record\n"
    own = function(tmp_path, text, timeout=0.2)
    made = [own({**RECORD, "traits": {"n": n}}) for n in (1, 2, 3)]
    assert [len(each.records) for each in made] == [1, 0, 1]
    assert reason in str(made[1].rejected)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def on_identify(record)\n", "destination_functions/shop.py, line 1:"),
        ("import nowhere_at_all\n", "destination_functions/shop.py, line 1: ModuleNotFoundError"),
        (
            "def on_track(record): return record\n",
            "does not define on_identify, which this sync's records need",
        ),
        ("import os; os._exit(1)\n", "destination_functions/shop.py: exited with 1"),
    ],
)
def test_a_function_that_cannot_be_used_stops_the_run_before_it_begins(
    project: ProjectFolder, sandbox: SandboxClient, text: str, sentence: str
) -> None:
    write(project.root, text)
    meta = {"key": "user_id", "sync": [{"to": "crm", "function": "shop"}]}
    project.audience("vips", people(("u1", 1)), meta)
    with pytest.raises(UsageError) as error:
        synced(project)
    assert sentence in str(error.value)
    assert sandbox.requests("crm") == []


def test_a_function_that_is_not_there(project: ProjectFolder, cli: Cli) -> None:
    write(project.root, SHOP)
    project.audience(
        "vips", people(("u1", 1)), {"key": "user_id", "sync": [{"to": "crm", "function": "shpo"}]}
    )
    done = cli(project, "sync", "audience", "vips")
    assert (done.returncode, done.stdout) == (2, "")
    assert "functions/shpo.py does not exist. Did you mean 'shop'?" in done.stderr
    assert "functions/shpo.py does not exist" in cli(project, "validate").stderr


def test_a_sync_with_a_function(project: ProjectFolder, sandbox: SandboxClient) -> None:
    write(project.root, SHOP)
    meta = {"key": "user_id", "sync": [{"to": "crm", "function": {"name": "shop", "timeout": 5}}]}
    project.audience("vips", people(*((f"u{n}", n) for n in (1, 2, 3, 4, 5, 50))), meta)
    run = synced(project)
    # u1 is dropped, which counts as delivered; u3 is left to the next run.
    assert (run.delivered["add"], run.rejected["add"], run.unsent, run.exit_code) == (4, 1, 1, 1)
    held = sandbox.members("crm", "vips")
    assert held == {
        **{f"u4-{n}": {"score": 4} for n in range(3)},
        "u5": {"score": 5, "grade": "B"},
        "u50": {"score": 50, "grade": "A"},
    }
    write(project.root, SHOP.replace("if score == 3", "if score == -3"))
    again = synced(project)
    assert (again.planned["add"], again.delivered["add"]) == (1, 1)
    assert sandbox.members("crm", "vips")["u3"] == {"score": 3, "grade": "B"}


def test_events_through_a_function(project: ProjectFolder, sandbox: SandboxClient) -> None:
    write(project.root, SHOP)
    sync = {"to": "crm", "mode": "events", "event": "scored", "function": "shop"}
    project.audience("vips", people(("u1", 1), ("u2", 2)), {"key": "user_id", "sync": [sync]})
    synced(project)
    synced(project, full_refresh=True)
    held = httpx.get(f"{sandbox.url}/_/members/crm").json()["events"]
    # Each has an id of its own, which stays when it is sent anew.
    assert sorted((each["person"], each["event"]) for each in held) == [
        ("u1", "SCORED"), ("u1", "again"), ("u2", "SCORED"), ("u2", "again"),
    ]  # fmt: skip


def test_many_dropped_records_do_not_cut_the_batches(project: ProjectFolder, sandbox: SandboxClient) -> None:
    write(
        project.root,
        "def on_identify(record):\n    return record if record['traits']['score'] % 2 else None\n",
    )
    meta = {"key": "user_id", "sync": [{"to": "crm", "function": "shop"}]}
    project.audience("vips", people(*((f"u{n}", n) for n in range(200))), meta)
    run = synced(project)
    assert (run.delivered["add"], len(sandbox.members("crm", "vips"))) == (200, 100)
    assert len(sandbox.requests("crm")) == 1


TESTS = """
tests:
  - name: a good score
    given: {traits: {score: 50}}
    expect: {traits: {score: 50, grade: A}}
  - name: several
    given: {traits: {score: 4}}
    expect: [{identifiers: {id: u4-0}}, {identifiers: {id: u4-1}}, {identifiers: {id: u4-2}}]
  - name: dropped
    given: {traits: {score: 1}}
    expect: drop
  - name: rejected
    given: {traits: {score: 2}}
    expect: {reject: two}
  - name: an event
    on: track
    given: {event: x, properties: {a: 1}}
    expect: [{event: X, properties: {a: 1}}, {event: again}]
"""


def test_revetl_test(project: ProjectFolder, cli: Cli) -> None:
    write(project.root, SHOP)
    file = project.root / FOLDER / "shop.yml"
    file.write_text(TESTS)
    done = cli(project, "test")
    assert (done.returncode, done.stdout.count("PASS  shop: ")) == (0, 5)
    file.write_text(TESTS.replace("grade: A", "grade: B").replace("reject: two", "reject: three"))
    failed = cli(project, "test", "shop", "-o", "json")
    results = json.loads(failed.stdout)
    assert failed.returncode == 1
    assert [each["name"] for each in results if not each["passed"]] == ["a good score", "rejected"]
    assert results[0]["problem"] == (
        'expected {"traits":{"grade":"B","score":50}}, got {"traits":{"grade":"A","score":50}}'
    )
    assert results[3]["problem"] == "expected reject: three, got reject: is two"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{name: x, expcet: drop, given: {}}", "shop.yml, line 2: tests.0.expect is missing"),
        ("{name: x, given: {}, expect: {trait: 1}}", "unknown key 'trait'. Did you mean"),
        ("{name: x, given: {}, expect: dorp}", "unknown key 'dorp'. Did you mean 'drop'"),
        ("5", "shop.yml, line 2: tests.0"),
        ("{name: x, given: {}, expect: {drop: a, reject: b}}", "drop, reject and retry cannot be combined"),
    ],
)
def test_a_wrong_file_of_tests(project: ProjectFolder, cli: Cli, text: str, sentence: str) -> None:
    write(project.root, SHOP)
    (project.root / FOLDER / "shop.yml").write_text(f"tests:\n  - {text}\n")
    done = cli(project, "test")
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "shpo.yml does not exist. Did you mean 'shop'?" in cli(project, "test", "shpo").stderr


@pytest.mark.parametrize("end", ["py", "yml"])
def test_files_in_the_former_folder_are_to_be_moved(project: ProjectFolder, cli: Cli, end: str) -> None:
    """dbt 1.11 reads `functions/` as its own functions."""
    write(project.root, SHOP)
    (project.root / FOLDER / "shop.yml").write_text(TESTS)
    (project.root / "functions").mkdir()
    (project.root / FOLDER / f"shop.{end}").rename(project.root / "functions" / f"shop.{end}")
    done = cli(project, "test")
    assert done.returncode == 2
    assert f"functions/shop.{end} has to be destination_functions/shop.{end}" in done.stderr
    if end == "py":
        meta = {"key": "user_id", "sync": [{"to": "crm", "function": "shop"}]}
        project.audience("vips", people(("u1", 1)), meta)
        assert "has to be destination_functions/shop.py" in cli(project, "validate").stderr
        assert "has to be destination_functions/shop.py" in cli(project, "sync", "audience", "vips").stderr


def test_functions_of_dbt_are_left_alone(project: ProjectFolder, cli: Cli) -> None:
    (project.root / "functions").mkdir()
    (project.root / "functions" / "schema.yml").write_text("functions:\n  - name: is_positive\n")
    assert cli(project, "test").returncode == 0
