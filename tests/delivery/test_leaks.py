"""Secrets planted in every destination, and a vendor that echoes them: they are shown and kept nowhere."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from revetl.cli import cli
from revetl.config.jinja import RenderedValue
from revetl.destinations import destination_class, make_destination
from revetl.local.redaction import redact
from revetl.observability import logs
from revetl.sandbox.setups import setups
from revetl.sync.plan.plan import Plan
from tests.destinations.test_round_trip import people
from tests.helpers.project import ProjectFolder
from tests.helpers.raw import raw_server

ODD = 'pl4nt-"of\\Ada/&=+%?'
"""What JSON, URLs and Base64 each write otherwise."""
PATH = "p4th-t0ken-of-a-hook"
LONG = pytest.mark.long
FAST = {"webhook", "google_analytics", "mailchimp", "iterable"}
NAMES = [
    pytest.param(name, marks=() if name in FAST else LONG) for name in setups() if name not in ("file", "sql")
]
TABLES = ("sync_runs", "sync_rejections", "sync_changes", "sync_state", "sync_intents")


def forms(secret: str) -> list[str]:
    """How a vendor may echo a secret, and the end of a basic credential."""
    pair = base64.b64encode(f"user:{secret}".encode()).decode()
    return [secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret), pair]


def traces(secret: str) -> list[str]:
    """What gives a secret away: its forms, and a part of it of ten characters."""
    plain = forms(secret)
    return [*plain, secret[:10], secret[-10:], plain[4][8:20]]


def planted(project: ProjectFolder, name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Configure the destination, with every secret in the environment; gives the secrets."""
    setup = setups()[name]
    config = setup.destination("http://unused.example")
    base = f"{url}{PATH}{setup.path}"
    secrets = [PATH]
    config = {
        key: "{{ env_var('PLANTED_URL') }}" if "unused.example" in str(value) else value
        for key, value in config.items()
    }
    monkeypatch.setenv("PLANTED_URL", base)
    for number, key in enumerate(destination_class(setup.type, "").secret_names()):
        if isinstance(config.get(key), str):
            # A few keys have a form that is checked.
            plain = key in ("service_account_json", "private_key") or name.startswith(
                ("sendgrid", "census", "mailchimp")
            )
            secret = f"{config[key]}-pl4nted-{number}" if plain else f"{ODD}{number}-tail-of-it"
            monkeypatch.setenv(f"PLANTED_{number}", secret)
            config[key] = f"{{{{ env_var('PLANTED_{number}') }}}}"
            secrets.append(secret)
    project.destinations({"tool": {**config, "retries": 0, "max_in_flight": 1}})
    meta = {"key": "user_id", "sync": [{"to": "tool", **setup.sync}]}
    project.audience("vips", people(0, 3, "i"), meta)
    return secrets


@pytest.mark.parametrize("name", NAMES)
def test_planted_secrets_are_in_no_plan_log_error_table_or_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = ProjectFolder(tmp_path / "shop")
    on_disk: list[bytes] = []
    status, echoed = [500], [""]

    def script(connection: socket.socket, head: bytes) -> None:
        on_disk.extend(file.read_bytes() for file in project.root.rglob(".revetl/**/*") if file.is_file())
        # The excerpts of answers end at 300 and at 1,000 characters: in the middle of a secret.
        body = json.dumps(
            {"message": "x" * 260 + echoed[0] + "x" * 300 + echoed[0], "error": echoed[0]}
        ).encode()
        said = b"HTTP/1.1 %d Bad\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(said % (status[0], len(body)) + body)

    def revetl(*arguments: str) -> str:
        given = [*arguments, "--project-dir", str(project.root)]
        done = CliRunner().invoke(cli, given, standalone_mode=False)
        return done.output + done.stderr + str(done.exception or "")

    with raw_server(script) as server:
        secrets = planted(project, name, server.url, monkeypatch)
        echoed[0] = " ".join(form for secret in secrets for form in forms(secret))
        shown = [revetl("plan", "--all"), revetl("plan", "--all", "-o", "json"), revetl("validate")]
        for status[0] in (500, 400):
            shown.append(revetl("sync", "--all", "--log-format", "json", "--log-level", "debug"))
        shown += [revetl("rejections", "-o", "json"), revetl("history", "-o", "json")]
    logs.configure()
    requests = b"".join(server.requests)
    kept = [str(project.sql(f"select * from revetl.revetl.{table}")) for table in TABLES]
    haystack = "\n".join([*shown, *kept, *(data.decode("latin-1") for data in on_disk)])
    assert PATH.encode() in requests
    assert on_disk or "prepare" in name or "refused" in haystack
    found = [trace for secret in secrets for trace in traces(secret) if trace in haystack]
    assert found == [], haystack[max(haystack.index(found[0]) - 200, 0) :][:300]


def test_a_variable_of_any_name_is_secret_in_a_header_or_a_path_and_not_in_a_host() -> None:
    url = "https://eu-west-1x.example.com/in/T0051/B99xyz?n=12"
    config = {"type": "webhook", "url": url, "headers": {"X-Acme": "plain-header-5151"}}
    values = ("plain-header-5151", "T0051/B99xyz", "eu-west-1x", "12")
    made = make_destination(config, "tool").known_from(
        None, [RenderedValue(value, False) for value in values]
    )
    assert set(made.secrets()) == {"plain-header-5151", "T0051/B99xyz"}


def test_a_plan_shows_the_host_and_masks_what_is_not_written_in_revetl_yml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = ProjectFolder(tmp_path / "shop")
    monkeypatch.setenv("HOOK", "https://hooks.example/services/T0/B0/XyZ?token=abcdefgh&v=2")
    monkeypatch.setenv("ACCOUNT", "acct_77")
    project.destinations(
        {
            "hook": {"type": "webhook", "url": "{{ env_var('HOOK') }}"},
            "part": {
                "type": "webhook",
                "url": "https://api.example/v1/{{ env_var('ACCOUNT') }}/in?a={{ env_var('ACCOUNT') }}",
            },
            "literal": {"type": "webhook", "url": "https://api.example/v1/acct/in?a=b"},
            "unset": {"type": "webhook", "url": "{{ env_var('NOT_SET') }}"},
        }
    )
    names = ("hook", "part", "literal", "unset")
    project.audience(
        "vips", "select 'u1' as user_id", {"key": "user_id", "sync": [{"to": name} for name in names]}
    )
    urls = {plan.destination: _first(plan) for plan in project.open().plan("vips")}
    assert urls == {
        "hook": "https://hooks.example/***/***/***/***?token=***&v=***",
        "part": "https://api.example/v1/***/in?a=***",
        "literal": "https://api.example/v1/acct/in?a=b",
        "unset": "https://not_set.invalid",
    }


def _first(plan: Plan) -> str:
    assert plan.preview is not None
    return plan.preview.requests[0].url


def test_a_fault_of_our_own_shows_a_traceback_without_secrets_and_stops_no_other_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a bug would show: an exception with the whole address in it."""
    project = ProjectFolder(tmp_path / "shop")
    (project.root / "sitecustomize.py").write_text(
        "import httpx\n"
        "async def broken(self, request, **_):\n"
        "    raise RuntimeError(f'{request.method} {request.url} {request.headers.raw}')\n"
        "httpx.AsyncClient.send = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(project.root))
    monkeypatch.setenv("GA_SECRET", "s3cret-of-ga4")
    ga = {"type": "google_analytics", "measurement_id": "G-1", "api_secret": "{{ env_var('GA_SECRET') }}"}
    hook = {
        "type": "webhook",
        "url": "http://127.0.0.1:1/?api_secret=s3cret-of-ga4",
        "headers": {"Authorization": "s3cret-of-ga4"},
    }
    project.destinations({"ga": {**ga, "base_url": "http://127.0.0.1:1"}, "hook": hook})
    syncs = [{"to": "ga", "identifiers": {"client_id": "user_id"}}, {"to": "hook"}]
    project.audience("vips", "select 'u1' as user_id, 1 as score", {"key": "user_id", "sync": syncs})
    command = [sys.executable, "-m", "revetl", "sync", "--all", "--project-dir", str(project.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("RuntimeError: POST")) == (70, 2), done.stderr
    assert "s3cret" not in done.stderr + done.stdout


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc"]), min_size=8, max_size=40), _TEXT, _TEXT)
def test_a_secret_is_found_in_every_encoding_wherever_it_stands(secret: str, before: str, after: str) -> None:
    whole = before + secret + after
    texts = [
        whole,
        json.dumps(whole),
        orjson.dumps(whole).decode(),
        quote(whole),
        quote_plus(whole, safe=""),
        repr(secret),
        base64.b64encode(whole.encode()).decode(),
        base64.urlsafe_b64encode(whole.encode()).decode(),
    ]
    assert [text for text in texts if "***" not in redact(text, [secret])] == []
