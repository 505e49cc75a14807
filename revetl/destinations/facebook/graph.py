"""Shared by all Graph API destinations of Meta: token, calls, and errors."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import orjson
from pydantic import Field, SecretStr

from revetl.destinations.base.destination import Destination, Disposition, object_of

LIMITED = frozenset({4, 17, 32, 341, 613, *range(80_000, 80_015)})
AGAIN = frozenset({1, 2, 368, 5000})
"""Meta's internal errors, and temporary blocks."""
REFUSED = frozenset({3, 10, 102, 190, 2650, 2655, *range(200, 300)})
SUBCODES = frozenset({33, 2650, 2655, 1487301, 1487366, 1713092, 1870034})
"""Errors of the account or audience: it doesn't exist or isn't accessible; an audience that was deleted,
expired or isn't shared; missing write permission; terms that weren't accepted."""


class FacebookGraph(Destination):
    """A destination on the Graph API."""

    access_token: SecretStr
    app_secret: SecretStr | None = None
    version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v23.0"
    base_url: Annotated[str, Field(pattern="^https?://")] = "https://graph.facebook.com"
    limited_data_use: bool = False

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token.get_secret_value()}"}

    def call(
        self, method: str, path: str, *, json: Any = None, asked: Mapping[str, str] | None = None
    ) -> httpx.Request:
        """Build a Graph API request, with appsecret_proof if the app secret is set."""
        query = dict(asked or {})
        if self.app_secret is not None:
            key, token = self.app_secret.get_secret_value(), self.access_token.get_secret_value()
            query["appsecret_proof"] = hmac.digest(key.encode(), token.encode(), "sha256").hex()
        return self.request(method, f"/{self.version}/{path}", json=json, params=query)

    def judge(self, response: httpx.Response) -> Disposition:
        """Meta returns 400 for nearly every error; the code identifies it."""
        error = object_of(response, "error")
        code = error.get("code")
        if code in LIMITED:
            return Disposition.LIMITED
        if code in REFUSED or code in SUBCODES or error.get("error_subcode") in SUBCODES:
            return Disposition.FATAL
        if code in AGAIN or error.get("is_transient"):
            return Disposition.RETRY
        return super().judge(response)

    def pause(self, response: httpx.Response) -> float | None:
        # A list of limits per account, each with the minutes until access is restored.
        usage = orjson.loads(response.headers.get("x-business-use-case-usage", "{}"))
        limits = [limit for account in usage.values() for limit in account]
        minutes = max((limit.get("estimated_time_to_regain_access", 0) for limit in limits), default=0)
        return 60.0 * minutes or None
