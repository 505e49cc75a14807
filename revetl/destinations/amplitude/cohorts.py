"""Amplitude's behavioral cohorts, which add people by user id, and its deletions. Their host differs from
that of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import orjson
from pydantic import Field, SecretStr

from revetl.destinations.auth.basic import basic
from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import Asking, Flow, Refused
from revetl.destinations.base.records import Records, Result, SyncContext


class AmplitudeCohorts(HasAudiences):
    """Cohorts of a project. A cohort is created with at least one existing user, who is then removed."""

    api_key: SecretStr
    secret_key: SecretStr | None = None
    app_id: int | None = None
    owner: str | None = None
    seed_user_id: str | None = None
    app_url: Annotated[str, Field(pattern="^https?://")]

    def ask(
        self, method: str, path: str, *, json: Any = None, asked: Mapping[str, str] | None = None
    ) -> httpx.Request:
        """Build a request to the app's API."""
        said = {"Content-Type": "application/json"} if json is not None else {}
        secret = self.secret_key.get_secret_value() if self.secret_key else ""
        known = basic(self.api_key.get_secret_value(), secret)
        return httpx.Request(
            method,
            self.app_url.rstrip("/") + path,
            params=asked,
            headers={"Authorization": known, **said},
            content=None if json is None else orjson.dumps(json),
        )

    def prepare(self, mode: str, context: SyncContext, fields: Mapping[str, str]) -> Asking[SyncContext]:
        if mode in ("mirror", "delete") and self.secret_key is None:
            raise Refused("amplitude: cohorts and deletions need the project's secret_key. Set it.")
        return (yield from super().prepare(mode, context, fields))

    def find_audience(self, audience: str) -> Asking[str | None]:
        answer = yield self.ask("GET", "/api/3/cohorts")
        there = answer.json()["cohorts"]
        found = [each["id"] for each in there if each["name"] == audience and not each.get("archived")]
        return str(found[0]) if found else None

    def create_audience(self, audience: str) -> Asking[str]:
        if self.app_id is None or self.owner is None:
            raise Refused(
                f"amplitude: cohort '{audience}' does not exist, and creating it requires app_id (the "
                "project's) and owner (the login of the cohort's owner). Set them, or audience_id."
            )
        seed = self.seed_user_id or (yield from self.somebody())
        about = {"name": audience, "app_id": self.app_id, "owner": self.owner, "published": True}
        about |= {"id_type": "BY_USER_ID", "ids": [seed]}
        answer = yield self.ask("POST", "/api/3/cohorts/upload", json=about)
        # The documentation has one spelling, the actual response the other.
        made = answer.json()
        cohort = str(made.get("cohort_id") or made["cohortId"])
        yield self.membership(cohort, "REMOVE", [seed])
        return cohort

    def somebody(self) -> Asking[str]:
        """Find the id of any existing user."""
        for start in "123456789":
            answer = yield self.ask("GET", "/api/2/usersearch", asked={"user": start})
            for match in answer.json().get("matches", []):
                if match.get("user_id"):
                    return str(match["user_id"])
        raise Refused(
            "amplitude: a new cohort needs at least one user, and no user was found. Set seed_user_id to the "
            "id of a user (who is removed again), or audience_id to the id of an existing cohort."
        )

    def membership(self, cohort: str, operation: str, people: list[str]) -> httpx.Request:
        """Build the request that adds people to a cohort, or removes them."""
        change = {"ids": people, "id_type": "BY_NAME", "operation": operation}
        about = {"cohort_id": cohort, "memberships": [change], "skip_invalid_ids": True}
        return self.ask("POST", "/api/3/cohorts/membership", json=about)

    def erase(self, records: Records) -> Flow:
        """Request the deletion of people, as a job in Amplitude; unknown people count as deleted."""
        people = [str(record.identifiers["user_id"]) for record in records]
        about = {"user_ids": people, "ignore_invalid_id": "true", "requester": self.owner or "revetl"}
        yield self.ask("POST", "/api/2/deletions/users", json=about)
        return Result()
