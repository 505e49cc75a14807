"""What google_analytics keeps to itself, and what it is told by Google's validation."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revetl.delivery.connection_check import probed
from revetl.destinations import make_destination
from revetl.destinations.base.query_secret import QuerySecret
from revetl.destinations.google.analytics import GoogleAnalytics
from revetl.destinations.google.analytics_rules import event_name
from revetl.errors import DestinationRefused, UsageError
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder

SECRET = "sh/hh+secret"


def own(url: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "google_analytics",
        "measurement_id": "G-1",
        "api_secret": SECRET,
        "base_url": f"{url}/google_analytics",
        **more,
    }


def test_validation_is_asked(sandbox: SandboxClient) -> None:
    said = probed(make_destination(own(sandbox.url), "ga"))
    assert "answers 200. Google validated an event, but it doesn't check api_secret" in said
    with pytest.raises(DestinationRefused, match=r"\[no name\] is not a name of at most") as refused:
        probed(make_destination(own(sandbox.url, event_name="no name"), "ga"))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("both", [{}, {"measurement_id": "G-1", "firebase_app_id": "1:2:web:3"}])
def test_there_is_one_stream(both: dict[str, str]) -> None:
    config = {"type": "google_analytics", "api_secret": "S", **both}
    with pytest.raises(UsageError, match="measurement_id"):
        make_destination(config, "destinations.ga")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("measurement_id", "G-ABC1234567", None),
        ("measurement_id", "<GA4_ID>", None),
        ("firebase_app_id", "1:1234567890:android:321abc456def7890", None),
        ("firebase_app_id", "1:1234567890:ios:321abc456def7890", None),
        ("measurement_id", "UA-12345-1", "Universal Analytics, which was shut down.*such as G-ABC1234567"),
        ("measurement_id", "ua-12345-1", "Universal Analytics, which was shut down"),
        (
            "firebase_app_id",
            "UA-12345-1",
            "Universal Analytics, which was shut down.*such as 1:1234567890:android",
        ),
        ("measurement_id", "GTM-ABC", "a Google Tag Manager container.*such as G-ABC1234567"),
        ("measurement_id", "AW-123", "a Google Ads id"),
        ("measurement_id", "123456789", "'123456789' is not a measurement id.*for an app stream"),
        ("measurement_id", "g-abc", "'g-abc' is not a measurement id"),
        ("measurement_id", "1:12:ios:ab", "not a measurement id.*set firebase_app_id"),
        ("firebase_app_id", "G-ABC1234567", "a measurement id.*for a web stream, set measurement_id"),
        ("firebase_app_id", "com.example.app", "not a Firebase app id"),
    ],
)
def test_an_id_has_the_form_of_its_kind_of_stream(key: str, value: str, sentence: str | None) -> None:
    config = {"type": "google_analytics", "api_secret": "S", key: value}
    if sentence is None:
        assert getattr(make_destination(config, "destinations.ga"), key) == value
    else:
        with pytest.raises(UsageError, match=f"destinations.ga: {key}: .*{sentence}"):
            make_destination(config, "destinations.ga")


def test_validate_refuses_an_id_of_universal_analytics(
    project: ProjectFolder, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GA4_SECRET", raising=False)
    about = {"type": "google_analytics", "api_secret": "{{ env_var('GA4_SECRET') }}"}
    project.destinations({"ga": {**about, "measurement_id": "UA-12345-1"}})
    sync = {"to": "ga", "mode": "upsert", "identifiers": {"client_id": "user_id"}}
    project.audience("vips", "select 'u1' as user_id, 7 as score", {"key": "user_id", "sync": [sync]})
    done = cli(project, "validate")
    assert done.returncode == 2
    assert "measurement_id: 'UA-12345-1' is a tracking id of Universal Analytics, which was shut down" in (
        done.stdout + done.stderr
    )
    project.destinations({"ga": {**about, "measurement_id": "{{ env_var('GA4_ID') }}"}})
    assert cli(project, "validate", GA4_SECRET="s", GA4_ID="G-1").returncode == 0


def test_the_secret_is_in_no_request_that_is_shown(
    tmp_path: Path, sandbox: SandboxClient, caplog: pytest.LogCaptureFixture
) -> None:
    project = ProjectFolder(tmp_path / "shop", {"ga": own(sandbox.url)})
    rows = "select 'u1' as user_id, '1.2' as client_id, 7 as score"
    project.audience("vips", rows, {"key": "user_id", "sync": [{"to": "ga", "fields": {"score": "score"}}]})
    (plan,) = project.open().plan("vips")
    assert "measurement_id" in repr(plan.preview)
    assert "secret" not in repr(plan.preview)
    # The library's own logger, which others may have hushed.
    caplog.set_level(logging.INFO, logger="httpx")
    with caplog.at_level(logging.DEBUG):
        (run,) = project.open().sync("vips")
    assert run.status == "success"
    assert "mp/collect?measurement_id=G-1&api_secret=***" in caplog.text
    assert SECRET not in caplog.text
    assert "sh%2Fhh" not in caplog.text
    assert sandbox.members("google_analytics", "vips") == {"1.2": {"score": 7, "vips": True}}


def test_a_request_that_is_sent_again_has_it_once() -> None:
    request = httpx.Request("POST", "https://example.com/mp/collect?measurement_id=G-1")
    for _ in range(2):
        next(QuerySecret("api_secret", SECRET).auth_flow(request))
    assert str(request.url) == "https://example.com/mp/collect?measurement_id=G-1&api_secret=sh%2Fhh%2Bsecret"


@given(st.text())
def test_names_have_no_spaces(name: str) -> None:
    assert " " not in event_name(name)
    assert event_name(event_name(name)) == event_name(name)


def test_what_a_stream_is_known_by() -> None:
    app = make_destination(
        {"type": "google_analytics", "api_secret": "S", "firebase_app_id": "1:2:ios:3"}, "ga"
    )
    assert isinstance(app, GoogleAnalytics)
    assert [each.name for each in app.known_by] == ["app_instance_id", "user_id"]
