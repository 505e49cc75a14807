"""Check the messages of a file."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

import orjson

from revetl.errors import UsageError
from revetl.governance.tracking_plan.check import Checker, Violation
from revetl.governance.tracking_plan.transformed import transform
from revetl.governance.transformations import Transformation


@dataclass(frozen=True)
class CheckedMessage:
    """A message, by the line it begins at, and its violations. `transformed`: it was transformed before the
    check; `derived` lists properties that only the warehouse derives."""

    line: int
    violations: list[Violation]
    transformed: bool = False
    derived: tuple[str, ...] = ()


def check_messages(
    checker: Checker,
    file: Path,
    transformations: tuple[Transformation, ...] = (),
    source: str | None = None,
) -> Iterator[CheckedMessage]:
    """Transform and check the messages of a file: one message, or one per line. `-` is stdin; .gz is
    decompressed. A missing derived property isn't a violation, because only the warehouse derives it. Raises
    UsageError with the line of an invalid message."""
    name = "stdin" if str(file) == "-" else str(file)
    for line, message in _messages(file, name):
        if not isinstance(message, dict):
            raise UsageError(f"{name}, line {line}: is not a JSON object. A message must be an object.")
        try:
            made = transform(transformations, message, source)
            found = [
                each
                for each in checker.check(made.message, source)
                if not (each.rule == "required" and each.path in made.derived)
            ]
            yield CheckedMessage(line, found, made.is_changed, made.derived)
        except UsageError as error:
            raise UsageError(f"{name}, line {line}: {error}") from None


def _messages(file: Path, name: str) -> Iterator[tuple[int, Any]]:
    try:
        with nullcontext(sys.stdin.buffer) if name == "stdin" else _opened(file) as opened:
            lines = ((number, line) for number, line in enumerate(opened, 1) if line.strip())
            start, first = next(lines, (1, b""))
            try:
                orjson.loads(first)
            except orjson.JSONDecodeError as error:
                # The file may be one message on several lines.
                whole = first + b"".join(line for _, line in lines)
                yield start, _parsed(whole, f"{name}, line {start}", error)
                return
            for number, line in chain([(start, first)], lines):
                yield number, _parsed(line, f"{name}, line {number}")
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror or error}).") from None


def _opened(file: Path) -> IO[bytes]:
    # gzip.open in its default mode reads bytes, but its type is a union.
    return cast(IO[bytes], gzip.open(file)) if file.suffix == ".gz" else file.open("rb")


def _parsed(text: bytes, place: str, first_error: orjson.JSONDecodeError | None = None) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{place}: is not JSON ({first_error or error}).") from None
