"""How Salesforce takes rows and answers for each: collections, and the jobs of Bulk API 2.0."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import orjson

from revetl.destinations.base.destination import (
    Asking,
    Refused,
    Rejection,
    Result,
    Unfinished,
    poll,
)
from revetl.destinations.base.large_answers import large, lines_of

Row = dict[str, Any]
"""A record's fields by their names; of a lookup the name is `Account.Ext_Id__c`."""

AGAIN = frozenset(
    {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "UNPROCESSED"}
    | {"QUERY_TIMEOUT", "ENTITY_IS_LOCKED", "API_CURRENTLY_DISABLED", "CONCURRENT_UPDATE_ERROR"}
)
"""Codes of what is over soon."""
WRAPS = frozenset({"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER", "APEX_ERROR"})
"""Codes of what the org's own triggers and flows said, which may be one of the others."""
_WRAPPED = re.compile(
    "UNABLE_TO_LOCK_ROW|QUERY_TIMEOUT|ENTITY_IS_LOCKED|Too many (SOQL|DML|query)|LimitException"
    "|CPU time limit|Record Currently Unavailable|CONCURRENT",
    re.IGNORECASE,
)
OF_ORG = frozenset(
    {"STORAGE_LIMIT_EXCEEDED", "API_DISABLED_FOR_ORG", "FUNCTIONALITY_NOT_ENABLED", "LICENSE_LIMIT_EXCEEDED"}
    | {"INVALID_SESSION_ID", "INVALID_TYPE", "INVALID_FIELD"}
)
"""Codes that are about the org, or the mapping, whatever row they are told of."""
NOT_FOUND = "NOT_FOUND"
_ENDED = frozenset({"JobComplete", "Failed", "Aborted"})
_UPLOADS = 5


class Outcome(NamedTuple):
    """What became of a row: its record's id, or the code of the error and why."""

    id: str | None = None
    code: str = ""
    why: Rejection | None = None


def error_of(response: httpx.Response) -> tuple[str, str]:
    """The code and the message of an answer that is an error; empty for any other."""
    try:
        told = orjson.loads(response.content)[0]
        return str(told["errorCode"]), str(told["message"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return "", ""


def outcome_of(answer: Mapping[str, Any]) -> Outcome:
    """The outcome of a row by its object in the answer of a collection."""
    if answer["success"]:
        return Outcome(answer["id"])
    error = answer["errors"][0]
    code, fields = error["statusCode"], error.get("fields") or [None]
    return Outcome(None, code, Rejection(f"{code}: {error['message']}", fields[0]))


def result_of(outcomes: Iterable[tuple[int, Outcome]], fine: Collection[str] = ()) -> Result:
    """The result of a batch, by the place of each record; errors whose codes are `fine` are none."""
    outcomes = list(outcomes)
    failed = {at: each for at, each in outcomes if each.why is not None and each.code not in fine}
    for each in failed.values():
        if each.code in OF_ORG and each.why is not None:
            raise Refused(f"Salesforce refused: {each.why.reason}.", partly=True)
    rejected: dict[int, Rejection] = {}
    for at, each in failed.items():
        if each.why is not None:
            rejected[at] = each.why
            if is_transient(each.code, each.why.reason):
                rejected[at] = replace(each.why, about="moment")
            elif each.code == NOT_FOUND:
                rejected[at] = replace(each.why, about="person")
    return Result(
        rejected={at: why for at, why in rejected.items() if why.about != "moment"},
        retry={at: why for at, why in rejected.items() if why.about == "moment"},
    )


def is_transient(code: str, message: str) -> bool:
    """Whether an error is over soon, or wraps one that is."""
    return code in AGAIN or (code in WRAPS and _WRAPPED.search(message) is not None)


def nested(row: Row) -> Row:
    """A row as JSON has it: a lookup is an object of the relation; one of nothing is the field, empty."""
    made: Row = {}
    for name, value in row.items():
        relation, _, field = name.partition(".")
        if field and value is None:
            field = relation.removesuffix("__r") + "__c" if relation.endswith("__r") else f"{relation}Id"
            made[field] = None
        else:
            made["id" if name == "Id" else relation] = {field: value} if field else value
    return made


def run_job(
    call: Callable[..., httpx.Request], about: Row, key: str, rows: list[Row]
) -> Asking[list[Outcome]]:
    """Have rows processed by a job, and give the outcome of each; `key` is the column that tells them
    apart. Raises Refused for a job that did nothing, Unfinished for one whose end is not known."""
    content = _csv(rows)
    for _ in range(_UPLOADS):
        job = (yield call("POST", "jobs/ingest", json=about)).json()["id"]
        yield call("PUT", f"jobs/ingest/{job}/batches", csv=content)
        closed = yield call("PATCH", f"jobs/ingest/{job}", json={"state": "UploadComplete"})
        # Data that was sent again, for want of an answer, spoils a job that had it: it does nothing.
        if error_of(closed)[0] != "INVALIDJOB":
            break
    else:
        raise Unfinished("its job could not be closed")
    ended = (
        yield from poll(
            lambda: call("GET", f"jobs/ingest/{job}"), lambda response: response.json()["state"] in _ENDED
        )
    ).json()
    if ended["state"] != "JobComplete" and not ended.get("numberRecordsProcessed"):
        why = ended.get("errorMessage") or "no reason is given"
        raise Refused(f"Salesforce ended the job {job} as {ended['state']}: {why}. Nothing of it was done.")
    found: dict[str, Outcome] = {}
    listed: dict[str, int] = {}
    for kind, read in (("successfulResults", _succeeded), ("failedResults", _failed)):
        answer = yield large(call("GET", f"jobs/ingest/{job}/{kind}"))
        listed[kind] = 0
        for line in csv.DictReader(lines_of(answer)):
            found[line[key]] = read(line)
            listed[kind] += 1
    _check_counts(ended, listed)
    left = Outcome(None, "UNPROCESSED", Rejection(ended.get("errorMessage") or "the job left it out"))
    return [found.get(_cell(row[key]), left) for row in rows]


def _check_counts(job: Mapping[str, Any], listed: Mapping[str, int]) -> None:
    """Raise Unfinished where a job lists fewer rows than it counts: an empty or cut result says nothing of
    the rows that it leaves out. A result of no rows is a header, or an empty body."""
    failed = job.get("numberRecordsFailed") or 0
    counted = {"successfulResults": job["numberRecordsProcessed"] - failed, "failedResults": failed}
    for kind, count in counted.items():
        if listed[kind] < count:
            raise Unfinished(f"its job counts {count:,} rows of {kind} and lists {listed[kind]:,}")


def _succeeded(line: Mapping[str, str]) -> Outcome:
    """The outcome of a row of `successfulResults`."""
    if not line["sf__Id"]:
        raise Unfinished("its job lists a row as successful, without the id of its record")
    return Outcome(line["sf__Id"])


def _failed(line: Mapping[str, str]) -> Outcome:
    """The outcome of a row of `failedResults`: `CODE:message:fields --`; the message may have colons, and the
    fields may be missing."""
    code, _, rest = line["sf__Error"].partition(":")
    message, has_fields, fields = rest.rpartition(":")
    is_named = bool(has_fields) and fields.endswith("--")
    field = re.match(r"\w+", fields) if is_named else None
    reason = f"{code}: {(message if is_named else rest) or 'no reason is given'}"
    return Outcome(
        None, code or "UNKNOWN_EXCEPTION", Rejection(reason.removeprefix(": "), field and field[0])
    )


def _csv(rows: list[Row]) -> str:
    """The rows, with each column that any of them has. An empty cell leaves a field as it is."""
    columns = {name: None for row in rows for name in row}
    made = io.StringIO(newline="")
    writer = csv.DictWriter(made, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return made.getvalue()


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "#N/A"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else orjson.dumps(value).decode()
