"""Request bodies: the bytes decide, and no bytes make an unexpected error."""

from __future__ import annotations

import base64
import gzip
import json
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revetl.ingest.collector.bodies import (
    BadBody,
    BodyTooLarge,
    basic_user,
    decompressed,
    key_in_body,
    parse_json,
    read_pixel,
)

LIMIT = 10_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary(max_size=500))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        parse_json(decompressed(body, LIMIT))
    except (BadBody, BodyTooLarge):
        return
    assert parse_json(body) is not None or body.strip() == b"null"


@given(st.binary(max_size=200), st.integers(0, 30))
def test_gzip_that_is_cut_or_damaged_is_refused(content: bytes, place: int) -> None:
    whole = gzip.compress(content)
    assert decompressed(whole, LIMIT) == content
    for broken in (whole[: len(whole) - 1 - place % (len(whole) - 2)], whole[:8] + b"\xff" * 9 + whole[17:]):
        with pytest.raises(BadBody):
            decompressed(broken, LIMIT)


@given(JSON)
def test_json_is_read_compressed_or_not(value: Any) -> None:
    body = json.dumps(value).encode("utf-8", "surrogatepass")
    assert parse_json(decompressed(gzip.compress(body), 10**6)) == parse_json(body)


def test_a_body_above_the_limit_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip.compress(b"0" * 500_000_000, 1)
    started = time.monotonic()
    with pytest.raises(BodyTooLarge):
        decompressed(bomb[:5_000_000], 10**7)
    with pytest.raises(BodyTooLarge):
        decompressed(gzip.compress(b"x") * 20_000, 10_000)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": NaN, "b": -Infinity}', {"a": None, "b": None}),
        (b'{"a": "\\ud83d"}', {"a": "�"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\xff"}', {"a": "�"}),
        (b'{"a": "NaN"}', {"a": "NaN"}),
    ],
)
def test_what_sdks_write_in_the_place_of_json_is_read(body: bytes, value: Any) -> None:
    assert parse_json(body) == value


def test_no_text_takes_time_in_its_square() -> None:
    started = time.monotonic()
    for text in (b'"\\' * 250_000, b'\\"' * 250_000, b"[" * 500_000, b'{"a":' * 100_000, b"9" * 500_000):
        try:
            parse_json(b"NaN" + text)
        except BadBody:
            continue
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            f"data={quote(base64.b64encode(json.dumps({'event': 'Öpen', 'writeKey': 'k'}).encode()))}",
            {"event": "Öpen", "writeKey": "k"},
        ),
        (
            "data=" + base64.urlsafe_b64encode(b'{"a":"?>?>"}').decode().rstrip("="),
            {"a": "?>?>"},
        ),
        (
            "writeKey=k&userId=u1&event=Email+Opened&properties.subject=Hi%20there&properties.a.b=1",
            {
                "writeKey": "k",
                "userId": "u1",
                "event": "Email Opened",
                "properties": {"subject": "Hi there", "a": {"b": "1"}},
            },
        ),
        ("a=1&a.b=2", {"a": "1"}),
    ],
)
def test_a_pixel_has_its_message_in_the_query(query: str, message: dict[str, Any]) -> None:
    assert read_pixel(query) == message


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=300))
def test_any_query_is_read_or_refused(query: str) -> None:
    try:
        assert isinstance(read_pixel(query), dict)
    except BadBody as refused:
        assert str(refused)


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (f"Basic {base64.b64encode(b'key:').decode()}", "key"),
        (f"Basic {base64.b64encode(b'key').decode()}", "key"),
        (f"basic {base64.b64encode(b'key:password').decode().rstrip('=')}", "key"),
        ("Bearer key", "key"),
        ("Basic", None),
        ("Basic !!!", None),
        ("Digest key", None),
        ("", None),
        (f"Basic {base64.b64encode(bytes([255, 254])).decode()}", None),
    ],
)
def test_the_write_key_of_a_header(header: str, key: str | None) -> None:
    assert basic_user(header) == key


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"writeKey": "k"}, "k"),
        ({"batch": [{"writeKey": "k"}]}, "k"),
        ({"batch": []}, None),
        ({"batch": [5]}, None),
        ({"writeKey": 5}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_write_key_of_a_body(body: Any, key: str | None) -> None:
    assert key_in_body(body) == key
