"""Writes rows to Salesforce with a result for each: collections, and Bulk API 2.0 jobs."""

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
    JobUnfinished,
    Refused,
    Rejection,
    Result,
    poll,
)
from revetl.destinations.base.large_answers import large, lines_of

Row = dict[str, Any]
"""A record's fields by name; lookups are named like `Account.Ext_Id__c`."""

AGAIN = frozenset(
    {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "UNPROCESSED"}
    | {"QUERY_TIMEOUT", "ENTITY_IS_LOCKED", "API_CURRENTLY_DISABLED", "CONCURRENT_UPDATE_ERROR"}
)
"""Temporary error codes."""
WRAPS = frozenset({"CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "CANNOT_EXECUTE_FLOW_TRIGGER", "APEX_ERROR"})
"""Error codes of the org's own triggers and flows, which may wrap one of the others."""
_WRAPPED = re.compile(
    "UNABLE_TO_LOCK_ROW|QUERY_TIMEOUT|ENTITY_IS_LOCKED|Too many (SOQL|DML|query)|LimitException"
    "|CPU time limit|Record Currently Unavailable|CONCURRENT",
    re.IGNORECASE,
)
OF_ORG = frozenset(
    {"STORAGE_LIMIT_EXCEEDED", "API_DISABLED_FOR_ORG", "FUNCTIONALITY_NOT_ENABLED", "LICENSE_LIMIT_EXCEEDED"}
    | {"INVALID_SESSION_ID", "INVALID_TYPE", "INVALID_FIELD"}
)
"""Error codes that concern the org or the mapping, regardless of the row."""
NOT_FOUND = "NOT_FOUND"
_ENDED = frozenset({"JobComplete", "Failed", "Aborted"})
_UPLOADS = 5


class RowResult(NamedTuple):
    """The outcome of a row: its record's id, or the error code and the rejection."""

    id: str | None = None
    code: str = ""
    why: Rejection | None = None


def error_of(response: httpx.Response) -> tuple[str, str]:
    """Return the code and message of an error response; empty for any other."""
    try:
        told = orjson.loads(response.content)[0]
        return str(told["errorCode"]), str(told["message"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return "", ""


def outcome_of(answer: Mapping[str, Any]) -> RowResult:
    """Return the outcome of a row from its result in a collection response."""
    if answer["success"]:
        return RowResult(answer["id"])
    error = answer["errors"][0]
    code, fields = error["statusCode"], error.get("fields") or [None]
    return RowResult(None, code, Rejection(f"{code}: {error['message']}", fields[0]))


def result_of(outcomes: Iterable[tuple[int, RowResult]], fine: Collection[str] = ()) -> Result:
    """Return the result of a batch, by position; error codes in `fine` count as success."""
    outcomes = list(outcomes)
    failed = {at: each for at, each in outcomes if each.why is not None and each.code not in fine}
    for each in failed.values():
        if each.code in OF_ORG and each.why is not None:
            raise Refused(f"Salesforce returned an error: {each.why.reason}.", partly=True)
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
    """Whether an error is temporary, or wraps a temporary one."""
    return code in AGAIN or (code in WRAPS and _WRAPPED.search(message) is not None)


def nested(row: Row) -> Row:
    """Return a row in JSON format: a lookup is an object of the relation; an empty lookup is the empty
    field."""
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
) -> Asking[list[RowResult]]:
    """Process rows in a job and return the outcome of each; `key` is the column that identifies a row. Raises
    Refused if the job did nothing, Unfinished if its outcome is unknown."""
    content = _csv(rows)
    for _ in range(_UPLOADS):
        job = (yield call("POST", "jobs/ingest", json=about)).json()["id"]
        yield call("PUT", f"jobs/ingest/{job}/batches", csv=content)
        closed = yield call("PATCH", f"jobs/ingest/{job}", json={"state": "UploadComplete"})
        # Uploading data again after a lost response invalidates the job, which then does nothing.
        if error_of(closed)[0] != "INVALIDJOB":
            break
    else:
        raise JobUnfinished("its job could not be closed")
    ended = (
        yield from poll(
            lambda: call("GET", f"jobs/ingest/{job}"), lambda response: response.json()["state"] in _ENDED
        )
    ).json()
    if ended["state"] != "JobComplete" and not ended.get("numberRecordsProcessed"):
        why = ended.get("errorMessage") or "no reason given"
        raise Refused(f"Salesforce ended the job {job} as {ended['state']}: {why}. No rows were processed.")
    found: dict[str, RowResult] = {}
    listed: dict[str, int] = {}
    for kind, read in (("successfulResults", _succeeded), ("failedResults", _failed)):
        answer = yield large(call("GET", f"jobs/ingest/{job}/{kind}"))
        listed[kind] = 0
        for line in csv.DictReader(lines_of(answer)):
            found[line[key]] = read(line)
            listed[kind] += 1
    _check_counts(ended, listed)
    left = RowResult(
        None, "UNPROCESSED", Rejection(ended.get("errorMessage") or "the job did not process it")
    )
    return [found.get(_cell(row[key]), left) for row in rows]


def _check_counts(job: Mapping[str, Any], listed: Mapping[str, int]) -> None:
    """Raise Unfinished if a job lists fewer rows than it counts: an empty or truncated result says nothing
    about the missing rows. A result without rows is a header, or an empty body."""
    failed = job.get("numberRecordsFailed") or 0
    counted = {"successfulResults": job["numberRecordsProcessed"] - failed, "failedResults": failed}
    for kind, count in counted.items():
        if listed[kind] < count:
            raise JobUnfinished(f"its job counts {count:,} rows of {kind} but lists {listed[kind]:,}")


def _succeeded(line: Mapping[str, str]) -> RowResult:
    """Return the outcome of a row of `successfulResults`."""
    if not line["sf__Id"]:
        raise JobUnfinished("its job lists a row as successful without its record's id")
    return RowResult(line["sf__Id"])


def _failed(line: Mapping[str, str]) -> RowResult:
    """Return the outcome of a row of `failedResults`: `CODE:message:fields --`. The message may contain
    colons, and the fields may be missing."""
    code, _, rest = line["sf__Error"].partition(":")
    message, has_fields, fields = rest.rpartition(":")
    is_named = bool(has_fields) and fields.endswith("--")
    field = re.match(r"\w+", fields) if is_named else None
    reason = f"{code}: {(message if is_named else rest) or 'no reason given'}"
    return RowResult(
        None, code or "UNKNOWN_EXCEPTION", Rejection(reason.removeprefix(": "), field and field[0])
    )


def _csv(rows: list[Row]) -> str:
    """Return the rows with every column that occurs. An empty cell leaves a field unchanged."""
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
