"""Salesforce's REST API and Bulk API 2.0: docs/destinations/salesforce.md."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.apis.salesforce_org import (
    PREFIXES,
    REQUIRED,
    Row,
    campaign_id,
    described,
    fields_of,
    kind_of,
    list_of,
    member_id,
    query,
)
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_DAILY = 100_000
_RESULTS = {"successfulresults": "sf__Id", "failedresults": "sf__Error", "unprocessedrecords": ""}
_DELETES = ("delete", "hardDelete")
_WRITES = {"POST": "insert", "PATCH": "update", "DELETE": "delete"}


@dataclass(frozen=True)
class SalesforceApi:
    """An org with leads, contacts, accounts, campaigns and tasks. A record is identified by External_Id__c,
    else its email address. A job is in progress on the first status request, and then finished."""

    most: int = 200
    name: str = "salesforce"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if sent.parts == ["services", "oauth2", "token"]:
            return _token(sent)
        if not sent.bearer:
            return _error(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if sent.parts[:2] != ["services", "data"] or len(sent.parts) < 4:
            return _error(404, "NOT_FOUND", "The requested resource does not exist")
        found = self._found(sent, held, sent.parts[3:])
        if found is None:
            return _error(404, "NOT_FOUND", "The requested resource does not exist")
        return found

    def _found(self, sent: ApiRequest, held: HeldByDestination, path: list[str]) -> Call | ApiResponse | None:
        match sent.method, path:
            case "GET", ["limits"]:
                left = _DAILY - len(held.log)
                return Call({"DailyApiRequests": {"Max": _DAILY, "Remaining": left}}, [], "probe")
            case "GET", ["sobjects", kind, "describe"] if fields_of(kind):
                return Call(described(kind), [], "describe")
            case "GET", ["query"]:
                return Call(sent.asked["q"], [], "query")
            case "POST", ["sobjects", "Campaign"]:
                return Call(sent.json()["Name"], [], "create")
            case "PATCH", ["composite", "sobjects", kind, by]:
                return self._rows(kind, "upsert", by, sent.json()["records"], held)
            case "DELETE", ["composite", "sobjects"]:
                rows = [{"Id": each} for each in sent.asked["ids"].split(",")]
                return self._rows("", "delete", "Id", rows, held)
            case (("POST" | "PATCH"), ["composite", "sobjects"]):
                rows = sent.json()["records"]
                kind = rows[0]["attributes"]["type"]
                return self._rows(kind, _WRITES[sent.method], "Id", rows, held)
            case _, ["jobs", "ingest", *rest]:
                return _job(sent, held, rest)
        return None

    def _rows(
        self, kind: str, operation: str, by: str, rows: list[Row], held: HeldByDestination
    ) -> Call | ApiResponse:
        if len(rows) > self.most:
            return _error(400, "LIMIT_EXCEEDED", f"record limit reached: {self.most}")
        plain = [_flat(row) for row in rows]
        for row in plain:
            for name, value in row.items():
                if operation not in _DELETES and name != "Id" and not _is_field(kind, name):
                    return _error(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {kind}")
                if _is_of_another_type(kind, name, value):
                    return _error(400, "JSON_PARSER_ERROR", f"Cannot deserialize instance of {name}")
        about = {"kind": kind, "operation": operation, "by": by, "rows": plain}
        return Call(about, [_called(row, held) for row in plain], operation)

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        answer = self._apply(call, held, rejecting)
        # The current request isn't in the log yet.
        usage = {"Sforce-Limit-Info": f"api-usage={len(held.log) + 1}/{_DAILY}"}
        return replace(answer, headers={**answer.headers, **usage})

    def _apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "query":
                try:
                    return ApiResponse(200, query(call.body, held))
                except ValueError as error:
                    return _error(400, "MALFORMED_QUERY", str(error))
            case "create":
                made = campaign_id(held.new_list(call.body))
                return ApiResponse(201, {"id": made, "success": True, "errors": []}, applied=True)
            case "insert" | "upsert" | "update" | "delete" | "hardDelete":
                return ApiResponse(200, [_json(each) for each in _write(call, held, rejecting)], applied=True)
            case "job":
                about = {"state": "Open", "uploads": 0, "rows": [], "results": []}
                named = {"kind": call.body["object"], "by": call.body.get("externalIdFieldName", "Id")}
                made = held.new_job(**about, **named, operation=call.body["operation"])
                return ApiResponse(200, {**call.body, "id": made, "state": "Open"}, applied=True)
            case "upload":
                job = held.jobs[call.body["job"]]
                job["uploads"] += 1
                job["rows"] = call.body["rows"]
                return ApiResponse(201, "", applied=True)
            case "close":
                return _close(call, held, rejecting)
            case "state":
                return _state(call.body, held)
        return ApiResponse(200, call.body)


def _token(sent: ApiRequest) -> Call | ApiResponse:
    form = sent.form()
    needed = {
        "client_credentials": ("client_id", "client_secret"),
        "refresh_token": ("client_id", "refresh_token"),
        "urn:ietf:params:oauth:grant-type:jwt-bearer": ("assertion",),
    }.get(form.get("grant_type", ""))
    if needed is None:
        return ApiResponse(
            400, {"error": "unsupported_grant_type", "error_description": "grant type not supported"}
        )
    if not all(form.get(name) for name in needed):
        return ApiResponse(400, {"error": "invalid_grant", "error_description": "authentication failure"})
    at = "https://sandbox.my.salesforce.com"
    return Call({"access_token": "SANDBOX", "instance_url": at, "token_type": "Bearer"}, [], "token")


def _job(sent: ApiRequest, held: HeldByDestination, path: list[str]) -> Call | ApiResponse | None:
    if sent.method == "POST" and not path:
        return Call(sent.json(), [], "job")
    job = held.jobs.get(path[0])
    if job is None:
        return None
    match sent.method, path[1:]:
        case "PUT", ["batches"]:
            if job["state"] != "Open":
                return _error(400, "INVALIDJOBSTATE", f"Job is {job['state']}")
            rows = list(csv.DictReader(io.StringIO(sent.raw.decode(), newline="")))
            return Call({"job": path[0], "rows": rows}, [_called(row, held) for row in rows], "upload")
        case "PATCH", []:
            return Call(path[0], [_called(row, held) for row in job["rows"]], "close")
        case "GET", []:
            return Call(path[0], [], "state")
        case "GET", [kind] if kind.lower() in _RESULTS:
            return Call(_results(job, _RESULTS[kind.lower()]), [], "results")
    return None


def _close(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    job = held.jobs[call.body]
    if job["state"] != "Open":
        return _error(400, "INVALIDJOBSTATE", "Closing already closed Job not allowed")
    if job["uploads"] != 1:
        return _error(400, "INVALIDJOB", f"Found multiple contents for job: <{call.body}>")
    unknown = [name for name in job["rows"][0] if name != "Id" and not _is_field(job["kind"], name)]
    if unknown and job["operation"] not in _DELETES:
        job |= {"state": "Failed", "errorMessage": f"InvalidBatch : Field name not found : {unknown[0]}"}
        return ApiResponse(200, {"id": call.body, "state": "UploadComplete"}, applied=True)
    read = [_read(job["kind"], row) for row in job["rows"]]
    about = {"kind": job["kind"], "operation": job["operation"], "by": job["by"], "rows": read}
    job["results"] = _write(Call(about, call.ids, job["operation"]), held, rejecting)
    job["state"] = "UploadComplete"
    return ApiResponse(200, {"id": call.body, "state": "UploadComplete"}, applied=True)


def _state(name: str, held: HeldByDestination) -> ApiResponse:
    job = held.jobs[name]
    following = {"UploadComplete": "InProgress", "InProgress": "JobComplete"}
    job["state"] = following.get(job["state"], job["state"])
    results = job["results"] if job["state"] == "JobComplete" else []
    about = {
        "id": name,
        "object": job["kind"],
        "operation": job["operation"],
        "state": job["state"],
        "numberRecordsProcessed": len(results),
        "numberRecordsFailed": sum(error is not None for _, error in results),
        "errorMessage": job.get("errorMessage"),
    }
    return ApiResponse(200, about)


def _results(job: dict[str, Any], kind: str) -> str:
    """Return the CSV of one kind of results, with the columns that Salesforce adds."""
    made = io.StringIO(newline="")
    columns = {"sf__Id": ["sf__Id", "sf__Created"], "sf__Error": ["sf__Id", "sf__Error"]}.get(kind, [])
    writer = csv.DictWriter(made, [*columns, *(job["rows"][0] if job["rows"] else ())], lineterminator="\n")
    writer.writeheader()
    for row, (made_id, error) in zip(job["rows"], job["results"], strict=False):
        if error is not None and kind == "sf__Error":
            fields = ",".join(error["fields"])
            said = f"{error['statusCode']}:{error['message']}:{fields} --"
            writer.writerow({**row, "sf__Id": made_id or "", "sf__Error": said})
        elif error is None and kind == "sf__Id":
            writer.writerow({**row, "sf__Id": made_id, "sf__Created": "true"})
    return made.getvalue()


Outcome = tuple[str | None, Row | None]
"""The id of a record, and its error if any."""


def _write(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> list[Outcome]:
    kind, operation, by = (call.body[name] for name in ("kind", "operation", "by"))
    ids = {row["Id"]: person for person, row in held.profiles.items()}
    outcomes: list[Outcome] = []
    for row, name in zip(call.body["rows"], call.ids, strict=True):
        if (reason := refusing(rejecting, name)) is not None:
            outcomes.append((None, _wrong("FIELD_CUSTOM_VALIDATION_EXCEPTION", reason)))
        elif operation in _DELETES:
            outcomes.append(_delete(row["Id"], held, ids))
        elif kind == "CampaignMember":
            outcomes.append(_join(row, held, ids))
        elif kind == "Task":
            held.track(row.get("External_Id__c"), name, row.get("Subject", ""), row)
            outcomes.append((f"00T{len(held.events):015}", None))
        else:
            outcomes.append(_person(kind, operation, by, row, held, ids))
    return outcomes


def _person(
    kind: str, operation: str, by: str, row: Row, held: HeldByDestination, ids: dict[str, str]
) -> Outcome:
    key = row.pop("Id", None)
    named = (
        None if operation == "insert" else ids.get(key) if operation == "update" else _by(kind, by, row, held)
    )
    if operation == "update" and named is None:
        return None, _wrong("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", "Id")
    for name in [name for name in row if "." in name]:
        relation, _, field = name.partition(".")
        value = row.pop(name)
        other = _by(relation, field, {field: value}, held)
        if other is None:
            return None, _wrong(
                "INVALID_FIELD", f"Foreign key external ID: {value} not found for field {field}"
            )
        row[f"{relation}Id"] = held.profiles[other]["Id"]
    if named is None:
        lacking = [name for name in REQUIRED[kind] if not row.get(name)]
        if lacking:
            return None, _wrong(
                "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(lacking)}]", *lacking
            )
        named = str(row.get("External_Id__c") or row.get("Email"))
        if operation == "insert" and named in held.profiles:
            said = f"duplicate value found: External_Id__c duplicates value on record with id: {named}"
            return None, _wrong("DUPLICATE_VALUE", said)
        held.put(None, named, {"Id": f"{PREFIXES[kind]}{len(held.profiles) + 1:015}"})
    if "@" not in str(row.get("Email") or "@"):
        return None, _wrong("INVALID_EMAIL_ADDRESS", f"Email: invalid email address: {row['Email']}", "Email")
    held.put(None, named, row)
    return held.profiles[named]["Id"], None


def _join(row: Row, held: HeldByDestination, ids: dict[str, str]) -> Outcome:
    made = list_of(row["CampaignId"])
    person = ids.get(next((row[f"{kind}Id"] for kind in PREFIXES if row.get(f"{kind}Id")), ""))
    if made not in held.lists or person is None:
        return None, _wrong("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    audience = held.lists[made]
    if person in held.audiences[audience]:
        return None, _wrong("DUPLICATE_VALUE", "Already a campaign member.")
    held.put(audience, person, {})
    return member_id(made, held.profiles[person]["Id"]), None


def _delete(key: str, held: HeldByDestination, ids: dict[str, str]) -> Outcome:
    if key.startswith("00v"):
        audience = held.lists[key[3:8].lstrip("0")]
        person = next((each for made, each in ids.items() if made[-10:] == key[8:]), None)
        if person is None or person not in held.audiences[audience]:
            return None, _wrong("ENTITY_IS_DELETED", "entity is deleted")
        held.take_out(audience, person)
        return key, None
    if key not in ids:
        return None, _wrong("ENTITY_IS_DELETED", "entity is deleted")
    held.erase(ids[key])
    return key, None


def _by(kind: str, by: str, row: Row, held: HeldByDestination) -> str | None:
    """Return the record that shares a row's value in a field."""
    value = str(row.get(by)).casefold()
    if by == "External_Id__c":
        named = str(row.get(by))
        return named if named in held.profiles and kind_of(held.profiles[named]) == kind else None
    for person, fields in held.profiles.items():
        if kind_of(fields) == kind and str(fields.get(by)).casefold() == value:
            return person
    return None


def _called(row: Row, held: HeldByDestination) -> str:
    """Return a row's name in the log: the person's name."""
    for name in ("External_Id__c", "Email"):
        if row.get(name):
            return str(row[name])
    made = next(
        (
            str(row[name])
            for name in ("ContactId", "LeadId", "AccountId", "WhoId", "WhatId", "Id")
            if row.get(name)
        ),
        "",
    )
    return next((person for person, fields in held.profiles.items() if fields["Id"] == made), made)


def _flat(row: Row) -> Row:
    """Convert a JSON row to the format of a CSV row: lookups become paths."""
    made: Row = {}
    for name, value in row.items():
        if name == "attributes":
            continue
        if isinstance(value, dict):
            made |= {f"{name}.{field}": inner for field, inner in value.items()}
        else:
            made["Id" if name == "id" else name] = value
    return made


def _read(kind: str, row: Row) -> Row:
    """Parse the values of a CSV row: empty cells are ignored, `#N/A` clears a field."""
    readers: dict[str, Any] = {"double": float, "boolean": lambda text: text == "true"}
    types = fields_of(kind)
    return {
        name: None if value == "#N/A" else readers.get(types.get(name, ""), str)(value)
        for name, value in row.items()
        if value != ""
    }


def _is_field(kind: str, name: str) -> bool:
    relation, dot, _ = name.partition(".")
    return (f"{relation}Id" if dot else name) in fields_of(kind)


def _is_of_another_type(kind: str, name: str, value: Any) -> bool:
    types: dict[str, Any] = {"double": int | float, "boolean": bool}
    wanted = types.get(fields_of(kind).get(name, ""))
    return wanted is not None and value is not None and not isinstance(value, wanted)


def _wrong(code: str, message: str, *fields: str) -> Row:
    return {"statusCode": code, "message": message, "fields": list(fields)}


def _json(outcome: Outcome) -> Row:
    made, error = outcome
    if error is not None:
        return {"success": False, "errors": [error]}
    return {"id": made, "success": True, "errors": []}


def _error(status: int, code: str, message: str) -> ApiResponse:
    return ApiResponse(status, [{"message": message, "errorCode": code}])
