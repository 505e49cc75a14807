"""What the runner says to the engines that are not to be had here: it parses, and a change shows in review.

The runner's own code goes its whole way: it loads, plans, syncs to the sandbox, books, reconciles, explains.
What it says to each engine is in `golden/statements/`. (Not as .sql, which dbt would take for tests.) It is
written anew with

    REVETL_WRITE_GOLDEN=1 pytest -m warehouses tests/warehouses/test_statements.py
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from revetl.dbt.project_files import Target
from revetl.sync.run import Runner
from revetl.warehouse import Opening, Warehouse
from revetl.warehouse import open_warehouse as open_duckdb
from revetl.warehouse.duckdb import DuckDB
from revetl.warehouse.engine import replaced
from revetl.warehouse.rewrite import as_merge, in_parts, told_apart
from revetl.warehouse.templates import column, statement, table
from revetl.warehouse.tsql_booleans import conditioned
from tests.conftest import SandboxClient
from tests.helpers.drift import by_hand, readable
from tests.helpers.project import ProjectFolder
from tests.warehouses.statements import ENGINES, Recorded, Recorder, make_engine
from tests.warehouses.tsql import refused

pytestmark = pytest.mark.warehouses

GOLDEN = Path(__file__).parent / "golden" / "statements"
WIDTH = 110
MOST_OF_A_PLAN = 6

PEOPLE = """
    select * from (values
        ('p1', 'a@x', 1, 12.50::decimal(10, 2), 0.5::double, true, timestamp '2026-01-02 03:04:05', '+4 1'),
        ('p2', 'b@x', 2, 1.00, null, false, null, null),
        ('p3', 'c@x', 3, null, null, null, null, '2'),
        ('p4', 'd@x', 4, null, null, null, null, '2')
    ) as people (person, email, score, money, rate, flag, moment, phone)
"""
LATER = """
    select * from (values
        ('p1', 'z@x', 1, 12.50::decimal(10, 2), 0.5::double, true, timestamp '2026-01-02 03:04:05', '+4 1'),
        ('p2', 'b@x', 20, 1.00, null, false, null, null),
        ('p5', 'e@x', 5, null, null, null, null, '2'),
        ('p6', 'f@x', 6, null, null, null, null, '2')
    ) as people (person, email, score, money, rate, flag, moment, phone)
"""
FIELDS = {"score": "score", "tier": "case when score > 10 then 'gold é' else 'blue' end"}
META: dict[str, Any] = {
    "key": "person",
    "sync": [
        {
            "to": "crm",
            "identifiers": {"id": "email"},
            "fields": FIELDS,
            "exclude": [{"model": "staff", "on": "person"}],
            "holdout": 0.001,
            "limit": 100,
            "order_by": "score desc",
        }
    ],
}
SUPPRESSED = """
    insert into revetl.revetl.suppressions (identifier_type, identifier_value, suppressed_at)
    values ('email', 'd@x', timestamp '2026-01-01')
"""
SUPPRESSED_PHONES = """
    insert into revetl.revetl.suppressions (identifier_type, identifier_value, suppressed_at)
    values ('phone', '+1 650 555 1212', timestamp '2026-01-01'),
        ('phone', '6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b', timestamp '2026-01-01')
"""
BY_PHONE: dict[str, Any] = {
    "key": "person",
    "sync": [
        {
            "to": "ads",
            "identifiers": {"PHONE": "phone"},
            "fields": {},
            "exclude": [{"model": "staff", "on": "phone", "column": "person"}],
        }
    ],
}
LOST = """
    insert into revetl.revetl.sync_intents (
        sync, run_id, hash_by, operation, key, row_hash, identifiers, fields, origin, cause, caused_at,
        invalid
    )
    select sync, '20260101T000000-00000000', hash_by, 'add', 'lost', 1, '{"id": "lost@x"}', '{}', 'o', 'new',
        null, null
    from revetl.revetl.sync_state limit 1;
    insert into revetl.revetl.sync_runs (
        run_id, sync, audience, destination, mode, status, started_at,
        planned_add, planned_update, planned_remove
    ) values (
        '20260101T000000-00000000', 'vips.crm', 'vips', 'crm', 'mirror', 'running', timestamp '2026-01-01',
        1, 0, 0
    );
    update revetl.revetl.sync_state set hash_by = 'before'
"""
TYPED = {
    "money": "money", "rate": "rate", "flag": "flag", "moment": "moment",
    "phone": "regexp_replace(phone, '[^0-9]', '', 'g')",
}  # fmt: skip
BY_KEY: dict[str, Any] = {
    "key": "person",
    "sync": [{"to": "crm", "fields": {"score": "score + 1", **TYPED}, "constants": {"of": "x"}}],
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    name: str = request.param
    return name


@pytest.fixture
def recorder(engine: str, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """What the engine is told; every warehouse of a project is opened on it."""
    recorder = Recorder(engine)

    def opened(target: Target, opening: Opening) -> Warehouse:
        duck = open_duckdb(target, opening)
        assert isinstance(duck, DuckDB)
        return Recorded(make_engine(engine, recorder, opening), duck, recorder)

    monkeypatch.setattr("revetl.project.workspace.open_warehouse", opened)
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    for name in ("spool", "deliver"):
        own = getattr(Runner, name)

        def under(runner: Runner, *given: Any, own: Any = own, name: str = name) -> Any:
            if name == "deliver":
                recorder.heading += ": deliver"
            return own(runner, *given)

        monkeypatch.setattr(Runner, name, under)
    return recorder


@contextmanager
def headed(recorder: Recorder, heading: str) -> Iterator[list[str]]:
    """Keep what is said under a heading; gives its statements."""
    recorder.heading = heading
    yield recorder.said.setdefault(heading, [])
    recorder.heading = ""


@pytest.fixture
def said(recorder: Recorder, project: ProjectFolder, sandbox: SandboxClient) -> dict[str, list[str]]:
    """What is said in the life of a sync, by heading; the life is lived once an engine."""
    if recorder.engine not in _SAID:
        _live(recorder, project, sandbox)
        recorder.said.pop("", None)
        _SAID[recorder.engine] = recorder.said
    return _SAID[recorder.engine]


_SAID: dict[str, dict[str, list[str]]] = {}


def _live(recorder: Recorder, project: ProjectFolder, sandbox: SandboxClient) -> None:
    ads = {"type": "facebook_ads", "ad_account_id": "7", "access_token": "T"}
    project.destinations({"crm": readable(sandbox), "ads": ads})
    project.sql("create table revetl.main.staff as select 'p3' as person")
    project.audience("vips", PEOPLE, META, "select * from revetl.main.people as p where p.score > 0")
    project.audience("fans", PEOPLE, BY_KEY)
    project.sql(f"create table revetl.main.people as {PEOPLE}")
    project._nodes["model.shop.staff"] = {**project._nodes["model.shop.vips"], "name": "staff",
                                          "alias": "staff", "unique_id": "model.shop.staff",
                                          "config": {"tags": [], "meta": {}}}  # fmt: skip
    project.write_manifest()
    opened = project.open()
    events = project.root / "events.jsonl"
    lines = [
        {"type": "track", "messageId": f"m{at}", "userId": "u1", "event": "Order Completed é",
         "timestamp": "2026-01-01T00:00:00Z", "properties": {"total": 1.5}}
        for at in range(2)
    ]  # fmt: skip
    events.write_text("\n".join([*map(json.dumps, lines), "no json", ""]))
    with headed(recorder, "load"):
        opened.load([events])
    with headed(recorder, "plan before the first run"):
        opened.plan("vips")
    with headed(recorder, "first run"):
        (run,) = opened.sync("vips")
    assert run.status == "success", run
    with headed(recorder, "plan of what has no options"):
        opened.plan("fans")
    project.sql(SUPPRESSED)
    project.audience("vips", LATER)
    with headed(recorder, "plan"):
        opened.plan("vips")
    sandbox.misbehave({"kind": "reject", "pattern": "^b@x$", "reason": "no"})
    with headed(recorder, "second run, of which some is rejected"):
        opened.sync("vips")
    sandbox.behave()
    project.sql(LOST)
    with headed(recorder, "third run, after one that was lost and by other hashes"):
        opened.sync("vips", retry=True)
    with headed(recorder, "reconcile"):
        opened.reconcile("vips.crm")
    by_hand(sandbox, "add", x9={"score": 9})
    by_hand(sandbox, "remove", **{"e@x": {}})
    by_hand(sandbox, "update", **{"z@x": {"score": 99, "money": 1}})
    with headed(recorder, "reconcile, and repair"):
        opened.reconcile("vips.crm", repair=True, remove_extra=True)
    with headed(recorder, "why"):
        found = opened.why("p5", "vips")
        opened.why("p4", "vips")
    assert found.membership.member
    with headed(recorder, "status and history"):
        opened.status()
        opened.history()
        opened.rejections()
    with headed(recorder, "by key, first run"):
        opened.sync("fans")
    project.sql("update revetl.main.fans set score = 100 where person = 'p1'")
    with headed(recorder, "by key"):
        opened.sync("fans")
    project.sql(SUPPRESSED_PHONES)
    project.audience("callers", "select 'p1' as person, '2' as phone", BY_PHONE)
    with headed(recorder, "plan by phone numbers, some of which are suppressed"):
        project.open().plan("callers")
    _identity(recorder)


def _identity(recorder: Recorder) -> None:
    """What `revetl identity` asks."""
    engine = make_engine(recorder.engine, recorder, Opening(Path.cwd()))
    parts = {name: table(name, "main", "revetl") for name in
             ("graph", "edges", "sightings", "merges", "conflicts", "before", "after")}  # fmt: skip
    with headed(recorder, "identity"):
        for module in map(
            importlib.import_module, ("revetl.inspect.identity.profile", "revetl.inspect.identity.diff")
        ):
            for name in ("_MEMBERS", "_EDGES", "_MERGES", "_CONFLICTS", "_PROFILES", "_LARGEST"):
                if template := getattr(module, name, None):
                    key = column("person", of="m")
                    engine.rows(statement(template, **parts, profile="id", key=key, most=5))
        engine.run(statement("drop schema if exists :schema cascade", schema=table("main_diff", "revetl")))


def test_what_is_said_is_as_it_was(engine: str, said: dict[str, list[str]]) -> None:
    sections: dict[str, None] = {}
    for heading, statements in said.items():
        # What was said before is not said again.
        sections |= dict.fromkeys([f"-- {heading}", *map(_folded, statements)])
    now = "\n\n".join(sections) + "\n"
    file = GOLDEN / f"{engine}.txt"
    if os.environ.get("REVETL_WRITE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        file.write_text(now, encoding="utf-8")
    assert now == file.read_text(encoding="utf-8")


def _folded(text: str) -> str:
    return textwrap.fill(f"{text};", WIDTH, break_long_words=False, break_on_hyphens=False)


def test_every_statement_parses_and_is_taken(engine: str, said: dict[str, list[str]]) -> None:
    dialect = "fabric" if engine == "synapse" else engine
    # Redshift lists three that it takes: a column may be called by a type's name.
    taken = {"timestamp", "type", "oid"} if engine == "redshift" else set()
    names = sqlglot.Dialect.get_or_raise(dialect).generator_class.RESERVED_KEYWORDS - taken
    for text in (each for statements in said.values() for each in statements if not each.startswith("--")):
        # The query that it describes.
        text = text.replace("DESCRIBE QUERY ", "")
        for parsed in sqlglot.parse(text, dialect=dialect, error_level=sqlglot.ErrorLevel.RAISE):
            for name in parsed.find_all(exp.Identifier) if parsed is not None else ():
                assert name.args.get("quoted") or name.name.lower() not in names, (name, text)
        if dialect == "fabric":
            assert not refused(text), text
        # What a template leaves of itself, or of another engine.
        assert not {"revetl_text", ":sync", "JSON_EXTRACT_STRING"} & set(text.split())


def test_a_plan_is_few_statements(said: dict[str, list[str]]) -> None:
    plan = [each for each in said["plan of what has no options"] if not each.startswith("--")]
    # Where there are no temporary tables, what was one is dropped at the end.
    assert 0 < len([each for each in plan if not each.startswith("DROP")]) <= MOST_OF_A_PLAN


def test_a_checkpoint_is_one_merge(engine: str, said: dict[str, list[str]]) -> None:
    changing = ("MERGE", "UPDATE", "DELETE", "INSERT", "CREATE")
    said_of_it = [
        text
        for text in (each.split("*/ ", 1)[-1] for each in said["by key: deliver"])
        if text.startswith(changing) and "sync_state" in text.lower()
    ]
    words = [text.split()[0] for text in said_of_it]
    assert words == (["CREATE", "DELETE", "INSERT"] if engine in ("redshift", "synapse") else ["MERGE"])


def test_what_is_rewritten_comes_to_the_same(
    tmp_path: Path, sandbox: SandboxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _synced(tmp_path / "plain", sandbox)
    assert all(plain)
    own, rendered = DuckDB.run, DuckDB._rendered

    def run(self: DuckDB, sql: exp.Expr) -> None:
        changed = as_merge(sql)
        if isinstance(changed, exp.Merge):
            merged = table("revetl_merged")
            name = table(*(changed.this.text(part) for part in ("this", "db", "catalog")))
            rows, gone, changed = in_parts(changed, list(self.columns(name)), merged)
            self.temporary(merged, rows)
            own(self, gone)
        own(self, changed)

    def as_duckdb(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.NullSafeEQ | exp.NullSafeNEQ):
            return told_apart(node)
        is_bit = isinstance(node, exp.DataType) and node.this == exp.DataType.Type.BIT
        return exp.DataType.build("boolean") if is_bit else node

    monkeypatch.setattr(DuckDB, "run", run)
    monkeypatch.setattr(
        DuckDB, "_rendered", lambda self, sql: rendered(self, replaced(conditioned(sql), as_duckdb))
    )
    assert _synced(tmp_path / "rewritten", sandbox) == plain


def _synced(folder: Path, sandbox: SandboxClient) -> list[Any]:
    """Some syncs; what is held then, there and in the state."""
    sandbox.behave()
    project = ProjectFolder(folder, {"crm": {"type": "webhook", "url": f"{sandbox.url}/{folder.name}"}})
    project.sql("create table revetl.main.staff as select 'p3' as person")
    project.audience("vips", PEOPLE, {**META, "sync": [{**META["sync"][0], "exclude": []}]})
    project.open().sync("vips")
    sandbox.misbehave({"kind": "reject", "pattern": "^b@x$", "reason": "no"})
    project.audience("vips", LATER)
    project.open().sync("vips")
    refused = project.sql("select key, operation, attempts from revetl.revetl.sync_rejections")
    project.audience("vips", PEOPLE)
    project.sql("update revetl.revetl.sync_state set hash_by = 'before' where key = 'p1'")
    project.open().sync("vips", retry=True)
    state = project.sql(
        "select * exclude (run_id, pending_run_id, acknowledged_at) from revetl.revetl.sync_state"
    )
    return [sandbox.members(folder.name, "vips"), sorted(state, key=str), sorted(refused)]
