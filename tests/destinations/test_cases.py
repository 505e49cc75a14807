"""The contract cases: each through its connector, with no network. `REVETL_CASES` names more folders."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import duckdb
import httpx
import orjson
import pytest
from sqlglot import exp

from revetl.config.models import SyncConfig
from revetl.delivery.batches import PositionedBatch, begun, cut_batches
from revetl.delivery.serializer import Serializer, record_of, shaping_of
from revetl.destinations import TYPES, make_destination
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    AnswerNotUnderstood,
    Asking,
    Destination,
    Disposition,
    JobUnfinished,
    Record,
    Records,
    Refused,
    Rejection,
    Step,
    Wait,
)
from revetl.mapping.fields import (
    MappedField,
    default_identifiers,
    made_alike,
    parse_expression,
)
from revetl.sync.plan.late_identifiers import Finish, finishers

T = TypeVar("T")

FOLDERS = [
    Path(__file__).parent / "cases",
    *map(Path, filter(None, os.environ.get("REVETL_CASES", "").split(":"))),
]

MODES = {
    "upsert": ("upsert", "update"),
    "insert": ("insert", "add"),
    "change": ("update", "update"),
    "track": ("events", "add"),
    "delete": ("delete", "add"),
}
"""What a case calls an operation, where it is no mirror's: the mode, and what is planned."""


def _cases() -> list[Any]:
    found: list[Any] = []
    for file in sorted(path for folder in FOLDERS for path in folder.glob("*.json")):
        document = orjson.loads(file.read_bytes())
        found += [
            pytest.param(document["destination"], case, id=f"{file.stem}: {case['name']}")
            for case in document["cases"]
        ]
    return found


@dataclass
class Outcome:
    """What became of the case's records, by index."""

    delivered: list[int] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    retry: list[int] = field(default_factory=list)
    fatal: bool = False


class _Judged(Exception):
    def __init__(self, verdict: Disposition, text: str) -> None:
        super().__init__(text)
        self.verdict = verdict
        self.text = text


class Player:
    """Plays a case: requests that a connector makes are kept, and get the case's answers, in order."""

    def __init__(self, destination: Destination, case: dict[str, Any]) -> None:
        self.destination = destination
        self.sent: list[httpx.Request] = []
        self.outcome = Outcome()
        self._case = case
        self._answers = iter(case.get("responses", []))
        self._client = httpx.AsyncClient(
            transport=httpx.MockTransport(self._answer), auth=destination.auth(), timeout=None
        )
        operation = case["operation"]
        self._mode, planned = MODES.get(operation, ("mirror", operation))
        audience = case.get("audience", "high_churn")
        self._whole = Records(
            f"{audience}.{destination.type}",
            audience,
            "run",
            planned,
            (),
            event=case.get("event"),
            set_if_empty=tuple(case.get("set_if_empty", ())),
            at="2026-01-02T03:04:05.000Z",
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        answer: dict[str, Any] = next(self._answers, {"status": 200, "body": {}})
        return httpx.Response(
            answer["status"], headers=answer.get("headers"), content=_content(answer.get("body"))
        )

    async def play(self) -> None:
        """Run the case, by the engine's table of verdicts."""
        if self._case["operation"] == "create_audience":
            assert isinstance(self.destination, HasAudiences)
            await self._tried(self.destination.create_audience(self._whole.audience))
            return
        fields = dict.fromkeys(self._case.get("mapping", {}), "VARCHAR")
        whole = await self._tried(self.destination.prepare(self._mode, self._whole, fields))
        if whole is None:
            return
        shaping = shaping_of(SyncConfig(to="case", **self._case.get("sync", {})), self.destination)
        records = records_of_rows(self.destination, self._case, shaping, whole.operation)
        for cut in cut_batches(self.destination, self._mode, whole, [(0, records)]):
            await self._deliver(cut)

    async def _tried(self, asking: Asking[T]) -> T | None:
        """What is found out before the records; nothing when that ended the run."""
        try:
            return await self._run(asking)
        except (_Judged, Refused, AnswerNotUnderstood):
            self.outcome.fatal = True
            return None

    async def _run(self, flow: Asking[T], step: Step | None = None) -> T:
        try:
            step = next(flow) if step is None else step
            while True:
                if isinstance(step, Wait):
                    step = next(flow)
                    continue
                response = await self._client.send(step)
                judged, unread = self.destination.heard(response)
                if judged is not Disposition.PASS:
                    raise _Judged(judged, response.text)
                if unread is not None:
                    raise AnswerNotUnderstood(f"{unread}: {step.method} {step.url} {response.text}")
                step = flow.send(response)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _deliver(self, cut: PositionedBatch) -> None:
        places = list(range(cut.place, cut.end))
        outcome = self.outcome
        try:
            if (result := cut.result) is None:
                assert cut.flow is not None
                result = await self._run(cut.flow, cut.request)
        except _Judged as judged:
            if judged.verdict in (Disposition.RETRY, Disposition.LIMITED):
                outcome.retry += places
            elif judged.verdict is Disposition.FATAL:
                outcome.fatal = True
            elif len(places) == 1:
                outcome.rejected[places[0]] = judged.text
            else:
                # They are halved, and the case's next answers are for the halves.
                middle = len(places) // 2
                for first, last in ((0, middle), (middle, len(places))):
                    await self._deliver(begun(self.destination, self._mode, cut.part(first, last)))
            return
        except (JobUnfinished, AnswerNotUnderstood):
            outcome.retry += places
            return
        except Refused:
            outcome.fatal = True
            return
        result = cut.by_place(result)
        outcome.rejected |= {
            places[index]: why.reason if isinstance(why, Rejection) else why
            for index, why in result.rejected.items()
        }
        outcome.retry += [places[index] for index in result.retry]
        outcome.delivered += [
            place for index, place in enumerate(places) if index not in {*result.rejected, *result.retry}
        ]


def _content(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


def records_of_rows(
    destination: Destination, case: dict[str, Any], shaping: Serializer, operation: str
) -> list[Record]:
    """The case's rows as records: identifiers by the SQL that the warehouse runs."""
    rows = list(case.get("records", []))
    for repeat in [case["repeat"]] if "repeat" in case else []:
        rows += [repeat["record"]] * repeat["count"]
    if not rows:
        return []
    columns = {name: "VARCHAR" for row in rows for name in row}
    known = {each.name: each for each in destination.known_by}
    mapping = dict(case.get("mapping", {}))
    # What is mapped onto an identifier's name is one.
    given = {name: mapping.pop(name) for name in list(mapping) if name in known}
    identifiers = case.get("identifiers") or {
        **default_identifiers(destination, _key(destination, columns), columns),
        **given,
    }
    mapped = [
        made_alike(MappedField(name, parse_expression(text, columns, "case"), ""), known[name])
        for name, text in identifiers.items()
    ]
    made: dict[bytes, Record] = {}
    late = finishers(destination)
    for row in rows:
        # What is repeated is made once.
        if (text := orjson.dumps(row)) not in made:
            made[text] = record_of(
                shaping,
                operation,
                str(next(iter(row.values()))),
                orjson.dumps({item.name: _sent(item, row, late) for item in mapped}).decode(),
                orjson.dumps({name: row.get(text) for name, text in mapping.items()}).decode(),
                "run",
            )._replace(timestamp=row.get(case.get("timestamp", "")))
    return [made[orjson.dumps(row)] for row in rows]


def _key(destination: Destination, columns: dict[str, str]) -> str:
    """The column that is most likely the audience's key."""
    own = [each.column for each in destination.known_by if each.column in columns]
    return own[0] if own else next(iter(columns))


def _sent(item: MappedField, row: dict[str, Any], late: dict[str, Finish]) -> Any:
    value = _value(item, row)
    return late[item.name](str(value)) if item.late and value is not None else value


def _value(item: MappedField, row: dict[str, Any]) -> Any:
    if isinstance(item.expression, exp.Column):
        return row.get(item.expression.name)
    with_values = item.expression.transform(
        lambda node: exp.convert(row.get(node.name)) if isinstance(node, exp.Column) else node
    )
    found = duckdb.execute(f"select {with_values.sql('duckdb')}").fetchone()
    assert found is not None
    return found[0]


@pytest.mark.parametrize(("kind", "case"), _cases())
def test_case(kind: str, case: dict[str, Any]) -> None:
    config = {"type": kind, **case.get("config", {}), **case.get("secrets", {})}
    destination = make_destination(config, f"case {case['name']}")
    player = Player(destination, case)
    asyncio.run(player.play())
    sent, outcome = player.sent, player.outcome
    if "request_count" in case:
        assert len(sent) == case["request_count"]
    for request, expected in zip(sent, case.get("requests", []), strict="request_count" not in case):
        assert (request.method, str(request.url)) == (expected["method"], expected["url"])
        headers = {name: request.headers.get(name) for name in expected.get("headers", {})}
        assert headers == expected.get("headers", {})
        if "body" in expected:
            assert _body(request, expected) == expected["body"]
    expected_outcome = case["outcome"]
    assert sorted(outcome.delivered) == _indexes(expected_outcome["delivered"])
    assert set(outcome.rejected) == {int(index) for index in expected_outcome["rejected"]}
    for index, reason in expected_outcome["rejected"].items():
        assert str(reason).lower() in outcome.rejected[int(index)].lower()
    assert sorted(outcome.retry) == expected_outcome["retry"]
    assert outcome.fatal is expected_outcome["fatal"]


def _indexes(said: Any) -> list[int]:
    """The list, or what `0-9999` stands for."""
    if not isinstance(said, str):
        return list(said)
    first, _, last = said.partition("-")
    return list(range(int(first), int(last) + 1))


def _body(request: httpx.Request, expected: dict[str, Any]) -> Any:
    text = request.content.decode()
    if expected.get("form"):
        return dict(parse_qsl(text, keep_blank_values=True))
    return text if isinstance(expected["body"], str) else orjson.loads(text)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_destination_has_a_sheet_and_cases(kind: str) -> None:
    root = Path(__file__).resolve().parents[2]
    sheet = (root / "docs" / "destinations" / f"{kind}.md").read_text()
    # Without whole examples, which a test of their own runs.
    prose = re.sub(r"^```.*?^```\n", "", sheet, flags=re.DOTALL | re.MULTILINE)
    assert 40 <= len(prose.splitlines()) <= 130
    cases = orjson.loads((Path(__file__).parent / "cases" / f"{kind}.json").read_bytes())
    assert cases["destination"] == kind
    assert len(cases["cases"]) >= 8
