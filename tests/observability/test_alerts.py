"""`alerts:` in revetl.yml, and messages that go out over real HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from revetl.config.base import check
from revetl.config.models import AlertConfig, RevetlConfig, read_revetl_yml
from revetl.errors import UsageError
from revetl.observability.alerts import Alerts, check_alerts
from tests.observability.support import FEW, GUARD, MANY, OK, REFUSED, FakeRun, Receiver, receiving

SYNC = "high_churn.crm"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def alert(**entry: Any) -> AlertConfig:
    return check(AlertConfig, entry, "alerts.0")


def tell(config: AlertConfig, *story: tuple[list[FakeRun], FakeRun]) -> list[str]:
    """Tell of runs; gives what was said to a person."""
    said: list[str] = []
    with Alerts([config], [SYNC], said.append) as alerts:
        for past, run in story:
            alerts.tell(past, run)
    return [line for line in said if "is written in a file" not in line]


def test_the_entry_of_the_docs(tmp_path: Path) -> None:
    (tmp_path / "revetl.yml").write_text(
        "alerts:\n"
        "  - to: \"{{ env_var('ALERT_URL') }}\"\n"
        "    on: [failed, recovered]\n"
        "    rejection_rate: 5%\n"
        "    syncs: [high_churn.*]\n"
    )
    assert read_revetl_yml(tmp_path).alerts == (
        AlertConfig(
            to=("{{ env_var('ALERT_URL') }}",),
            on=("failed", "recovered"),
            rejection_rate=0.05,
            syncs=("high_churn.*",),
        ),
    )


def test_defaults() -> None:
    config = alert(to="json://x")
    assert (config.on, config.rejection_rate, config.syncs) == (
        ("failed", "guard", "rejection_rate", "recovered"),
        0.05,
        ("*",),
    )


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        pytest.param({}, "revetl.yml: alerts.0.to is missing. Add it.", id="no address"),
        pytest.param(
            {"to": "json://x", "on": ["fail"]},
            "revetl.yml: alerts.0.on.0: 'fail' is not known. Did you mean 'failed'?",
            id="a word that is none",
        ),
        pytest.param(
            {"to": "json://x", "sync": "x"},
            "revetl.yml: alerts.0.sync: there is no key 'sync' here. Did you mean 'syncs'?",
            id="a key that is none",
        ),
        pytest.param(
            {"to": "json://x", "rejection_rate": "few"},
            "revetl.yml: alerts.0.rejection_rate: 'few' is no share; write 10% or 0.1.",
            id="a share that is none",
        ),
    ],
)
def test_a_wrong_entry(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        check(RevetlConfig, {"alerts": [entry]}, "revetl.yml")
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        pytest.param(
            "{{ env_var('NO_SUCH_URL') }}",
            "revetl.yml: alerts.0.to: environment variable NO_SUCH_URL is not set. Export it, or write "
            "env_var('NAME', '') to go without alerts where it is not set.",
            id="a variable that is not set",
        ),
        pytest.param(
            "slakc://secret1/secret2",
            "revetl.yml: alerts.0.to: apprise does not understand this slakc:// address. Write one of its "
            "URLs, such as slack://TOKEN_A/TOKEN_B/TOKEN_C, or the https:// URL of a webhook.",
            id="a tool that apprise does not know, and its secrets unsaid",
        ),
        pytest.param(
            ["json://x", "secret words"],
            "revetl.yml: alerts.0.to.1: apprise does not understand what is written there. Write one of its "
            "URLs, such as slack://TOKEN_A/TOKEN_B/TOKEN_C, or the https:// URL of a webhook.",
            id="no address at all",
        ),
        pytest.param(
            "https://hooks.test:seventy/x",
            "revetl.yml: alerts.0.to: apprise does not understand this https:// address. Write one of its "
            "URLs, such as slack://TOKEN_A/TOKEN_B/TOKEN_C, or the https:// URL of a webhook.",
            id="a port that is none",
        ),
    ],
)
def test_a_wrong_address(to: object, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        Alerts([alert(to=to)], [SYNC], lambda _: None)
    assert str(error.value) == sentence


def test_check_names_a_pattern_that_matches_nothing_and_minds_no_unset_variable() -> None:
    check_alerts([alert(to="{{ env_var('NO_SUCH_URL') }}", syncs="high_*")], [SYNC])
    with pytest.raises(UsageError) as error:
        check_alerts([alert(to="json://x", syncs="high_chrun.*")], [SYNC])
    assert str(error.value) == (
        "revetl.yml: alerts.0.syncs: no sync matches 'high_chrun.*'. Did you mean 'high_churn.crm'?"
    )


def test_without_apprise_the_command_is_said() -> None:
    code = (
        "import sys, importlib.util as util; find = util.find_spec\n"
        "import revetl.observability.notify as notify\n"
        "assert 'apprise' not in sys.modules and 'opentelemetry' not in sys.modules\n"
        "notify.find_spec = lambda name: None if name == 'apprise' else find(name)\n"
        "from revetl.observability.alerts import Alerts\n"
        "from revetl.config.models import AlertConfig\n"
        "Alerts([AlertConfig(to='json://x', syncs=('other.*',))], ['a.b'], print)\n"
        "try: Alerts([AlertConfig(to='json://x')], ['a.b'], print)\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "revetl.yml: alerts.0.to: alerts need apprise. Run: pip install 'revetl[alerts]'\n"


def test_a_plain_url_gets_json_at_its_own_path(receiver: Receiver) -> None:
    url = receiver.url.replace("://", "://ann:p%40ss@") + "/Hooks/a%2Fb?Token=x%20y&Token=z"
    assert tell(alert(to=url), ([OK], REFUSED)) == []
    (request,) = receiver.requests
    payload = json.loads(request.body)
    assert request.path == "/Hooks/a%2Fb?Token=x%20y&Token=z"
    assert request.headers["authorization"] == "Basic YW5uOnBAc3M="
    assert (payload["title"], payload["type"]) == ("revetl: high_churn.crm failed", "failure")
    assert payload["message"].splitlines()[:2] == ["It was ok before.", "crm refused us: 401."]


def test_slack_gets_its_own_form(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"{receiver.url}/services")
    url = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"
    assert tell(alert(to=url), ([OK], replace(REFUSED, error="It said <b> & no."))) == []
    (request,) = receiver.requests
    (attachment,) = json.loads(request.body)["attachments"]
    assert request.path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"
    assert attachment["title"] == "revetl: high_churn.crm failed"
    assert attachment["text"].splitlines()[1] == "It said &lt;b&gt; &amp; no."


@pytest.mark.parametrize(
    ("entry", "titles"),
    [
        pytest.param({}, ["failed", "has recovered", "was stopped by the guard empty"], id="all"),
        pytest.param({"on": ["guard"]}, ["was stopped by the guard empty"], id="one kind"),
        pytest.param({"syncs": ["high_churn.*"], "on": "failed"}, ["failed"], id="a pattern that matches"),
        pytest.param({"syncs": ["low_*"]}, [], id="a pattern that does not"),
    ],
)
def test_who_is_told_what(receiver: Receiver, entry: dict[str, Any], titles: list[str]) -> None:
    story = (([OK], REFUSED), ([REFUSED, OK], REFUSED), ([REFUSED], OK), ([OK], GUARD))
    tell(alert(to=receiver.url, **entry), *story)
    sent = [json.loads(request.body)["title"] for request in receiver.requests]
    assert sent == [f"revetl: high_churn.crm {title}" for title in titles]


def test_each_entry_has_its_own_rate(receiver: Receiver) -> None:
    strict = alert(to=f"{receiver.url}/strict", rejection_rate="1%")
    loose = alert(to=f"{receiver.url}/loose", rejection_rate="50%")
    with Alerts([strict, loose], [SYNC], lambda _: None) as alerts:
        alerts.tell([OK], FEW)
        alerts.tell([FEW], MANY)
    assert [request.path for request in receiver.requests] == ["/strict"]


def test_an_empty_address_is_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_URL", raising=False)
    with Alerts([alert(to="{{ env_var('ALERT_URL', '') }}")], [SYNC], print) as alerts:
        assert not alerts.watches(SYNC)


def test_an_address_in_a_file_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("ALERT_URL", "json://localhost/secret")
    Alerts([alert(to=["{{ env_var('ALERT_URL') }}", "json://localhost/secret"])], [SYNC], said.append)
    assert said == [
        "Warning: revetl.yml: alerts.0.to.1 is written in a file, and whoever has it can write there. "
        "Write \"{{ env_var('NAME') }}\" and export it."
    ]


def test_a_refused_alert_is_said_without_its_secrets(receiver: Receiver) -> None:
    receiver.status = 404
    said = tell(alert(to=f"{receiver.url}/hook/s3cr3t-t0ken"), ([OK], REFUSED), ([REFUSED], OK))
    assert said == [
        "Warning: revetl.yml: alerts.0.to: 2 alerts were not sent to JSON: Failed to send JSON POST "
        "notification: Page not found., error=404."
    ]
    assert len(receiver.requests) == 1


def test_an_address_that_does_not_answer_costs_a_few_seconds(receiver: Receiver) -> None:
    receiver.delay = 30
    started = time.monotonic()
    with Alerts([alert(to=f"{receiver.url}/s3cr3t-t0ken")], [SYNC], lambda _: None) as alerts:
        alerts.tell([OK], REFUSED)
        told = time.monotonic() - started
    assert told < 1 < time.monotonic() - started < 6


def test_its_secrets_are_known_to_logs() -> None:
    with Alerts(
        [alert(to="https://ann:pass%20word@hooks.test/T0K3N1?key=abcdefg")], [SYNC], lambda _: None
    ) as it:
        secrets = it.secrets()
    assert {"pass%20word", "pass word", "T0K3N1", "abcdefg"} <= set(secrets)
    assert "hooks.test" not in secrets
