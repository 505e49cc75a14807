"""Unmodified official clients deliver all calls, row for row."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.collector.running import KEY, RunningCollector, make_project, running

CLIENTS = Path(__file__).parent / "clients"
MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123_000, UTC)
QUERIES = {
    "tracks": "user_id, event_text, event, properties ->> 'status_code', timestamp",
    "identifies": "user_id, traits ->> 'email', traits ->> 'plan'",
    "pages": "user_id, name, properties ->> 'path'",
    "screens": "user_id, name, properties ->> 'n'",
    "groups": "user_id, group_id, traits ->> 'employees'",
    "aliases": "user_id, previous_id",
}
EXPECTED = {
    "tracks": [("u1", "API Call Made", "api_call_made", "201", MOMENT.replace(tzinfo=None))],
    "identifies": [("u1", "jane@example.com", "Pro")],
    "pages": [("u1", "Docs", "/docs")],
    "screens": [("u1", "Main", "1")],
    "groups": [("u1", "company_789", "250")],
    "aliases": [("u1", "anon-1")],
}


def stored(collector: RunningCollector) -> dict[str, list[tuple[Any, ...]]]:
    """What the warehouse has of the six calls."""
    return {table: collector.messages(table, columns) for table, columns in QUERIES.items()}


def send_by_python(client: Any) -> None:
    """The six calls by the client of a Python SDK."""
    client.identify("u1", {"email": "jane@example.com", "plan": "Pro"})
    client.track("u1", "API Call Made", {"status_code": 201}, timestamp=MOMENT)
    client.page("u1", "Site", "Docs", {"path": "/docs"})
    client.screen("u1", "Site", "Main", {"n": 1})
    client.group("u1", "company_789", {"employees": 250})
    client.alias("anon-1", "u1")
    client.shutdown()


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_segment_analytics_python(tmp_path: Path, gzip: bool) -> None:
    from segment.analytics.client import Client  # type: ignore[import-untyped]

    with running(make_project(tmp_path)) as collector:
        send_by_python(Client(KEY, host=collector.url, gzip=gzip))
        assert stored(collector) == EXPECTED


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_rudder_sdk_python(tmp_path: Path, gzip: bool) -> None:
    from rudderstack.analytics.client import Client  # type: ignore[import-untyped]

    with running(make_project(tmp_path)) as collector:
        send_by_python(Client(KEY, host=collector.url, gzip=gzip))
        assert stored(collector) == EXPECTED


@pytest.mark.long
def test_analytics_python(tmp_path: Path) -> None:
    # It needs another version of backoff than today's SDK.
    packages = tmp_path / "packages"
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(packages)]
    subprocess.run([*install, "analytics-python==1.4.post1"], check=True)
    with running(make_project(tmp_path / "shop")) as collector:
        command = [sys.executable, str(CLIENTS / "python_client.py"), collector.url, KEY]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(packages)}, check=True, timeout=60)
        assert stored(collector) == EXPECTED


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the pinned npm packages."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    for file in CLIENTS.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("package", ["@segment/analytics-node", "analytics-node"])
def test_node_clients(tmp_path: Path, node_modules: Path, package: str) -> None:
    with running(make_project(tmp_path)) as collector:
        command = ["node", "node.cjs", package, collector.url, KEY]
        subprocess.run(command, cwd=node_modules, check=True, timeout=60)
        assert stored(collector) == EXPECTED


@contextmanager
def pages(folder: Path) -> Iterator[str]:
    """A site of another origin than the collector."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def browse(node_modules: Path, collector: RunningCollector, page: str, folder: Path) -> list[str]:
    """Open a page in Chromium and click its buttons. Returns what its console showed."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    text = (CLIENTS / page).read_text()
    folder.mkdir()
    (folder / page).write_text(text.replace("COLLECTOR", collector.url).replace("WRITE_KEY", KEY))
    bundled = node_modules / "node_modules/@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js"
    shutil.copy(bundled, folder / "rudder.js")
    with pages(folder) as site:
        command = ["node", "browser.cjs", chromium, f"{site}/{page}"]
        done = subprocess.run(
            command, cwd=node_modules, check=True, timeout=120, capture_output=True, text=True
        )
    found: list[str] = json.loads(done.stdout)
    return [line for line in found if "favicon" not in line and "404" not in line]


@pytest.mark.long
def test_analytics_js_in_a_browser(tmp_path: Path, node_modules: Path) -> None:
    bundle = node_modules / "node_modules/@segment/analytics-next/dist/umd/standalone.js"
    with running(make_project(tmp_path / "shop", analytics_js=str(bundle))) as collector:
        console = browse(node_modules, collector, "segment.html", tmp_path / "site")
        found = {
            "pages": collector.messages("pages", "properties ->> 'title'", "context -> 'page' ->> 'path'"),
            "tracks": collector.messages("tracks", "event_text", "properties ->> 'total'", "user_id"),
            "identifies": collector.messages("identifies", "user_id", "traits ->> 'plan'"),
            "groups": collector.messages("groups", "group_id", "traits ->> 'employees'"),
            "screens": collector.messages("screens", "name"),
            "aliases": collector.messages("aliases", "user_id is not null"),
            "people": collector.messages(
                "tracks", "anonymous_id = (select any_value(anonymous_id) from raw.pages)"
            ),
        }
    assert (console, found) == (
        [],
        {
            "pages": [("Shop", "/segment.html")],
            "tracks": [("Order Completed", "449.97", None)],
            "identifies": [("user_12345", "Enterprise")],
            "groups": [("company_789", "250")],
            "screens": [("Main",)],
            "aliases": [(True,)],
            "people": [(True,)],
        },
    )


@pytest.mark.long
def test_rudderstack_js_in_a_browser(tmp_path: Path, node_modules: Path) -> None:
    with running(make_project(tmp_path / "shop")) as collector:
        browse(node_modules, collector, "rudderstack.html", tmp_path / "site")
        found = {
            "pages": collector.messages("pages", "name"),
            "tracks": collector.messages("tracks", "event_text", "properties ->> 'total'"),
            "identifies": collector.messages("identifies", "user_id", "traits ->> 'plan'"),
            "groups": collector.messages("groups", "group_id", "traits ->> 'employees'"),
            "aliases": collector.messages("aliases", "user_id", "previous_id"),
        }
    assert found == {
        "pages": [("Home",)],
        "tracks": [("Order Completed", "449.97")],
        "identifies": [("user_12345", "Enterprise")],
        "groups": [("company_789", "250")],
        "aliases": [("user_1", "user_12345")],
    }
