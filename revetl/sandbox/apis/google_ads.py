"""Google Ads Customer Match, through its own API and the Data Manager API:
docs/destinations/google_ads.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from revetl.sandbox.apis.base import ApiRequest, ApiResponse, Call, refusing
from revetl.sandbox.rules import MisbehaviorRule
from revetl.sandbox.store import HeldByDestination

_SHA256 = re.compile("[0-9a-f]{64}")
_HASHED = ("hashedEmail", "hashedPhoneNumber", "emailAddress", "phoneNumber")
_NAMED = re.compile(r"user_list\.name = '((?:[^'\\]|\\.)*)'")
_OF_JOB = re.compile(r"resource_name = '([^']*)'")


@dataclass(frozen=True)
class GoogleAdsApi:
    """Lists, jobs and members of one account. A job stores its operations until it is run; every fourth job
    is still running on the first status request."""

    max_identifiers: int = 100_000
    max_members: int = 10_000
    name: str = "google_ads"

    def read(self, sent: ApiRequest, held: HeldByDestination) -> Call | ApiResponse:
        if not sent.bearer:
            return _error(401, "UNAUTHENTICATED", "authenticationError", "OAUTH_TOKEN_INVALID")
        of_google_ads = re.fullmatch("v[0-9]+", sent.parts[0]) and sent.parts[1:2] == ["customers"]
        if of_google_ads and "developer-token" not in sent.headers:
            return _error(403, "PERMISSION_DENIED", "authenticationError", "DEVELOPER_TOKEN_MISSING")
        match sent.method, sent.parts[1:]:
            case "POST", ["customers", _, "googleAds:search"]:
                return Call(sent.json()["query"], [], "search")
            case "POST", ["customers", customer, "userLists:mutate"]:
                operation = sent.json()["operations"][0]
                if (changed := operation.get("update")) is not None:
                    if operation["updateMask"] != "description":
                        return _error(400, "INVALID_ARGUMENT", "fieldMaskError", "FIELD_NOT_FOUND")
                    held.descriptions[changed["resourceName"].rpartition("/")[2]] = changed["description"]
                    return Call([{"resourceName": changed["resourceName"]}], [], "change")
                return Call((customer, operation["create"]["name"]), [], "create")
            case "POST", ["customers", customer, "offlineUserDataJobs:create"]:
                about = sent.json()["job"]["customerMatchUserListMetadata"]
                if about["userList"].rpartition("/")[2] not in held.lists:
                    return _error(400, "INVALID_ARGUMENT", "offlineUserDataJobError", "INVALID_USER_LIST_ID")
                return Call((customer, about), [], "new job")
            case "POST", ["customers", _, "offlineUserDataJobs", step]:
                return self._job(sent, held, *step.split(":"))
            case "GET", ["accountTypes", "GOOGLE_ADS", "accounts", _, "userLists", made]:
                return Call(made, [], "count")
            case "PATCH", ["accountTypes", "GOOGLE_ADS", "accounts", _, "userLists", made]:
                held.descriptions[made] = sent.json()["description"]
                return Call(made, [], "count")
            case _, ["accountTypes", "GOOGLE_ADS", "accounts", _, "userLists"]:
                return Call(
                    sent.json() if sent.raw else None, [], "list lists" if not sent.raw else "new list"
                )
            case "POST", ["audienceMembers:ingest" | "audienceMembers:remove" as verb]:
                return self._members(sent, held, verb.partition(":")[2])
        return _error(404, "NOT_FOUND", "requestError", "RPC_NOT_FOUND")

    def apply(self, call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        match call.operation:
            case "search":
                return ApiResponse(200, {"results": _found(call.body, held)})
            case "create":
                customer, name = call.body
                made = f"customers/{customer}/userLists/{held.new_list(name)}"
                return ApiResponse(200, {"results": [{"resourceName": made}]}, applied=True)
            case "change":
                return ApiResponse(200, {"results": call.body}, applied=True)
            case "count":
                about = {"displayNetworkMembersCount": str(_size(call.body, held))}
                text = held.descriptions.get(call.body)
                told = {} if text is None else {"description": text}
                return ApiResponse(200, {"id": call.body, "sizeInfo": about, **told})
            case "list lists":
                found = [{"id": each, "displayName": name} for each, name in held.lists.items()]
                return ApiResponse(200, {"userLists": found})
            case "new list":
                return ApiResponse(200, {"id": held.new_list(call.body["displayName"])}, applied=True)
            case "new job":
                customer, about = call.body
                job = held.new_job(list=about["userList"].rpartition("/")[2], operations=[], state="PENDING")
                return ApiResponse(200, {"resourceName": f"customers/{customer}/offlineUserDataJobs/{job}"})
            case "fill job":
                return _filled(call, rejecting)
            case "run job":
                return _run(call, held)
        return self._changed(call, held, rejecting)

    def _job(self, sent: ApiRequest, held: HeldByDestination, job: str, verb: str) -> Call | ApiResponse:
        if job not in held.jobs:
            return _error(404, "NOT_FOUND", "databaseError", "NOT_FOUND")
        if verb == "run":
            return Call((job, held.jobs[job]), [], "run job")
        if held.jobs[job]["state"] != "PENDING":
            return _error(400, "INVALID_ARGUMENT", "offlineUserDataJobError", "JOB_ALREADY_STARTED")
        body = sent.json()
        users = [next(iter(each.values()))["userIdentifiers"] for each in body["operations"]]
        if sum(map(len, users)) > self.max_identifiers or any(len(user) > 20 for user in users):
            return _error(400, "INVALID_ARGUMENT", "offlineUserDataJobError", "TOO_MANY_USER_IDENTIFIERS")
        return Call((held.jobs[job], body, users), [_person(user) for user in users], "fill job")

    def _members(self, sent: ApiRequest, held: HeldByDestination, verb: str) -> Call | ApiResponse:
        body = sent.json()
        if body["destinations"][0]["productDestinationId"] not in held.lists:
            return refused([("destinations[0].product_destination_id", "INVALID_USER_LIST_ID")])
        if len(body["audienceMembers"]) > self.max_members:
            return refused([("audience_members", "TOO_MANY_AUDIENCE_MEMBERS")])
        if verb == "ingest" and "termsOfService" not in body:
            return refused([("terms_of_service", "TERMS_AND_CONDITIONS_NOT_SIGNED")])
        users = [each["userData"]["userIdentifiers"] for each in body["audienceMembers"]]
        return Call((body, users), [_person(user) for user in users], verb)

    @staticmethod
    def _changed(call: Call, held: HeldByDestination, rejecting: list[MisbehaviorRule]) -> ApiResponse:
        body, users = call.body
        bad = [
            (f"audience_members[{at}].user_data", "INVALID_SHA256_FORMAT")
            for at, (user, person) in enumerate(zip(users, call.ids, strict=True))
            if _unhashed(user) or refusing(rejecting, person)
        ]
        if bad:
            return refused(bad)
        audience = held.lists[body["destinations"][0]["productDestinationId"]]
        for user, person in zip(users, call.ids, strict=True):
            if call.operation == "ingest":
                held.put(audience, person, _known(user))
            else:
                held.take_out(audience, person)
        return ApiResponse(200, {"requestId": "sandbox"}, applied=True)


def _filled(call: Call, rejecting: list[MisbehaviorRule]) -> ApiResponse:
    job, body, users = call.body
    errors = []
    for at, (user, person) in enumerate(zip(users, call.ids, strict=True)):
        reason = refusing(rejecting, person) or ("not a SHA-256" if _unhashed(user) else None)
        if reason is not None:
            errors.append(_failure("offlineUserDataJobError", "INVALID_SHA256_FORMAT", reason, at))
        else:
            job["operations"].append((person, next(iter(body["operations"][at])), _known(user)))
    partial = {"code": 3, "message": "Multiple errors in 'details'.", "details": [{"errors": errors}]}
    return ApiResponse(200, {"partialFailureError": partial} if errors else {}, applied=True)


def _run(call: Call, held: HeldByDestination) -> ApiResponse:
    name, job = call.body
    if job["state"] != "PENDING":
        return _error(400, "INVALID_ARGUMENT", "offlineUserDataJobError", "JOB_ALREADY_STARTED")
    for person, operation, known in job["operations"]:
        if operation == "create":
            held.put(held.lists[job["list"]], person, known)
        else:
            held.take_out(held.lists[job["list"]], person)
    job["state"] = "RUNNING" if name.endswith(("3", "7")) else "SUCCESS"
    return ApiResponse(200, {"name": "operations/sandbox"}, applied=True)


def _found(query: str, held: HeldByDestination) -> list[dict[str, Any]]:
    """Return the rows of the few supported queries."""
    if job := _OF_JOB.search(query):
        about = held.jobs[job[1].rpartition("/")[2]]
        state, about["state"] = about["state"], "SUCCESS"
        return [{"offlineUserDataJob": {"status": state}}]
    if named := _NAMED.search(query):
        name = re.sub(r"\\(.)", r"\1", named[1])
        return [{"userList": {"id": each}} for each, there in held.lists.items() if there == name]
    if "size_for_display" in query:
        return [{"userList": {"sizeForDisplay": str(_size(query.rpartition(" ")[2], held))}}]
    if "user_list.description" in query:
        return [{"userList": {"description": held.descriptions.get(query.rpartition(" ")[2], "")}}]
    return [{"customer": {"id": "1"}}]


def _size(made: str, held: HeldByDestination) -> int:
    return len(held.audiences[held.lists[made]])


def _person(user: list[dict[str, Any]]) -> str:
    """Return a person's first identifier."""
    return str(next(iter(user[0].values()))) if user else ""


def _known(user: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: value for each in user for name, value in each.items()}


def _unhashed(user: list[dict[str, Any]]) -> bool:
    return any(name in _HASHED and not _SHA256.fullmatch(value) for name, value in _known(user).items())


def _failure(kind: str, code: str, message: str, at: int | None = None) -> dict[str, Any]:
    path = [] if at is None else [{"fieldName": "operations", "index": at}]
    return {"errorCode": {kind: code}, "message": message, "location": {"fieldPathElements": path}}


def _error(status: int, word: str, kind: str, code: str) -> ApiResponse:
    details = [{"errors": [_failure(kind, code, "returned by the sandbox")]}]
    return ApiResponse(
        status, {"error": {"code": status, "message": code, "status": word, "details": details}}
    )


def refused(bad: list[tuple[str, str]]) -> ApiResponse:
    """Return the Data Manager API's response to an invalid request."""
    violations: list[Mapping[str, str]] = [
        {"field": field, "description": "returned by the sandbox", "reason": reason} for field, reason in bad
    ]
    details = [{"reason": "INVALID_ARGUMENT"}, {"fieldViolations": violations}]
    error = {"code": 400, "message": "There was a problem", "status": "INVALID_ARGUMENT", "details": details}
    return ApiResponse(400, {"error": error})
