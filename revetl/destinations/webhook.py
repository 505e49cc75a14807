"""Any HTTP endpoint that speaks revetl's own contract: docs/destinations/webhook.md."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import httpx
import orjson
from pydantic import AliasChoices, Field, SecretStr

from revetl.destinations.base import Batch, Destination, Flow, Identifier, Records, Result


class Webhook(Destination):
    """Signed JSON batches to a URL of the user's own."""

    batch: ClassVar[Batch] = Batch(records=1_000)
    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("id", column="user_id"),)

    type: Literal["webhook"]
    base_url: Annotated[str, Field(validation_alias=AliasChoices("url", "base_url"), pattern="^https?://")]
    secret: SecretStr | None = None
    batch_size: Annotated[int, Field(ge=1)] = 1_000
    extra_headers: Annotated[Mapping[str, str], Field(validation_alias=AliasChoices("headers"))] = {}

    @property
    def limits(self) -> Batch:
        return Batch(records=self.batch_size)

    def headers(self) -> dict[str, str]:
        return dict(self.extra_headers)

    def upsert(self, records: Records) -> Flow:
        body = {
            "sync": records.sync,
            "audience": records.audience,
            "run_id": records.run_id,
            "batch_id": records.batch_id,
            "operation": records.operation,
            "records": [{"id": record.identifiers["id"], "fields": record.fields} for record in records],
        }
        request = self.post("", json=body)
        if self.secret:
            signature = hmac.digest(self.secret.get_secret_value().encode(), request.content, "sha256").hex()
            request.headers["X-Revetl-Signature"] = f"sha256={signature}"
        response = yield request
        return Result(rejected=_rejected(response, records))

    def remove(self, records: Records) -> Flow:
        return self.upsert(records)


def _rejected(response: httpx.Response, records: Records) -> dict[int, str]:
    """The ids of the optional `rejected` in the body, as indexes. A body that is not JSON says nothing."""
    try:
        answer: Any = orjson.loads(response.content)
        refused = {str(row["id"]): str(row.get("reason") or "no reason given") for row in answer["rejected"]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        index: refused[identifier]
        for index, record in enumerate(records)
        if (identifier := str(record.identifiers["id"])) in refused
    }
