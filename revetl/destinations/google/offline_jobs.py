"""Customer Match through the Google Ads API's offline user data jobs: docs/destinations/google_ads.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import httpx

from revetl.destinations.base.destination import (
    Asking,
    Flow,
    Record,
    Records,
    Rejection,
    Result,
    poll,
)
from revetl.destinations.google.common import (
    ADDRESS,
    SINGLE,
    WAYS_OUT,
    answer_of,
    call,
    errors_in,
    refusal,
    rejection,
    search,
)
from revetl.destinations.google.lists import (
    create_audience,
    describe,
    description,
    find_audience,
    matched,
    probe,
)

if TYPE_CHECKING:
    from revetl.destinations.google.ads import GoogleAds

__all__ = ["add", "create_audience", "describe", "description", "find_audience", "matched", "probe", "remove"]

IDENTIFIERS_A_REQUEST = 10_000
"""Google's recommendation; the maximum is 100,000."""
JOB = """
    SELECT offline_user_data_job.status, offline_user_data_job.failure_reason
    FROM offline_user_data_job
    WHERE offline_user_data_job.resource_name = '{}'
    LIMIT 1
"""


def add(ads: GoogleAds, records: Records) -> Flow:
    """Add a batch to the list."""
    return job(ads, "create", records)


def remove(ads: GoogleAds, records: Records) -> Flow:
    """Remove a batch from the list."""
    return job(ads, "remove", records)


def job(ads: GoogleAds, operation: str, records: Records) -> Flow:
    """Create a job for a batch, fill it, run it, and wait for it. Rejected records aren't part of the job."""
    about: dict[str, Any] = {"userList": f"customers/{ads.customer_id}/userLists/{records.audience_id}"}
    if operation == "create" and ads.consent:
        about["consent"] = ads.consent
    made = {"type": "CUSTOMER_MATCH_USER_LIST", "customerMatchUserListMetadata": about}
    answer = answer_of((yield call(ads, "offlineUserDataJobs:create", {"job": made})))
    name = answer["resourceName"]
    rejected: dict[int, Rejection] = {}
    for first, operations in _requests(operation, records):
        body = {"enablePartialFailure": True, "operations": operations}
        answer = answer_of((yield ads.post(f"/{ads.version}/{name}:addOperations", json=body)))
        rejected |= {first + at: why for at, why in _failures(answer).items()}
    if len(rejected) == len(records):
        return Result(rejected=rejected)
    answer_of((yield ads.post(f"/{ads.version}/{name}:run", json={})))
    if ads.job_timeout and (failed := (yield from failure(ads, name))):
        others = [at for at in range(len(records)) if at not in rejected]
        return Result(rejected=rejected, retry=dict.fromkeys(others, f"its job failed: {failed}"))
    return Result(rejected=rejected)


def failure(ads: GoogleAds, name: str) -> Asking[str | None]:
    """Wait for a job; returns the reason if it failed, or None. Raises Unfinished if it takes too long."""

    def state(response: httpx.Response) -> Mapping[str, Any]:
        found: Mapping[str, Any] = answer_of(response)["results"][0]["offlineUserDataJob"]
        return found

    last = yield from poll(
        lambda: search(ads, JOB.format(name)),
        lambda response: state(response)["status"] not in ("PENDING", "RUNNING"),
        limit=ads.job_timeout,
    )
    return str(state(last).get("failureReason", "UNKNOWN")) if state(last)["status"] == "FAILED" else None


def _user(record: Record) -> list[dict[str, Any]]:
    """Return one object per identifier; an address is a single identifier, included only if complete."""
    known = record.identifiers
    found: list[dict[str, Any]] = [{name: known[name]} for name in SINGLE if name in known]
    if known.keys() >= {*ADDRESS}:
        found.append({"addressInfo": {part: known[part] for part in ADDRESS}})
    return found


def _requests(operation: str, records: Records) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Split a job's operations into requests, each with the index of its first operation."""
    first, count, operations = 0, 0, list[dict[str, Any]]()
    for at, record in enumerate(records):
        user = _user(record)
        if count + len(user) > IDENTIFIERS_A_REQUEST:
            yield first, operations
            first, count, operations = at, 0, []
        operations.append({operation: {"userIdentifiers": user}})
        count += len(user)
    yield first, operations


def _failures(answer: Mapping[str, Any]) -> dict[int, Rejection]:
    """Return the rejected operations, by index. Raises Refused for errors that no operation caused."""
    status = answer.get("partialFailureError") or {}
    found: dict[int, Rejection] = {}
    for code, error in errors_in(status):
        path = error.get("location", {}).get("fieldPathElements", [])
        at = next((int(part.get("index", 0)) for part in path if part["fieldName"] == "operations"), None)
        if at is None or code in WAYS_OUT:
            raise refusal(status)
        found.setdefault(at, rejection(code, error, str(path[-1]["fieldName"])))
    if status.get("code") and not found:
        raise refusal(status)
    return found
