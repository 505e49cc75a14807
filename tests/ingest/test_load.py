"""Loading: every line of every file is loaded, was loaded before, or is stored with a reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from revetl.errors import UsageError
from revetl.ingest.load import LoadResult, load_files
from revetl.local.paths import examples_dir

COMMON = "id, user_id, anonymous_id, context, timestamp::varchar, received_at::varchar"


class Landing:
    """A database and a folder to land files from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection = duckdb.connect()

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def load(self, *files: Path) -> LoadResult:
        return load_files(self.connection, files)

    def lines(self, *lines: bytes | str | dict[str, Any]) -> LoadResult:
        raw = [
            line
            if isinstance(line, bytes)
            else (line if isinstance(line, str) else json.dumps(line)).encode()
            for line in lines
        ]
        return self.load(self.file("events.ndjson", b"\n".join(raw) + b"\n"))

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query).fetchall()


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def track(**fields: Any) -> dict[str, Any]:
    message = {
        "type": "track",
        "messageId": "m1",
        "userId": "u1",
        "event": "Order Completed",
        "timestamp": "2026-01-02T03:04:05Z",
        "receivedAt": "2026-01-02T03:04:06Z",
    }
    return {name: value for name, value in {**message, **fields}.items() if value is not ...}


def test_all_six_types_are_loaded_into_their_tables(landing: Landing) -> None:
    common = {
        "userId": "u1",
        "anonymousId": "a1",
        "timestamp": "2026-01-02T03:04:05.5+02:00",
        "context": {"ip": "::1"},
    }
    received = {"receivedAt": "2026-01-02T01:04:07Z", "sentAt": "2026-01-02T01:04:06Z"}
    own: list[dict[str, Any]] = [
        {"type": "track", "event": "Order Completed", "properties": {"total": 9.5}},
        {"type": "identify", "traits": {"email": "a@x"}},
        {"type": "page", "name": "Home", "category": "Site", "properties": {"path": "/"}},
        {"type": "screen", "name": "Main", "properties": {"n": 1}},
        {"type": "group", "groupId": "g1", "traits": {"plan": "pro"}},
        {"type": "alias", "previousId": "old"},
    ]
    messages = [{**common, **received, "messageId": f"m{i}", **message} for i, message in enumerate(own)]
    loaded = landing.lines(*messages)
    assert (loaded.landed, loaded.rejected) == (6, 0)
    shared = ("u1", "a1", '{"ip":"::1"}', "2026-01-02 01:04:05.5", "2026-01-02 01:04:07")
    tables = {
        "tracks": ("event, event_text, properties", ("order_completed", "Order Completed", '{"total":9.5}')),
        "identifies": ("traits", ('{"email":"a@x"}',)),
        "pages": ("name, category, properties", ("Home", "Site", '{"path":"/"}')),
        "screens": ("name, category, properties", ("Main", None, '{"n":1}')),
        "groups": ("group_id, traits", ("g1", '{"plan":"pro"}')),
        "aliases": ("previous_id", ("old",)),
    }
    for index, (table, (columns, values)) in enumerate(tables.items()):
        assert landing.ask(f"select {COMMON}, {columns} from raw.{table}") == [
            (f"m{index}", *shared, *values)
        ]


REJECTIONS: dict[str, tuple[bytes | str | dict[str, Any], str]] = {
    "not JSON": ('{"type": "track", ', "the line is not JSON"),
    "cut off": ('{"type":"track","userId":"u', "the line is not JSON"),
    "an array": ('[{"type": "track"}]', "the line is not a JSON object but array"),
    "a number": ("5", "the line is not a JSON object but ubigint"),
    "two objects": ('{"type":"track"}{"type":"track"}', "the line is not JSON"),
    "not UTF-8": (b'{"type":"track","userId":"\xff\xfe"}', "the line is not UTF-8"),
    "no type": (
        track(type=...),
        "type is missing; expected one of track, identify, page, screen, group, alias",
    ),
    "an unknown type": (
        track(type="trakc"),
        "type 'trakc' is not known; expected one of track, identify, page, screen, group, alias",
    ),
    "nobody": (track(userId=...), "neither userId nor anonymousId is there"),
    "blank ids": (track(userId="  ", anonymousId=""), "neither userId nor anonymousId is there"),
    "a bad timestamp": (track(timestamp="yesterday"), "timestamp 'yesterday' is not an ISO 8601 time"),
    "a month 13": (
        track(timestamp="2026-13-01T00:00:00Z"),
        "timestamp '2026-13-01T00:00:00Z' is not an ISO 8601 time",
    ),
    "an epoch": (track(timestamp=1767322800), "timestamp '1767322800' is not an ISO 8601 time"),
    "a bad sentAt": (track(sentAt="infinity"), "sentAt 'infinity' is not an ISO 8601 time"),
    "no event": (track(event=...), "a track message needs an event"),
    "no group": ({"type": "group", "userId": "u1"}, "a group message needs a groupId"),
    "no previous id": ({"type": "alias", "userId": "u1"}, "an alias message needs a previousId"),
    "properties a list": (track(properties=[1]), "properties is not an object but array"),
    "context a text": (track(context="web"), "context is not an object but varchar"),
}


@pytest.mark.parametrize(("line", "reason"), REJECTIONS.values(), ids=REJECTIONS.keys())
def test_rejected(landing: Landing, line: bytes | str | dict[str, Any], reason: str) -> None:
    text = line if isinstance(line, str) else json.dumps(line) if isinstance(line, dict) else None
    loaded = landing.lines(track(), "", line, track(messageId="m2"))
    assert (loaded.landed, loaded.rejected, loaded.files[0].rejected) == (2, 1, {reason: 1})
    rows = landing.ask("select file, line_number, reason, text from raw.rejected_messages")
    file = str(landing.folder / "events.ndjson")
    assert rows == [(file, 3, reason, '{"type":"track","userId":"??"}' if text is None else text)]


def test_line_numbers_after_lines_that_could_not_be_read(landing: Landing) -> None:
    landing.lines(b"\xff", track(), "{", b"\xff\xff", "", "[]", track(messageId="m2"), "{")
    rows = landing.ask("select line_number, reason from raw.rejected_messages order by 1")
    assert [number for number, _ in rows] == [1, 3, 4, 6, 8]


def test_loading_twice_changes_nothing(landing: Landing) -> None:
    lines = (track(), track(messageId=...), "{", track(type="x"))
    first = landing.lines(*lines)
    before = landing.ask("from raw.tracks order by id"), landing.ask("from raw.rejected_messages order by 2")
    second = landing.lines(*lines)
    assert (first.landed, first.already_landed, first.rejected) == (2, 0, 2)
    assert (second.landed, second.already_landed, second.rejected) == (0, 2, 2)
    assert (
        landing.ask("from raw.tracks order by id"),
        landing.ask("from raw.rejected_messages order by 2"),
    ) == before


def test_a_message_without_id_is_known_again_in_a_file_that_has_a_bad_line(landing: Landing) -> None:
    assert landing.lines(track(messageId=...)).landed == 1
    assert landing.lines(track(messageId=...), "{").already_landed == 1
    (identifier,) = landing.ask("select id from raw.tracks")[0]
    assert identifier.startswith("auto-")


def test_the_first_of_a_repeated_id_is_kept(landing: Landing) -> None:
    loaded = landing.lines(track(userId="first"), track(userId="second"), {**track(), "type": "page"})
    assert (loaded.landed, loaded.already_landed) == (2, 1)
    assert landing.ask("select user_id from raw.tracks") == [("first",)]


TIMES = {
    "Z": ({"timestamp": "2026-01-02T03:04:05Z"}, "2026-01-02 03:04:05"),
    "an offset": ({"timestamp": "2026-01-02T03:04:05+05:30"}, "2026-01-01 21:34:05"),
    "no zone is UTC": ({"timestamp": "2026-01-02T03:04:05.678"}, "2026-01-02 03:04:05.678"),
    "a day": ({"timestamp": "2026-01-02"}, "2026-01-02 00:00:00"),
    "the sender's clock is corrected": (
        {
            "timestamp": ...,
            "originalTimestamp": "2026-01-02T12:00:00Z",
            "sentAt": "2026-01-02T12:00:10Z",
            "receivedAt": "2026-01-02T10:00:10Z",
        },
        "2026-01-02 10:00:00",
    ),
    "only the original": (
        {"timestamp": ..., "originalTimestamp": "2026-01-02T12:00:00Z", "receivedAt": ...},
        "2026-01-02 12:00:00",
    ),
    "only received": ({"timestamp": ...}, "2026-01-02 03:04:06"),
}


@pytest.mark.parametrize(("fields", "expected"), TIMES.values(), ids=TIMES.keys())
def test_timestamp(landing: Landing, fields: dict[str, Any], expected: str) -> None:
    landing.lines(track(**fields))
    assert landing.ask("select timestamp::varchar from raw.tracks") == [(expected,)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Order Completed", "order_completed"),
        ("orderCompleted", "order_completed"),
        ("  Order -- Completed! ", "order_completed"),
        ("Größe", "gr_e"),
    ],
)
def test_event_names_in_snake_case(landing: Landing, name: str, expected: str) -> None:
    landing.lines(track(event=name))
    assert landing.ask("select event, event_text from raw.tracks") == [(expected, name.strip())]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + json.dumps(track()).encode(),
        json.dumps(track()).encode() + b"\r\n\r\n",
        b"\n\n  \n" + json.dumps(track()).encode(),
        json.dumps(track(properties={"long": "x" * 3_000_000})).encode(),
        json.dumps(track(userId=5)).encode(),
        json.dumps(track(properties={"quote": 'a "b" \\ \t \u0000 😀'})).encode(),
    ],
    ids=["a BOM", "CRLF", "blank lines", "three megabytes", "a number for an id", "awkward characters"],
)
def test_unusual_valid_messages_are_loaded(landing: Landing, content: bytes) -> None:
    loaded = landing.load(landing.file("events.ndjson", content))
    assert (loaded.landed, loaded.rejected) == (1, 0)


RAW = '{"type":"track","messageId":"m1","userId":"u1","event":"E","receivedAt":"2026-01-01","properties":%s}'
DOCUMENTS: dict[str, tuple[str, Any]] = {
    # As segment-analytics-python and rudder-sdk-python write them.
    "numbers that are not finite": (
        '{"a": NaN, "b": [Infinity, -Infinity, 1], "c": "NaN, Infinity"}',
        {"a": None, "b": [None, None, 1], "c": "NaN, Infinity"},
    ),
    "a number no double holds": ('{"a": 1e400, "b": 1e300}', {"a": None, "b": 1e300}),
    # As @segment/analytics-node writes a text that was cut inside a surrogate pair.
    "half of a surrogate pair": (
        r'{"cut": "ab\ud83d", "end": "\ude00", "whole": "\ud83d\ude00", "text": "\\ud83d"}',
        {"cut": "ab\ufffd", "end": "\ufffd", "whole": "😀", "text": r"\ud83d"},
    ),
    "both": (r'{"a": NaN, "cut": "\ud83d"}', {"a": None, "cut": "\ufffd"}),
    # As PHP writes an object that is empty.
    "an empty array": ("[]", {}),
}


@pytest.mark.parametrize(("written", "read"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_what_sdks_write_and_readers_refuse_is_landed(landing: Landing, written: str, read: Any) -> None:
    quoted = written.replace('"', '""')
    files = [
        landing.file("a.ndjson", RAW % written),
        landing.file("b.ndjson", "{\n" + (RAW % written).replace("m1", "m2")),
        landing.file("c.csv", f'type,id,userId,event,properties\ntrack,m3,u1,E,"{quoted}"\n'),
    ]
    loaded = landing.load(*files)
    assert (loaded.landed, loaded.rejected) == (3, 1)
    rows = landing.ask("select properties from raw.tracks")
    assert [json.loads(text) for (text,) in rows] == [read] * 3


TRAITS: dict[str, tuple[dict[str, Any], Any]] = {
    "in the context alone, as RudderStack's SDKs send them": (
        {"context": {"traits": {"email": "a@x"}}},
        {"email": "a@x"},
    ),
    "null beside those of the context": (
        {"traits": None, "context": {"traits": {"email": "a@x"}}},
        {"email": "a@x"},
    ),
    "empty beside those of the context": (
        {"traits": [], "context": {"traits": {"email": "a@x"}}},
        {"email": "a@x"},
    ),
    "in both places": (
        {"traits": {"email": "b@x"}, "context": {"traits": {"email": "a@x"}}},
        {"email": "b@x"},
    ),
    "nowhere": ({"context": {"traits": []}}, None),
    "PHP's empty ones": ({"traits": [], "context": [], "integrations": []}, {}),
}


@pytest.mark.parametrize(("fields", "traits"), TRAITS.values(), ids=TRAITS.keys())
def test_traits_of_an_identify(landing: Landing, fields: dict[str, Any], traits: Any) -> None:
    landing.lines({"type": "identify", "messageId": "m1", "userId": "u1", **fields})
    ((found,),) = landing.ask("select traits from raw.identifies")
    assert (None if found is None else json.loads(found)) == traits


def test_a_number_and_the_same_number_with_a_point_are_one_id(landing: Landing) -> None:
    files = [
        landing.file(
            f"{name}.ndjson", f'{{"type":"track","event":"E","messageId":"{name}","userId":{value}}}'
        )
        for name, value in {
            "a": "123",
            "b": "123.0",
            "c": '"123"',
            "d": "1.23e2",
            "e": '"1.0"',
            "f": "1.5",
        }.items()
    ]
    files.append(landing.file("g.ndjson", '{"type":"track","event":"E","messageId":"g","userId":123.0}\n{'))
    files.append(landing.file("h.csv", "type,id,user_id,event\ntrack,h,123.0,E\n"))
    for name, kind in {"i": "double", "j": "float", "k": "decimal(9, 2)", "l": "bigint"}.items():
        file = landing.folder / f"{name}.parquet"
        landing.connection.execute(
            f"copy (select 'track' as type, '{name}' as id, 123::{kind} as user_id, 'E' as event) to '{file}'"
        )
        files.append(file)
    landing.load(*files)
    ids = dict(landing.ask("select id, user_id from raw.tracks"))
    assert ids == dict.fromkeys("abcdghijkl", "123") | {"e": "1.0", "f": "1.5"}


WHOLE_DOCUMENTS = {
    "an array on one line": lambda messages: json.dumps(messages),
    "an indented array": lambda messages: json.dumps(messages, indent=2),
    "a line an element": lambda messages: "[\n" + ",\n".join(map(json.dumps, messages)) + "\n]",
    "indented objects": lambda messages: "\n".join(json.dumps(each, indent=2) for each in messages),
}


@pytest.mark.parametrize("write", WHOLE_DOCUMENTS.values(), ids=WHOLE_DOCUMENTS.keys())
def test_a_json_array_and_indented_json_are_loaded(landing: Landing, write: Any) -> None:
    messages = [
        track(properties={"cut": "\ud83d"}),
        track(messageId="m2", userId=None),
        track(messageId="m3"),
    ]
    loaded = landing.load(landing.file("events.json", write(messages)))
    assert (loaded.landed, loaded.rejected) == (2, 1)
    assert landing.ask("select line_number, reason from raw.rejected_messages") == [
        (2, "neither userId nor anonymousId is there")
    ]
    assert json.loads(landing.ask("select properties from raw.tracks order by id")[0][0]) == {"cut": "\ufffd"}


@pytest.mark.parametrize("content", ['[\n  {"type": "track"\n', '{\n  "type": "track"\n  "userId": "u1"\n}'])
def test_an_invalid_json_document_is_one_error(landing: Landing, content: str) -> None:
    with pytest.raises(
        UsageError, match="no line is a JSON object, and the file is neither a JSON array nor"
    ):
        landing.load(landing.file("events.json", content))


@pytest.mark.parametrize(
    "content",
    [
        b'[\n{"type": "track"},\n{"event": "Caf\xe9"},\n{"type": "page"},\n{}, 1\n]',
        b'{\n"type": "track",\n"event": "Caf\xe9"\n,\n"userId": "u1"\n}',
    ],
)
def test_a_json_document_with_a_line_that_is_not_utf_8_loses_nothing_in_silence(
    landing: Landing, content: bytes
) -> None:
    with pytest.raises(UsageError, match=r"nor indented JSON \(the line is not UTF-8, number 3\)\."):
        landing.load(landing.file("events.json", content))


def test_the_text_of_a_parquet_document_that_is_not_json_is_a_reason(landing: Landing) -> None:
    path = landing.folder / "events.parquet"
    rows = "select 'track' as type, 'm1' as id, 'u1' as user_id, 'E' as event, '{bad' as properties"
    landing.connection.execute(f"copy ({rows}) to '{path}'")
    assert landing.load(path).files[0].rejected == {"properties is not JSON": 1}


def test_an_object_as_an_id_in_parquet_is_landed_as_json(landing: Landing) -> None:
    path = landing.folder / "events.parquet"
    rows = "select 'track' as type, 'm1' as id, {'a': 'x'} as user_id, [1] as anonymous_id, 'E' as event"
    landing.connection.execute(f"copy ({rows}) to '{path}'")
    assert landing.load(path).landed == 1
    assert landing.ask("select user_id, anonymous_id from raw.tracks") == [('{"a":"x"}', "[1]")]


def test_a_csv_with_line_breaks_in_quotes(landing: Landing) -> None:
    rows = "".join(f'track,m{i},u{i},E,"{{""text"":\n{i}}}"\n' for i in range(3_000))
    file = landing.file("events.csv", "type,id,user_id,event,properties\n" + rows + "track,last,u1,E\n")
    loaded = landing.load(file)
    assert (loaded.landed, loaded.rejected) == (3_001, 0)
    assert landing.ask("select cast(properties ->> 'text' as int) from raw.tracks where id = 'm77'") == [
        (77,)
    ]


def test_a_bad_line_of_a_csv_is_rejected_alone(landing: Landing) -> None:
    content = b"type,id,user_id,event\ntrack,m1,u1,E\ntrack,m2,\xff\xfe,E\ntrack,m3,u3,E\n"
    loaded = landing.load(landing.file("events.csv", content))
    assert (loaded.landed, loaded.files[0].rejected) == (2, {"the line is not UTF-8": 1})
    assert landing.ask("select line_number, text from raw.rejected_messages") == [(2, "track,m2,??,E")]


def test_an_empty_file(landing: Landing) -> None:
    assert landing.load(landing.file("events.ndjson", b"")).landed == 0


def test_gzip(landing: Landing) -> None:
    assert (
        landing.load(landing.file("events.ndjson.gz", gzip.compress(json.dumps(track()).encode()))).landed
        == 1
    )


def test_csv(landing: Landing) -> None:
    file = landing.file(
        "events.csv",
        "type,message_id,USER_ID,event,timestamp,properties,colour\n"
        'track,m1,u1,Order Completed,2026-01-02T03:04:05Z,"{""total"": 9.5}",red\n'
        "track,m2,,Order Completed,2026-01-02T03:04:05Z,,\n"
        "track,m3,u3,Order Completed,2026-01-02T03:04:05Z,{broken,\n",
    )
    (loaded,) = landing.load(file).files
    assert (loaded.landed, loaded.ignored_columns) == ({"tracks": 1}, ("colour",))
    assert landing.ask("select id, user_id, event, properties from raw.tracks") == [
        ("m1", "u1", "order_completed", '{"total": 9.5}')
    ]
    assert landing.ask("select line_number, reason from raw.rejected_messages order by 1") == [
        (2, "neither userId nor anonymousId is there"),
        (3, "properties is not JSON"),
    ]


def test_parquet(landing: Landing) -> None:
    file = landing.folder / "events.parquet"
    landing.connection.execute(
        f"""
        copy (
            select 'track' as type, 'm1' as id, 'u1' as "userId", 'Order Completed' as event,
                timestamptz '2026-01-02 03:04:05+01' as timestamp, {{'total': 9.5}} as properties
        ) to '{file}'
        """
    )
    assert landing.load(file).landed == 1
    assert landing.ask("select id, timestamp::varchar, properties from raw.tracks") == [
        ("m1", "2026-01-02 02:04:05", '{"total":9.5}')
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.ndjson", r"missing\.ndjson: no such file\."),
        ("events.jsonn", r"events\.jsonn: unknown file extension\. Did you mean '\.json'\?"),
        ("events.csv", r"events\.csv: has no column 'type'"),
        ("events.parquet", r"events\.parquet: cannot be read"),
    ],
)
def test_an_unreadable_file_is_an_error(landing: Landing, name: str, message: str) -> None:
    if name != "missing.ndjson":
        landing.file(name, "a,b\n1,2\n")
    with pytest.raises(UsageError, match=message):
        landing.load(landing.folder / name)


def test_the_example(landing: Landing) -> None:
    loaded = landing.load(examples_dir() / "online_retail" / "events.ndjson.gz")
    assert loaded.files[0].landed == {"tracks": 12_795, "identifies": 3_012}
    assert loaded.rejected == 0


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELD_NAMES = st.sampled_from(
    ["type", "messageId", "userId", "anonymousId", "event", "timestamp", "properties", "traits", "groupId"]
)
LINES = st.one_of(
    st.dictionaries(FIELD_NAMES, JSON_VALUES | st.sampled_from(["track", "identify", "u1", "m1"])).map(
        json.dumps
    ),
    JSON_VALUES.map(json.dumps),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x1c\x1d\x1e\x1f\x00"), max_size=40),
).map(lambda line: line.encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(lines=[b"[null]"])
@given(
    lines=st.lists(LINES | st.binary(max_size=20).filter(lambda b: not set(b) & set(b"\r\n\0")), max_size=8)
)
@example(lines=[b"\x01"])
@example(lines=[b"[]"])
@example(lines=[b"[1, {}]"])
@example(lines=[b"[x", b"y"])
@example(lines=[b"\x80", b"[]"])
def test_no_line_is_lost(tmp_path: Path, lines: list[bytes]) -> None:
    landing = Landing(tmp_path)
    there = [line for number, line in enumerate(lines) if not _is_blank(line, first=number == 0)]
    said = len(there)
    if said == 1 and isinstance(array := _read(there[0]), list):
        said = len(array)
    try:
        loaded = landing.load(landing.file("events.ndjson", b"\n".join(lines)))
    except UsageError as error:
        assert said > 1
        assert "no line is a JSON object, and the file is neither" in str(error)
        return
    assert loaded.landed + loaded.already_landed + loaded.rejected == said


def _read(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _is_blank(line: bytes, first: bool) -> bool:
    return line.removeprefix(b"\xef\xbb\xbf" if first else b"").strip(b" ") == b""


def test_the_source_is_named_by_whoever_loads(landing: Landing) -> None:
    """Also in tables that an older version made without the column."""
    landing.lines(track())
    landing.connection.execute("alter table raw.tracks drop column source_id")
    file = landing.file("more.ndjson", json.dumps(track(messageId="m2")))
    assert load_files(landing.connection, [file], source="site").landed == 1
    assert landing.ask("select id, source_id from raw.tracks order by id") == [("m1", None), ("m2", "site")]


@pytest.mark.parametrize("name", ["all", " ", ""])
def test_a_blank_or_reserved_source_is_an_error(landing: Landing, name: str) -> None:
    with pytest.raises(UsageError, match="is blank or reserved"):
        load_files(landing.connection, [landing.file("a.ndjson", "")], source=name)
