"""Segment's HTTP Tracking API: docs/destinations/segment.md."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from revetl.destinations.base import Batch, Destination, Flow, Identifier, Rate, Record, Records, Result
from revetl.destinations.basic import basic

REGIONS = {"us": "https://api.segment.io", "eu": "https://events.eu1.segmentapis.com"}


class Segment(Destination):
    """`identify` calls with the mapped traits and, for a mirrored audience, a boolean trait of its name."""

    batch: ClassVar[Batch] = Batch(records=2_500, bytes=500_000, record_bytes=32_000)
    rate: ClassVar[Rate | None] = Rate(requests=1_000)
    identifiers: ClassVar[tuple[Identifier, ...]] = (
        Identifier("userId", column="user_id"),
        Identifier("anonymousId", column="anonymous_id"),
    )

    type: Literal["segment"]
    write_key: SecretStr
    region: Literal["us", "eu"] = "us"
    base_url: Annotated[str, Field(pattern="^https?://")] = ""

    @model_validator(mode="before")
    @classmethod
    def _regional_host(cls, data: Any) -> Any:
        return {"base_url": REGIONS.get(data.get("region", "us"), REGIONS["us"]), **data}

    def headers(self) -> dict[str, str]:
        return {"Authorization": basic(self.write_key.get_secret_value())}

    def upsert(self, records: Records) -> Flow:
        return self.identify(records, {})

    def add(self, records: Records) -> Flow:
        return self.identify(records, {records.audience: True})

    def update(self, records: Records) -> Flow:
        return self.identify(records, {records.audience: True})

    def remove(self, records: Records) -> Flow:
        return self.identify(records, {records.audience: False}, with_fields=False)

    def identify(self, records: Records, membership: dict[str, bool], *, with_fields: bool = True) -> Flow:
        """One `identify` message a person. A change that is sent again has the same messageId, which
        Segment drops as a duplicate."""

        def message(record: Record) -> dict[str, Any]:
            traits = {**record.fields, **membership} if with_fields else membership
            return {
                "type": "identify",
                **record.identifiers,
                "messageId": f"revetl-{records.change_id(record)}",
                "traits": traits,
            }

        yield self.post("/v1/batch", json={"batch": [message(record) for record in records]})
        return Result()

    def track(self, records: Records) -> Flow:
        """One `track` message a person, with the fields as its properties."""
        batch = [
            {
                "type": "track",
                **record.identifiers,
                "messageId": f"revetl-{records.change_id(record)}",
                "event": records.event_of(record),
                "properties": record.fields,
                "timestamp": record.timestamp,
            }
            for record in records
        ]
        yield self.post("/v1/batch", json={"batch": batch})
        return Result()
