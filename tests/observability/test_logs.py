"""Structured logs: what is written, when, and what never is."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from revetl.observability import logs

SECRET = 'k3y-"quoted"/päss'


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    logs.configure("text")
    logs._secrets.clear()


def story() -> None:
    """What a run says, and two libraries beside it."""
    logs.event("run_started", sync="a.crm", run_id="r1")
    logs.event("planned", sync="a.crm", run_id="r1", planned={"add": 2, "remove": 1}, note="two\nlines")
    logs.event("batch", sync="a.crm", run_id="r1", records=2)
    logs.event("guard_stopped", sync="a.crm", run_id="r1", guard="empty")
    logs.event("run_finished", sync="a.crm", run_id="r1", status="refused")
    logging.getLogger("aiohttp").info("connected")
    logging.getLogger("aiohttp").warning("closed by %s", "peer")


@pytest.mark.parametrize(
    ("format", "level", "events"),
    [
        pytest.param("text", None, [], id="text by default is silent"),
        pytest.param(
            "json",
            None,
            ["run_started", "planned", "guard_stopped", "run_finished", "log"],
            id="json from info",
        ),
        pytest.param(
            "json",
            "debug",
            ["run_started", "planned", "batch", "guard_stopped", "run_finished", "log"],
            id="every batch with debug",
        ),
        pytest.param("json", "warning", ["guard_stopped", "run_finished", "log"], id="only what is grave"),
        pytest.param("json", "error", ["run_finished", "log"], id="only the failure of ours"),
    ],
)
def test_which_events(format: logs.Format, level: logs.Level | None, events: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(format, level, stream)
    story()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == events


def test_json_lines() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    story()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    times = [line.pop("time") for line in lines]
    assert all(time.endswith("+00:00") for time in times)
    run = {"sync": "a.crm", "run_id": "r1"}
    assert lines == [
        {"level": "info", "event": "run_started", **run},
        {
            "level": "info",
            "event": "planned",
            **run,
            "planned": {"add": 2, "remove": 1},
            "note": "two\nlines",
        },
        {"level": "warning", "event": "guard_stopped", **run, "guard": "empty"},
        {"level": "error", "event": "run_finished", **run, "status": "refused"},
        {"level": "warning", "event": "log", "logger": "aiohttp", "message": "closed by peer"},
    ]


def test_text_lines() -> None:
    stream = io.StringIO()
    logs.configure("text", "debug", stream)
    story()
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == [
        "INFO run_started sync=a.crm run_id=r1",
        'INFO planned sync=a.crm run_id=r1 planned={"add":2,"remove":1} note="two\\nlines"',
        "DEBUG batch sync=a.crm run_id=r1 records=2",
        "WARNING guard_stopped sync=a.crm run_id=r1 guard=empty",
        "ERROR run_finished sync=a.crm run_id=r1 status=refused",
        "WARNING closed by peer",
    ]


@pytest.mark.parametrize("format", logs.FORMATS)
def test_secrets_are_in_no_line(format: logs.Format) -> None:
    stream = io.StringIO()
    logs.configure(format, "debug", stream)
    logs.hide(SECRET, "abc")
    logs.event(
        "retry",
        sync="abc.crm",
        reason=f"401 for {SECRET}",
        api_key="other-key",
        deep=[{"x": {SECRET: SECRET}}],
    )
    logs.event(
        "retry",
        url="https://ann:pw@crm.test/?k=k3y-%22quoted%22%2Fp%C3%A4ss",
        headers={"Authorization": "B t"},
    )
    try:
        raise ValueError(f"no {SECRET}")
    except ValueError:
        logging.getLogger("httpx").exception("failed with %s", SECRET)
    written = stream.getvalue()
    assert [part for part in ("k3y", "other-key", "pw", "B t") if part in written] == []
    assert "401 for ***" in written and "https://***@crm.test/?k=***" in written
    # Too short to be told from a word.
    assert "abc.crm" in written


def test_a_program_that_embeds_revetl_gets_clean_records(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logs.hide("s3cr3t")
    logs.event("retry", sync="a.crm", reason="key s3cr3t")
    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.__dict__["fields"]) == (
        "revetl",
        "retry",
        {"sync": "a.crm", "reason": "key ***"},
    )


def test_nothing_is_written_unless_asked_and_nothing_heavy_imported() -> None:
    code = (
        "import sys; from revetl.observability import logs, telemetry, alerts\n"
        "logs.event('guard_stopped', sync='a.crm'); logs.event('run_finished', status='crashed')\n"
        "with telemetry.span('x', {}) as span: span.set_attribute('a', 1)\n"
        "telemetry.request('crm', 200)\n"
        "print([name for name in ('opentelemetry', 'apprise', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
