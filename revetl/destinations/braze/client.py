"""A Braze workspace: endpoint, identifiers, and audiences."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    Asking,
    Disposition,
    Records,
    Refused,
    object_of,
)
from revetl.destinations.braze.users import KINDS, known_as

NOT_CHARGED = {"_update_existing_only", "app_id", *(kind.name for kind in KINDS)}
"""Keys of an attributes object that aren't attributes, so they cost no data points."""

_NOBODY: dict[str, Any] = {"attributes": []}


class BrazeWorkspace(HasAudiences):
    """Configuration of a workspace, and calls that don't concern a person."""

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
        """Accept `endpoint` as shown in Braze's dashboard, or the cluster, such as `us-05`, as `region`."""
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
        """Whether audiences are subscription groups."""
        return self.audiences_as == "subscription_group"

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}

    def called(self, records: Records) -> str:
        """Return the attribute that represents an audience."""
        return self.audience_of(records.audience) or records.audience

    def known(self, records: Records) -> list[dict[str, Any]]:
        """Return the user identifiers of each object."""
        return [known_as(record, self.alias_label) for record in records]

    def found_by(self, mode: str) -> tuple[frozenset[str], ...]:
        """Aliases need a label, configured or mapped; subscription groups don't support aliases."""
        if self.in_groups:
            return tuple(frozenset({kind.name}) for kind in KINDS if kind.in_groups)
        alias = frozenset({"alias_name"})
        label = frozenset() if self.alias_label else frozenset({"alias_label"})
        return tuple(each | label if each == alias else each for each in super().found_by(mode))

    def find_audience(self, audience: str) -> Asking[str | None]:
        if self.in_groups:
            raise Refused(
                "Braze's API cannot create subscription groups. Create one in the dashboard, and set its id "
                f"as audiences: {{{audience}: ID}}."
            )
        # A custom attribute exists as soon as somebody has it.
        return audience
        yield

    def charge(self, request: httpx.Request) -> int:
        """Count a data point for every attribute, event and purchase; identifiers are free."""
        told = orjson.loads(request.content)
        attributes = sum(len(each.keys() - NOT_CHARGED) for each in told.get("attributes", ()))
        return attributes + len(told.get("events", ())) + len(told.get("purchases", ()))

    def probe(self) -> httpx.Request:
        """Send an empty request: with a valid key, the response is an error about the missing objects."""
        return self.post("/users/track", json=_NOBODY)

    def judge(self, response: httpx.Response) -> Disposition:
        """Pass on a 400 response that names the bad objects, or reports that there are none."""
        if response.status_code == 400:
            errors = object_of(response).get("errors") or []
            named = [error for error in errors if isinstance(error, dict) and "index" in error]
            if named or response.request.content == self.probe().content:
                return Disposition.PASS
        return super().judge(response)


def host_of(region: str) -> str:
    """Return the REST host of a Braze cluster: `us-05` is rest.iad-05.braze.com, `eu-01`
    rest.fra-01.braze.eu, and `us-10` and other countries rest.us-10.braze.com."""
    area, _, number = region.lower().partition("-")
    host = {"us": "iad-{}.braze.com", "eu": "fra-{}.braze.eu"}
    if area == "us" and number >= "10":
        host = {}
    return "https://rest." + host.get(area, f"{area}-{{}}.braze.com").format(number)
