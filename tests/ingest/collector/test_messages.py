"""Messages as they are stored: validation as loading has it, times, addresses, limits and PII rules."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from revetl.config.collector import CollectorConfig
from revetl.governance.pii import Hider
from revetl.governance.transformations import PiiRule
from revetl.ingest import readers
from revetl.ingest.collector.addresses import client_address, networks, stored_address
from revetl.ingest.collector.clocks import iso, message_times, parse_time
from revetl.ingest.collector.messages import (
    MessagePreparer,
    NoMessages,
    ReceivedMessages,
    Reception,
    invalid_reason,
    messages_of,
)
from tests.ingest.collector.running import at, track

NOW = at("2026-12-01T12:00:00")
PARSER = duckdb.connect()
PARSER.execute("set timezone = 'UTC'; set threads = 1")


def prepare(*messages: Any, hider: Hider | None = None, **given: Any) -> ReceivedMessages:
    """The messages as they are stored."""
    limits = {name: given.pop(name) for name in [*given] if name.startswith("max_")}
    reception = Reception(**{"source": "web", "received_at": NOW, **given})
    return MessagePreparer(CollectorConfig(**limits), hider).prepare(list(messages), reception)


# Validation

TEXTS = st.sampled_from(["", " ", "u1", "track", "Order", "\u00a0", "é", "\x00", " padded "])
TIMES = st.sampled_from(
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02",
        "2026-01-02 03:04:05.123456789 +02:00",
        "2026-01-02T03:04:05+02",
        "2026-01-02T03:04:05+0230",
        "2026-02-30",
        "2026-01-02T25:00:00Z",
        "2026-01-02T03:04",
        "2026-01-02T03:04:05z",
        " 2026-01-02 ",
        "2026-01-02\n",
        "yesterday",
        "",
        "1700000000",
        "2026-01-02T24:00:00Z",
        "0000-01-01",
        "0001-01-01",
        "9999-12-31T23:59:59-05:00",
    ]
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXTS)
VALUES = st.one_of(LEAVES, st.lists(LEAVES, max_size=2), st.dictionaries(TEXTS, LEAVES, max_size=2))
OBJECTS: st.SearchStrategy[Any] = st.one_of(st.just({}), st.just([]), VALUES)
KINDS = st.sampled_from(["track", "identify", "page", "screen", "group", "alias", "Track", "video", ""])
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.one_of(KINDS, KINDS, VALUES),
        "messageId": VALUES,
        "userId": VALUES,
        "anonymousId": VALUES,
        "event": VALUES,
        "groupId": VALUES,
        "previousId": VALUES,
        "timestamp": st.one_of(TIMES, VALUES),
        "originalTimestamp": TIMES,
        "properties": OBJECTS,
        "traits": OBJECTS,
        "context": OBJECTS,
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(MESSAGES, min_size=1, max_size=20))
@example([track(timestamp="2026-01-02T24:00:00Z")])
@example([track(userId=[]), track(userId={}), track(userId=False), track(userId=0)])
def test_a_message_is_invalid_for_the_reason_that_loading_gives(
    tmp_path_factory: pytest.TempPathFactory, messages: list[dict[str, Any]]
) -> None:
    file = tmp_path_factory.mktemp("lines") / "events.ndjson"
    file.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in messages))
    readers.read_ndjson(PARSER, file)
    query = "select line_number, reason from parsed_messages where reason is not null order by 1"
    loaded = dict(PARSER.execute(query).fetchall())
    found = {
        number: reason
        for number, message in enumerate(messages, 1)
        if (reason := invalid_reason(message)) is not None
    }
    assert found == loaded


def test_one_bad_message_rejects_no_other() -> None:
    made = prepare(track(), {"type": "track"}, None, [], "x", track(event=...), track(messageId="m9"))
    assert [each["messageId"] for each in made.accepted][1:] == ["m9"]
    assert [(each.index, each.reason) for each in made.rejected] == [
        (1, "neither userId nor anonymousId is there"),
        (2, "the message is not a JSON object"),
        (3, "the message is not a JSON object"),
        (4, "the message is not a JSON object"),
        (5, "a track message needs an event"),
    ]


def test_what_is_stored_has_an_id_and_no_write_key() -> None:
    made = prepare(track(writeKey="secret", _metadata={"a": 1}), track(writeKey="secret", event=...))
    (line,), (rejected,) = made.lines, made.rejected
    assert b"secret" not in line
    assert b"_metadata" not in line
    assert "secret" not in (rejected.text or "")
    assert len(made.accepted[0]["messageId"]) == 36


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (track(properties={"a": "x" * 2_000}), "the event is 2,078 bytes long; the limit is 1,024"),
        (
            track(properties=json.loads('{"a":' * 12 + "1" + "}" * 12)),
            "the event is nested more than 8 levels deep",
        ),
        (
            track(properties={f"p{number}": 1 for number in range(30)}),
            "the event has 34 properties; the limit is 20",
        ),
    ],
    ids=["size", "depth", "properties"],
)
def test_an_event_above_a_limit_is_rejected_alone(message: dict[str, Any], reason: str) -> None:
    made = prepare(track(), message, max_event_kb=1, max_depth=8, max_properties=20)
    assert (len(made.accepted), [each.reason for each in made.rejected]) == (1, [reason])


def test_braces_in_texts_are_no_nesting() -> None:
    made = prepare(track(properties={"a": "{[" * 30, "b": "::" * 30}), max_depth=4, max_properties=10)
    assert len(made.accepted) == 1


# Batches


def test_context_and_integrations_of_a_batch_are_merged_into_its_messages() -> None:
    batch = {
        "context": {"ip": "192.0.2.1", "locale": "en"},
        "integrations": {"All": False, "Braze": True},
        "sentAt": "2026-12-01T11:00:00Z",
        "batch": [
            track(context={"locale": "fr"}, integrations={"All": True}),
            track(sentAt="2026-12-01T10:00:00Z"),
        ],
    }
    first, second = messages_of(batch, None)
    assert (first["context"], first["integrations"]) == (
        {"ip": "192.0.2.1", "locale": "fr"},
        {"All": True, "Braze": True},
    )
    assert (second["context"]["locale"], second["sentAt"]) == ("en", "2026-12-01T10:00:00Z")
    assert first["sentAt"] == "2026-12-01T11:00:00Z"


@pytest.mark.parametrize("body", [5, "x", None, {}, {"batch": 5}, {"batch": {}}])
def test_a_body_that_cannot_have_messages_is_refused(body: Any) -> None:
    with pytest.raises(NoMessages):
        messages_of(body, None)


# Times

TIMES_OF = {
    "a clock that is right": (
        {"timestamp": "2026-12-01T11:59:50Z", "sentAt": "2026-12-01T11:59:59Z"},
        "2026-12-01T11:59:50.000000Z",
    ),
    "a clock that is an hour slow": (
        {"timestamp": "2026-12-01T10:59:50Z", "sentAt": "2026-12-01T11:00:00Z"},
        "2026-12-01T11:59:50.000000Z",
    ),
    "a clock that is a day fast": (
        {"timestamp": "2026-12-02T11:59:00Z", "sentAt": "2026-12-02T12:00:00Z"},
        "2026-12-01T11:59:00.000000Z",
    ),
    "RudderStack's browser SDK": (
        {"originalTimestamp": "2026-12-01T10:59:50Z", "sentAt": "2026-12-01T11:00:00Z"},
        "2026-12-01T11:59:50.000000Z",
    ),
    "a caller's time beside the client's": (
        {
            "timestamp": "2024-05-06T07:08:09Z",
            "originalTimestamp": "2026-12-01T10:59:50Z",
            "sentAt": "2026-12-01T11:00:00Z",
        },
        "2024-05-06T07:08:09.000000Z",
    ),
    "a backfill from a clock that is right": (
        {"timestamp": "2024-05-06T07:08:09.123456Z", "sentAt": "2026-12-01T11:59:58Z"},
        "2024-05-06T07:08:09.123456Z",
    ),
    "no sentAt": ({"timestamp": "2026-12-01T03:00:00Z"}, "2026-12-01T03:00:00.000000Z"),
    "no time": ({"sentAt": "2026-12-01T11:00:00Z"}, "2026-12-01T12:00:00.000000Z"),
    "an unreadable sentAt": (
        {"timestamp": "2026-12-01T03:00:00Z", "sentAt": "soon"},
        "2026-12-01T03:00:00.000000Z",
    ),
}


@pytest.mark.parametrize(("times", "expected"), TIMES_OF.values(), ids=TIMES_OF.keys())
def test_a_timestamp_is_corrected_for_the_clock_but_not_the_callers(
    times: dict[str, str], expected: str
) -> None:
    (made,) = prepare(track(**times)).accepted
    assert (made["timestamp"], made["receivedAt"]) == (expected, "2026-12-01T12:00:00.000000Z")


def test_imported_messages_keep_their_timestamps() -> None:
    times = {"timestamp": "2026-11-01T00:00:00Z", "sentAt": "2026-12-01T11:00:00Z"}
    (made,) = prepare(track(**times), is_import=True).accepted
    assert made["timestamp"] == "2026-11-01T00:00:00.000000Z"


def test_an_event_ahead_of_its_arrival_is_kept_flagged_and_counted() -> None:
    sent = {"sentAt": "2026-12-01T12:00:00Z"}
    made = prepare(
        track(timestamp="2026-12-01T14:00:01Z", **sent),
        track(timestamp="2026-12-01T12:31:00Z", **sent),
        track(timestamp="2026-12-01T12:00:30Z", **sent),
    )
    assert [each.get("context", {}).get("aheadSeconds") for each in made.accepted] == [7_201, 1_860, None]
    assert made.noticed == {"ahead": 2, "ahead_whole_hours": 1}


@given(st.datetimes(min_value=at("1900-01-01T00:00:00").replace(tzinfo=None)), st.integers(-840, 840))
def test_times_are_parsed_as_loading_parses_them(moment: Any, minutes: int) -> None:
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + zone
    ((loaded,),) = PARSER.execute(
        "select strftime(cast($text as timestamptz) at time zone 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')",
        {"text": text},
    ).fetchall()
    found = parse_time(text)
    assert found is None or iso(found) == loaded


@given(
    st.datetimes(
        min_value=at("2000-01-01T00:00:00").replace(tzinfo=None), max_value=NOW.replace(tzinfo=None)
    ),
    st.timedeltas(timedelta(days=-400), timedelta(days=400)),
)
def test_whatever_the_clock_says_the_time_since_the_event_is_right(moment: Any, error: timedelta) -> None:
    happened = moment.replace(tzinfo=NOW.tzinfo)
    message = {"timestamp": iso(happened + error), "sentAt": iso(NOW + error)}
    found = parse_time(message_times(message, parse_time(message["sentAt"]), NOW).timestamp)
    assert found is not None
    assert abs(found - happened) < timedelta(seconds=5)


# People and addresses


def test_an_event_without_an_id_gets_the_one_of_the_header_or_the_cookie() -> None:
    bare = track(userId=...)
    assert [
        prepare(bare, anonymous_id="of-header", cookie_id="of-cookie").accepted[0]["anonymousId"],
        prepare(bare, cookie_id="of-cookie").accepted[0]["anonymousId"],
        prepare(track(anonymousId="own"), cookie_id="of-cookie").accepted[0]["context"],
    ] == ["of-header", "of-cookie", {"cookieId": "of-cookie"}]


def test_an_alias_of_somebody_to_themselves_is_counted() -> None:
    made = prepare({"type": "alias", "userId": "u1", "previousId": "u1"})
    assert (len(made.accepted), made.noticed["alias_to_itself"]) == (1, 1)


@pytest.mark.parametrize(
    ("context", "policy", "expected"),
    [
        ({}, "keep", None),
        ({"direct": True}, "keep", "192.0.2.77"),
        ({"direct": True, "ip": "198.51.100.9"}, "keep", "198.51.100.9"),
        ({"direct": True}, "truncate", "192.0.2.0"),
        ({"ip": "2001:db8:1:2:3::4"}, "truncate", "2001:db8:1::"),
        ({"ip": "not an address"}, "truncate", None),
        ({"direct": True}, "drop", None),
        ({"ip": "198.51.100.9"}, "drop", None),
    ],
)
def test_the_address_is_the_requests_where_it_is_direct_and_stored_by_policy(
    context: dict[str, Any], policy: Any, expected: str | None
) -> None:
    (made,) = prepare(track(context=context), address="192.0.2.77", ip_policy=policy).accepted
    assert made.get("context", {}).get("ip") == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.5", ["192.0.2.1"], "203.0.113.5"),
        ("10.0.0.2", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.2", ["6.6.6.6, 192.0.2.1, 10.0.0.9"], "192.0.2.1"),
        ("10.0.0.2", ["6.6.6.6", "192.0.2.1:4711"], "192.0.2.1"),
        ("10.0.0.2", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.2", ["unknown"], "10.0.0.2"),
        ("10.0.0.2", [], "10.0.0.2"),
        ("::ffff:10.0.0.2", ["192.0.2.1"], "192.0.2.1"),
        (None, ["192.0.2.1"], None),
    ],
)
def test_only_trusted_proxies_say_where_a_request_comes_from(
    peer: str | None, forwarded: list[str], expected: str | None
) -> None:
    assert client_address(peer, forwarded, networks(["10.0.0.0/8"])) == expected


@given(st.one_of(st.text(max_size=60), st.integers(), st.none()))
def test_any_value_is_dropped_or_truncated(value: Any) -> None:
    assert stored_address(value, "drop") is None
    assert stored_address(value, "truncate") != value or value is None or str(value).endswith((".0", ":"))


# PII


def test_pii_rules_apply_before_anything_is_stored() -> None:
    rules = (
        PiiRule(match="email", action="hash"),
        PiiRule(match="ssn", action="drop"),
        PiiRule(match="userId", action="mask"),
    )
    made = prepare(
        track(userId="jane@example.com", properties={"email": "jane@example.com", "ssn": "078-05-1120"}),
        track(context={"traits": {"email": "jane@example.com"}}),
        track(event=..., properties={"email": "jane@example.com"}),
        hider=Hider(rules, "salt"),
    )
    stored = b"\n".join(made.lines)
    assert b"jane@" not in stored
    assert b"078-05" not in stored
    assert made.accepted[0]["userId"] == "j***@example.com"
    assert [each.text for each in made.rejected] == [None]


def test_hidden_values_are_those_of_loading(tmp_path: Path) -> None:
    from revetl.ingest.load import load_files

    hider = Hider((PiiRule(match="email", action="hash"), PiiRule(match="userId", action="hash")), "salt")
    message = track(
        messageId="m1",
        timestamp="2026-01-01T00:00:00Z",
        properties={"email": ["A@x", 5, 1.50, {"b": True}], "other": None},
    )
    (line,) = prepare(message, hider=hider).lines
    (tmp_path / "sent.ndjson").write_text(json.dumps(message))
    (tmp_path / "stored.ndjson").write_bytes(line)
    found = []
    for name, hiding in (("sent", hider), ("stored", None)):
        with duckdb.connect() as connection:
            load_files(connection, [tmp_path / f"{name}.ndjson"], hider=hiding)
            found.append(connection.execute("select user_id, properties from raw.tracks").fetchall())
    assert found[0] == found[1]
