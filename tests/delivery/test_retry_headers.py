"""What a response says of when to send more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from revetl.destinations.base.retry_headers import quota_wait, retry_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATE = {"Date": format_datetime(NOW, usegmt=True)}
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "9"}, None),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9"}, 9),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "6m0s"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(EPOCH + 7)}, 7),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(EPOCH * 1000 + 7500)}, 7.5),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(EPOCH - 7)}, None),
        ({"x-rate-limit-remaining": "0", "x-rate-limit-reset": "9"}, 9),
        ({"RateLimit-Limit": "10", "RateLimit-Remaining": "0", "RateLimit-Reset": "9"}, 9),
        ({"RateLimit": "limit=10, remaining=0, reset=9"}, 9),
        ({"RateLimit": "limit=10, remaining=10, reset=9"}, None),
        ({"RateLimit": '"a";r=0;t=9'}, 9),
        ({"RateLimit": '"a";r=10;t=9'}, None),
        ({"RateLimit": '"a";r=5;t=1, "b";r=0;t=9', "RateLimit-Policy": '"b";q=10;w=60'}, 9),
        ({"X-RateLimit-Remaining": "nan", "X-RateLimit-Reset": "inf"}, None),
    ],
)
def test_what_the_headers_of_a_quota_say(headers: dict[str, str], seconds: float | None) -> None:
    assert quota_wait(httpx.Headers({**DATE, **headers})) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2),
        ("0.5", 0.5),
        ("-1", 0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0),
        ("soon", None),
        ("inf", None),
    ],
)
def test_what_retry_after_says(value: str, seconds: float | None) -> None:
    assert retry_after(httpx.Headers({**DATE, "Retry-After": value})) == seconds
