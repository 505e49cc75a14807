"""Test user functions: `given` and `expect` in `destination_functions/NAME.yml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BeforeValidator, Field, model_validator

from revetl.config.base import ConfigModel, read_checked, read_yaml
from revetl.config.models import FunctionConfig
from revetl.delivery.functions.process import (
    FOLDER,
    FORMER_FOLDER,
    Function,
    FunctionResult,
    check_folder,
)
from revetl.errors import UsageError, nearest


class GivenRecord(ConfigModel):
    """The input record of a test; the defaults are those of a first run."""

    key: str = "key"
    audience: str = "audience"
    operation: Literal["add", "update", "remove"] = "add"
    identifiers: Mapping[str, Any] = {}
    traits: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] | None = None
    event: str | None = None
    timestamp: str | None = None


_NOT_SENT = ("drop", "reject", "retry")


class ExpectedRecord(ConfigModel):
    """The expected record of a test; only the listed fields are compared. Or, for a record that is not sent,
    `drop`, `reject` or `retry` with part of the reason."""

    identifiers: Mapping[str, Any] | None = None
    traits: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] | None = None
    event: str | None = None
    timestamp: str | None = None
    drop: str | None = None
    reject: str | None = None
    retry: str | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> ExpectedRecord:
        if self.not_sent is not None and len(self.model_fields_set) > 1:
            raise ValueError("drop, reject and retry cannot be combined with other keys")
        return self

    @property
    def not_sent(self) -> str | None:
        """Which of drop, reject and retry is set, if any."""
        return next((name for name in _NOT_SENT if name in self.model_fields_set), None)


def _as_list(value: object) -> object:
    if isinstance(value, str):
        return [{value: ""}]
    return [value] if isinstance(value, Mapping) else value


class FunctionTest(ConfigModel):
    """One test: an input record and the expected records."""

    name: str
    on: Literal["identify", "track", "group", "delete"] = "identify"
    given: GivenRecord
    expect: Annotated[tuple[ExpectedRecord, ...], BeforeValidator(_as_list), Field(min_length=1)]


class FunctionTests(ConfigModel):
    """The test file of a function, with the limits to run it with."""

    tests: Annotated[tuple[FunctionTest, ...], Field(min_length=1)]
    timeout: Annotated[float, Field(gt=0)] = 1.0
    memory: Annotated[int, Field(ge=64)] = 256


@dataclass(frozen=True)
class TestResult:
    """The result of a test; `problem` describes the difference from what was expected."""

    __test__ = False

    function: str
    name: str
    problem: str | None = None


def run_tests(root: Path, names: tuple[str, ...] = ()) -> Iterator[TestResult]:
    """Run the tests of all or the named user functions. Raises UsageError for an invalid file, a function
    that does not exist or cannot be loaded, and a name without tests."""
    files = {path.stem: path for path in sorted((root / FOLDER).glob("*.yml"))}
    for former in sorted((root / FORMER_FOLDER).glob("*.yml")):
        # dbt's own functions are described in YAML files, too.
        if "tests" in (read_yaml(former) or {}):
            check_folder(root, former.stem)
    for name in names:
        if name not in files:
            raise UsageError(f"{FOLDER}/{name}.yml does not exist. {nearest(name, files)}")
    for name, path in files.items():
        if names and name not in names:
            continue
        document = read_checked(FunctionTests, path)
        function = Function(root, FunctionConfig(name=name, timeout=document.timeout, memory=document.memory))
        for kind in dict.fromkeys(test.on for test in document.tests):
            function.check(kind)
        for test in document.tests:
            yield TestResult(name, test.name, _problem(test, function(_record(test))))


def _record(test: FunctionTest) -> dict[str, Any]:
    given = test.given.model_dump(exclude_none=True)
    fields = "properties" if test.on == "track" else "traits"
    given.setdefault(fields, {})
    if test.on == "track":
        given = {"event": None, "timestamp": None, **given}
    return {"type": test.on, **given}


def _problem(test: FunctionTest, outcome: FunctionResult) -> str | None:
    words = {"drop": outcome.dropped, "reject": outcome.rejected, "retry": outcome.later}
    said = next((f"{word}: {why}" for word, why in words.items() if why is not None), None)
    if (word := test.expect[0].not_sent) is not None:
        part = getattr(test.expect[0], word)
        if words[word] is not None and part in str(words[word]):
            return None
        return f"expected {word}: {part}, got {said or _text(list(outcome.records))}"
    if said is not None:
        return f"expected {_text([_named(each) for each in test.expect])}, got {said}"
    expected = [_named(each) for each in test.expect]
    made = list(outcome.records)
    if len(made) == len(expected):
        pairs = zip(made, expected, strict=True)
        made = [{name: record.get(name) for name in only} for record, only in pairs]
    return None if made == expected else f"expected {_text(expected)}, got {_text(made)}"


def _named(expected: ExpectedRecord) -> dict[str, Any]:
    return {name: getattr(expected, name) for name in sorted(expected.model_fields_set)}


def _text(records: list[dict[str, Any]]) -> str:
    value = records[0] if len(records) == 1 else records
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
