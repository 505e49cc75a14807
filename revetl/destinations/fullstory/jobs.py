"""Fullstory's import jobs: docs/destinations/fullstory.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

import orjson
from pydantic import Field, SecretStr

from revetl.destinations.base.destination import (
    Asking,
    Destination,
    Flow,
    poll,
)
from revetl.destinations.base.records import (
    Records,
    Rejection,
    Result,
    refusal,
)


class ImportJobs(Destination):
    """A destination that imports items in jobs, and reports failed items afterwards."""

    api_key: SecretStr
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://api.fullstory.com"
    job_timeout: Annotated[float, Field(gt=0)] = 3_600.0

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Basic {self.api_key.get_secret_value().removeprefix('Basic ')}"}

    def imported(
        self, kind: str, one: str, records: Records, items: Sequence[Mapping[str, Any]], by: Sequence[str]
    ) -> Flow:
        """Run an import job until it ends. Errors contain the whole item; its record is found by the keys in
        `by`."""
        key = {"Idempotency-Key": records.batch_id}
        answer = yield self.post(f"/v2/{kind}/batch", json={"requests": items}, headers=key)
        job = f"/v2/{kind}/batch/{quote(answer.json()['job']['id'], safe='')}"
        ended = yield from poll(
            lambda: self.request("GET", job),
            lambda response: response.json()["job"]["status"] != "PROCESSING",
            limit=self.job_timeout,
        )
        if ended.json()["job"]["status"] == "COMPLETED":
            return Result()
        places: dict[bytes, list[int]] = {}
        for at, item in enumerate(items):
            places.setdefault(_named(item, by), []).append(at)
        errors = yield from self.errors(job)
        rejected, unnamed = dict[int, str | Rejection](), "" if errors else "without details"
        for error in errors:
            why = f"{error.get('code', 'failed')}: {error.get('message', '')}"
            found = places.get(_named(error.get(one) or {}, by), [])
            rejected |= dict.fromkeys(found, refusal(why))
            unnamed = unnamed or ("" if found else why)
        # An error without a matching item may belong to any other item; re-importing users and events is
        # safe.
        others = [at for at in range(len(items)) if unnamed and at not in rejected]
        return Result(rejected, dict.fromkeys(others, f"its job failed in part: {unnamed}"))

    def errors(self, job: str) -> Asking[list[dict[str, Any]]]:
        """Read the errors of a job, page by page."""
        found, asked = list[dict[str, Any]](), dict[str, str]()
        while True:
            answer = yield self.request("GET", f"{job}/errors", params=asked)
            page = answer.json()
            found += page.get("results") or []
            if not page.get("next_page_token"):
                return found
            asked = {"page_token": page["next_page_token"]}


def _named(item: Mapping[str, Any], by: Sequence[str]) -> bytes:
    """Return the key that identifies an item."""
    return orjson.dumps([item.get(name) or None for name in by], option=orjson.OPT_SORT_KEYS)
