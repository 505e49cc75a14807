"""Marketo's API and its error codes: docs/destinations/marketo.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

import httpx
from pydantic import Field, SecretStr, model_validator

from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import (
    AnswerNotUnderstood,
    Asking,
    Disposition,
    Identifier,
    Records,
    Rejection,
    object_of,
)
from revetl.destinations.base.field_check import (
    BOOLEAN,
    DATE,
    MOMENT,
    NUMBER,
)
from revetl.destinations.base.records import for_now, nobody
from revetl.destinations.base.spec import looked_up_by

RENEW = frozenset({"601", "602"})
VERDICTS = {
    # Too many calls by all applications, concurrently or within 20 seconds.
    **dict.fromkeys(("606", "615"), Disposition.LIMITED),
    **dict.fromkeys(("502", "604", "608", "611", "614", "713", "719"), Disposition.RETRY),
    # The token, permissions, the daily quota, a wrong URL, a missing field or list.
    **dict.fromkeys(
        (*RENEW, "600", "603", "609", "605", "607", "610", "1006", "1011", "1013"), Disposition.FATAL
    ),
    # Nothing found; handled by the flow.
    "702": Disposition.PASS,
}
KINDS = {
    **dict.fromkeys(("integer", "score", "float", "currency", "percent"), NUMBER),
    "date": DATE,
    "datetime": MOMENT,
    "boolean": BOOLEAN,
}
LONGEST_QUERY = 7_000
"""The maximum query size in bytes; Marketo limits URLs to 8 KB."""


class MarketoApi(HasAudiences):
    """A Marketo account, whose leads are looked up by `lookup_field`."""

    identifiers: ClassVar[tuple[Identifier, ...]] = (Identifier("email", column="email", normalised="email"),)
    identifier_key: ClassVar[str | None] = "lookup_field"

    client_id: str
    client_secret: SecretStr
    lookup_field: str = "email"
    base_url: Annotated[str, Field(pattern="^https?://")]

    @model_validator(mode="before")
    @classmethod
    def _address(cls, data: Any) -> Any:
        """Accept `endpoint` as Marketo shows it, ending in /rest, or the account's `munchkin_id`."""
        given = dict(data)
        endpoint, account = given.pop("endpoint", None), given.pop("munchkin_id", None)
        if address := given.get("base_url") or endpoint or (account and f"https://{account}.mktorest.com"):
            given["base_url"] = str(address).rstrip("/").removesuffix("/rest")
        return given

    @property
    def known_by(self) -> tuple[Identifier, ...]:
        return looked_up_by(self.lookup_field, self.identifiers)

    def auth(self) -> httpx.Auth:
        from revetl.destinations.auth.oauth import OAuth

        about = {"client_id": self.client_id, "client_secret": self.client_secret.get_secret_value()}
        asked = {"grant_type": "client_credentials", **about}
        token = self.request("GET", "/identity/oauth/token", params=asked)
        # An expired token is reported in the body of a 200 response.
        return OAuth(lambda _: token, is_expired=lambda response: not RENEW.isdisjoint(codes(response)))

    def leads(self, records: Records, *fields: str) -> Asking[list[dict[str, Any]]]:
        """Read the existing leads of a batch, with their ids, lookup values, and `fields`."""
        values = ",".join(str(record.identifiers[self.lookup_field]) for record in records)
        wanted = ",".join(dict.fromkeys(("id", self.lookup_field, *fields)))
        asked = {"filterType": self.lookup_field, "filterValues": values, "fields": wanted}
        found: list[dict[str, Any]] = []
        while True:
            if len(urlencode(asked)) > LONGEST_QUERY:
                answer = yield self.form("/rest/v1/leads.json?_method=GET", asked)
            else:
                answer = yield self.request("GET", "/rest/v1/leads.json", params=asked)
            page = answer.json()
            asked_for = {self.called(record.identifiers) for record in records}
            found += [lead for lead in page["result"] if self.called(lead) in asked_for]
            if not page.get("nextPageToken"):
                return found
            asked["nextPageToken"] = page["nextPageToken"]

    def called(self, known: Mapping[str, Any]) -> str:
        """Return a lead's lookup value in lowercase, since Marketo ignores case."""
        return str(known.get(self.lookup_field)).lower()

    def form(self, path: str, fields: Mapping[str, str]) -> httpx.Request:
        return httpx.Request("POST", self.base_url + path, data=fields)

    def probe(self) -> httpx.Request:
        return self.request("GET", "/rest/v1/leads/describe2.json")

    def judge(self, response: httpx.Response) -> Disposition:
        """Marketo returns 200 for nearly every error; the code identifies it."""
        told = codes(response)
        return VERDICTS.get(told[0], Disposition.BISECT) if told else super().judge(response)


def codes(response: httpx.Response) -> list[str]:
    """Return the error codes of a request as a whole."""
    errors = object_of(response).get("errors") or ()
    return [str(error.get("code")) for error in errors if isinstance(error, dict)]


TAKEN = frozenset({"created", "updated", "added", "removed", "deleted"})
NOT_TAKEN = frozenset({"skipped", "failed"})
AGAIN = frozenset({"502", "604", "606", "607", "608", "611", "614", "615", "713", "719"})
"""Temporary error codes of a record, including the daily quota."""
UNKNOWN_LEAD = frozenset({"1004", "1015"})


def refusals(results: Iterable[tuple[int, Mapping[str, Any]]], well: str = "") -> dict[int, Rejection]:
    """Return the rejections, by the name of their result. Raises NotUnderstood for a status that Marketo
    doesn't document."""
    refused = {}
    for name, result in results:
        status = str(result["status"]).lower()
        if status not in TAKEN | NOT_TAKEN:
            raise AnswerNotUnderstood(f"a record has the unknown status '{status}'")
        reasons = result.get("reasons") or result.get("errors") or [{"code": "", "message": status}]
        codes_of_it = [str(reason["code"]) for reason in reasons]
        if status in TAKEN or (status == "skipped" and codes_of_it[0] == well and well):
            continue
        why = ", ".join(f"{reason['message']} ({reason['code']})" for reason in reasons)
        if not AGAIN.isdisjoint(codes_of_it):
            refused[name] = for_now(why)
        elif not UNKNOWN_LEAD.isdisjoint(codes_of_it):
            refused[name] = nobody(why)
        else:
            refused[name] = Rejection(why)
    return refused
