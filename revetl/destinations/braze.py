"""Braze's `/users/track`: docs/destinations/braze.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from revetl.destinations.base import Batch, Destination, Flow, Identifier, Rate, Record, Records, Result


class Braze(Destination):
    """Attributes of Braze users by external id; a mirrored audience is a boolean custom attribute of its
    name."""

    batch: ClassVar[Batch] = Batch(records=75)
    rate: ClassVar[Rate | None] = Rate(requests=3_000, per_seconds=3)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("external_id", column="user_id"),
        Identifier("email", column="email"),
        Identifier("phone", column="phone"),
    )

    type: Literal["braze"]
    api_key: SecretStr
    region: str | None = None
    base_url: Annotated[str, Field(pattern="^https?://")]

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

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key.get_secret_value()}"}

    def upsert(self, records: Records) -> Flow:
        return self.attributes(records, {})

    def add(self, records: Records) -> Flow:
        return self.attributes(records, {records.audience: True})

    def update(self, records: Records) -> Flow:
        return self.attributes(records, {records.audience: True})

    def remove(self, records: Records) -> Flow:
        return self.attributes(records, {records.audience: False}, with_fields=False)

    def change(self, records: Records) -> Flow:
        return self.attributes(records, {"_update_existing_only": True})

    def track(self, records: Records) -> Flow:
        """One events object a person, with the fields as its properties."""
        return self.send(
            "events",
            [
                {
                    **record.identifiers,
                    "name": records.event,
                    "time": record.timestamp,
                    "properties": record.fields,
                }
                for record in records
            ],
        )

    def attributes(self, records: Records, more: dict[str, bool], *, with_fields: bool = True) -> Flow:
        """One attributes object a person, with `more` in each."""

        def attributes_of(record: Record) -> dict[str, Any]:
            fields = record.fields if with_fields else {}
            return {**record.identifiers, **fields, **more}

        return self.send("attributes", [attributes_of(record) for record in records])

    def send(self, kind: str, objects: list[dict[str, Any]]) -> Flow:
        """Send objects of a kind. A non-fatal error carries the index of its object."""
        response = yield self.post("/users/track", json={kind: objects})
        errors = response.json().get("errors") or []
        return Result(rejected={error["index"]: str(error["type"]) for error in errors if "index" in error})


def host_of(region: str) -> str:
    """The REST host of a Braze cluster: `us-05` is rest.iad-05.braze.com, `eu-01` rest.fra-01.braze.eu."""
    area, _, number = region.lower().partition("-")
    host = {
        "us": "iad-{}.braze.com",
        "eu": "fra-{}.braze.eu",
        "au": "au-{}.braze.com",
        "id": "id-{}.braze.com",
    }
    return "https://rest." + host.get(area, f"{area}-{{}}.braze.com").format(number)
