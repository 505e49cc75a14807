"""A workspace of Braze: how it is reached, who is known there, and what its audiences are."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Asking,
    Records,
    Refused,
    Verdict,
    object_of,
)
from revetl.destinations.braze.users import KINDS, known_as

NOT_CHARGED = {"_update_existing_only", "app_id", *(kind.name for kind in KINDS)}
"""What of an attributes object is no attribute."""

_NOBODY: dict[str, Any] = {"attributes": []}


class BrazeWorkspace(HasAudiences):
    """What is configured of a workspace, and the calls that are about no person."""

    charged_in: ClassVar[str | None] = "data points"

    api_key: SecretStr
    region: str | None = None
    base_url: Annotated[str, Field(pattern="^https?://")]
    alias_label: str | None = None
    audiences_as: Literal["attribute", "subscription_group"] = "attribute"
    purchase_events: tuple[str, ...] = ()
    app_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _endpoint(cls, data: Any) -> Any:
        """`endpoint` as Braze's dashboard names it, or the cluster, such as `us-05`, as `region`."""
        given = dict(data)
        endpoint = given.pop("endpoint", None)
        if "base_url" not in given:
            if endpoint:
                given["base_url"] = endpoint if "://" in endpoint else f"https://{endpoint}"
            elif region := given.get("region"):
                given["base_url"] = host_of(str(region))
        return given

    @property
    def in_groups(self) -> bool:
        """Whether an audience is a subscription group."""
        return self.audiences_as == "subscription_group"

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}

    def called(self, records: Records) -> str:
        """The attribute that an audience is."""
        return self.audience_of(records.audience) or records.audience

    def known(self, records: Records) -> list[dict[str, Any]]:
        """What each object names its user by."""
        return [known_as(record, self.alias_label) for record in records]

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """An alias has a label, of the configuration or its own; subscription groups know no alias."""
        if self.in_groups:
            return tuple(frozenset({kind.name}) for kind in KINDS if kind.in_groups)
        alias = frozenset({"alias_name"})
        label = frozenset() if self.alias_label else frozenset({"alias_label"})
        return tuple(each | label if each == alias else each for each in super().found_by(mode))

    def find_audience(self, audience: str) -> Asking[str | None]:
        if self.in_groups:
            raise Refused(
                f"Braze's API makes no subscription groups: make one in its dashboard, and set its id as "
                f"audiences: {{{audience}: ID}}."
            )
        # An attribute is there as soon as somebody has it.
        return audience
        yield

    def charge(self, request: httpx.Request) -> int:
        """A data point for every attribute, event and purchase; who it is of is none."""
        told = orjson.loads(request.content)
        attributes = sum(len(each.keys() - NOT_CHARGED) for each in told.get("attributes", ()))
        return attributes + len(told.get("events", ())) + len(told.get("purchases", ()))

    def probe(self) -> httpx.Request:
        """About nobody: a key that is taken gets as far as being told so."""
        return self.post("/users/track", json=_NOBODY)

    def judge(self, response: httpx.Response) -> Verdict:
        """A bad request that says which objects are bad, or that there are none, is read."""
        if response.status_code == 400:
            errors = object_of(response).get("errors") or []
            named = [error for error in errors if isinstance(error, dict) and "index" in error]
            if named or response.request.content == self.probe().content:
                return Verdict.PASS
        return super().judge(response)


def host_of(region: str) -> str:
    """The REST host of a Braze cluster: `us-05` is rest.iad-05.braze.com, `eu-01` rest.fra-01.braze.eu, and
    `us-10` rest.us-10.braze.com, as are those of other countries."""
    area, _, number = region.lower().partition("-")
    host = {"us": "iad-{}.braze.com", "eu": "fra-{}.braze.eu"}
    if area == "us" and number >= "10":
        host = {}
    return "https://rest." + host.get(area, f"{area}-{{}}.braze.com").format(number)
