"""The contract cases: each through its connector, with no network. `REVETL_CASES` names more folders."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import orjson
import pytest

from revetl.destinations import TYPES, make_destination
from revetl.destinations.base import Destination, Record, Records, Refused, Rejection, Verdict, verdict
from revetl.mapping import default_identifiers
from revetl.sync.batches import Cut, cut_batches

FOLDERS = [
    Path(__file__).parent / "cases",
    *map(Path, filter(None, os.environ.get("REVETL_CASES", "").split(":"))),
]


MODES = {
    "upsert": ("upsert", "update"),
    "insert": ("insert", "add"),
    "change": ("update", "update"),
    "track": ("events", "add"),
}


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


def play(
    destination: Destination, case: dict[str, Any], records: list[Record]
) -> tuple[list[httpx.Request], Outcome]:
    """Run the case: the requests that went out, and the outcome, by the engine's table of verdicts."""
    sent: list[httpx.Request] = []
    outcome = Outcome()
    answers = iter(case.get("responses", []))
    operation = case["operation"]
    audience = case.get("audience", "high_churn")
    # A case names a mode's own operation, or one of a mirror's.
    mode, planned = MODES.get(operation, ("mirror", operation))
    whole = Records(f"{audience}.{destination.type}", audience, "run", planned, (), event=case.get("event"))
    for cut in cut_batches(destination, mode, whole, [(0, records)]):
        _converse(cut, sent, answers, outcome, destination, mode)
    return sent, outcome


def _converse(
    cut: Cut, sent: list[httpx.Request], answers: Any, outcome: Outcome, destination: Destination, mode: str
) -> None:
    places = list(range(cut.place, cut.end))
    if cut.refused is not None:
        outcome.rejected[cut.place] = cut.refused
        return
    assert cut.flow is not None
    request = cut.request
    try:
        while True:
            assert request is not None
            sent.append(request)
            answer: dict[str, Any] = next(answers, {"status": 200, "body": {}})
            response = httpx.Response(
                answer["status"],
                headers=answer.get("headers"),
                content=_content(answer.get("body")),
                request=request,
            )
            match verdict(response.status_code, destination.statuses):
                case Verdict.PASS:
                    request = cut.flow.send(response)
                case Verdict.RETRY:
                    outcome.retry += places
                    return
                case Verdict.FATAL:
                    outcome.fatal = True
                    return
                case Verdict.SPLIT | Verdict.BISECT:
                    # One record is rejected; more are halved, and the case's next answers are for the halves.
                    if len(places) == 1:
                        outcome.rejected[places[0]] = response.text
                        return
                    middle = len(places) // 2
                    for first, last in ((0, middle), (middle, len(places))):
                        piece = cut.records[first:last]
                        flow = destination.flow(mode, piece)
                        _converse(
                            Cut(cut.place + first, piece, flow, next(flow)),
                            sent,
                            answers,
                            outcome,
                            destination,
                            mode,
                        )
                    return
    except StopIteration as end:
        result = end.value
        outcome.rejected |= {
            places[index]: why.reason if isinstance(why, Rejection) else why
            for index, why in result.rejected.items()
        }
        outcome.retry += [places[index] for index in result.retry]
        outcome.delivered += [
            place for index, place in enumerate(places) if index not in {*result.rejected, *result.retry}
        ]
    except Refused:
        outcome.fatal = True


def _content(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else orjson.dumps(body)


def _records(destination: Destination, case: dict[str, Any]) -> list[Record]:
    rows = list(case.get("records", []))
    for repeat in [case["repeat"]] if "repeat" in case else []:
        rows += [repeat["record"]] * repeat["count"]
    mapping = case.get("mapping", {})
    identifiers = case.get("identifiers")
    if identifiers is None:
        known = [item for item in destination.identifiers if rows and item.column in rows[0]]
        identifiers = (
            {known[0].name: known[0].column} if known else default_identifiers(destination.identifiers, "id")
        )
    return [
        Record(
            str(next(iter(row.values()))),
            {name: row[column] for name, column in identifiers.items() if row.get(column) is not None},
            {name: row.get(column) for name, column in mapping.items()},
            "run",
            row.get(case.get("timestamp", "")),
        )
        for row in rows
    ]


@pytest.mark.parametrize(("kind", "case"), _cases())
def test_case(kind: str, case: dict[str, Any]) -> None:
    config = {"type": kind, **case.get("config", {}), **case.get("secrets", {})}
    destination = make_destination(config, f"case {case['name']}")
    sent, outcome = play(destination, case, _records(destination, case))
    if "request_count" in case:
        assert len(sent) == case["request_count"]
    for request, expected in zip(sent, case.get("requests", []), strict="request_count" not in case):
        assert (request.method, str(request.url)) == (expected["method"], expected["url"])
        headers = {name: request.headers.get(name) for name in expected.get("headers", {})}
        assert headers == expected.get("headers", {})
        if "body" in expected:
            assert _body(request, expected) == expected["body"]
    expected_outcome = case["outcome"]
    assert sorted(outcome.delivered) == expected_outcome["delivered"]
    assert set(outcome.rejected) == {int(index) for index in expected_outcome["rejected"]}
    for index, reason in expected_outcome["rejected"].items():
        assert str(reason).lower() in outcome.rejected[int(index)].lower()
    assert sorted(outcome.retry) == expected_outcome["retry"]
    assert outcome.fatal is expected_outcome["fatal"]


def _body(request: httpx.Request, expected: dict[str, Any]) -> Any:
    text = request.content.decode()
    if expected.get("form"):
        return dict(parse_qsl(text, keep_blank_values=True))
    return text if isinstance(expected["body"], str) else orjson.loads(text)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_destination_has_a_sheet_and_cases(kind: str) -> None:
    root = Path(__file__).resolve().parents[2]
    sheet = (root / "docs" / "destinations" / f"{kind}.md").read_text()
    assert 40 <= len(sheet.splitlines()) <= 90
    cases = orjson.loads((Path(__file__).parent / "cases" / f"{kind}.json").read_bytes())
    assert cases["destination"] == kind
    assert len(cases["cases"]) >= 6
