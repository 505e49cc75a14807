"""Segment files: what was appended is read back, whatever happened to the rest of the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from revetl.errors import UsageError
from revetl.ingest.collector.segments import SegmentLog, backlog_of, frame, read_segment

PAYLOADS = (b'["web","messages"]\n{"a":1}', b"", b"x" * 5_000)


def written(folder: Path, *payloads: bytes) -> Path:
    """A closed segment with payloads."""
    log = SegmentLog(folder)
    log.append([frame(each) for each in payloads])
    log.rotate()
    (path,) = log.closed
    log.close()
    return path


def test_appended_frames_are_read_back_in_order(tmp_path: Path) -> None:
    content = read_segment(written(tmp_path, *PAYLOADS))
    assert (content.payloads, content.damaged_bytes) == (PAYLOADS, 0)


def test_a_segment_that_was_cut_anywhere_has_every_frame_before_the_cut(tmp_path: Path) -> None:
    path = written(tmp_path, *PAYLOADS[:2], b"the last one")
    data = path.read_bytes()
    ends = [0]
    for payload in (*PAYLOADS[:2], b"the last one"):
        ends.append(ends[-1] + len(frame(payload)))
    found = []
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        content = read_segment(path)
        found.append((len(content.payloads), content.damaged_bytes))
    expected = []
    for cut in range(len(data) + 1):
        whole = max(number for number, end in enumerate(ends) if end <= cut)
        expected.append((whole, cut - ends[whole]))
    assert found == expected


@given(data=st.data())
def test_frames_around_damage_are_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("log") / "1.segment"
    frames = [frame(f"payload {number}".encode()) for number in range(5)]
    damaged = data.draw(st.integers(0, 4))
    place = data.draw(st.integers(0, len(frames[damaged]) - 1))
    change = data.draw(st.integers(1, 255))
    broken = bytearray(frames[damaged])
    broken[place] ^= change
    path.write_bytes(b"".join([*frames[:damaged], bytes(broken), *frames[damaged + 1 :]]))
    content = read_segment(path)
    kept = {f"payload {number}".encode() for number in range(5) if number != damaged}
    assert (set(content.payloads), content.damaged_bytes) == (kept, len(broken))


@given(st.binary(max_size=2_000))
def test_any_bytes_are_read_without_an_error(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "1.segment"
    path.write_bytes(junk + frame(b"good"))
    assert read_segment(path).payloads[-1:] == (b"good",)


def test_a_new_collector_keeps_what_an_earlier_one_left_and_starts_another_segment(tmp_path: Path) -> None:
    first = SegmentLog(tmp_path)
    first.append([frame(b"one")])
    first._lock.close()  # as when its process is killed
    second = SegmentLog(tmp_path)
    second.append([frame(b"two")])
    second.rotate()
    payloads = [read_segment(path).payloads for path in second.closed]
    second.close()
    assert payloads == [(b"one",), (b"two",)]


def test_segments_are_closed_by_size_and_counted(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, segment_bytes=100)
    for _ in range(5):
        log.append([frame(b"x" * 60)])
    size = len(frame(b"x" * 60))
    assert ([each.stat().st_size for each in log.closed], log.backlog.segments) == ([2 * size, 2 * size], 3)
    assert log.backlog.bytes == backlog_of(tmp_path).bytes == 5 * size
    for path in log.closed:
        log.remove(path)
    assert (log.backlog.segments, log.total_bytes) == (1, size)
    log.close()


def test_two_collectors_cannot_use_one_folder(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    with pytest.raises(UsageError, match="another collector uses this folder"):
        SegmentLog(tmp_path)
    log.close()
    SegmentLog(tmp_path).close()


def test_segments_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "new", b"personal")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_frame_larger_than_the_file_is_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "1.segment"
    path.write_bytes(frame(b"abc")[:6] + b"\xff" * 8 + os.urandom(50))
    assert read_segment(path).payloads == ()
