"""Compares identifiers: normalized by their type, in Python and in SQL, and as salted hashes.

Ids are compared exactly, without surrounding white space. Emails, and types that the identity rules convert
to lower case, are compared without case; phone numbers by their digits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from revetl.identifiers.phones import e164
from revetl.identifiers.trimming import trimmed as trimmed_text
from revetl.mapping.fields import trimmed
from revetl.project.workspace import Workspace
from revetl.warehouse.templates import statement

_DIALED = re.compile(r"[-\s()./+]")
_DIALED_CHARACTERS = (" ", "-", "(", ")", ".", "/", "+")
_PHONE = re.compile(r"phone|mobile|msisdn", re.IGNORECASE)
STANDARD_PATHS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "email": (("traits", "email"), ("properties", "email"), ("context", "traits", "email")),
    "phone": (("traits", "phone"), ("properties", "phone"), ("context", "traits", "phone")),
    "device_id": (("context", "device", "id"),),
    "advertising_id": (("context", "device", "advertisingId"),),
}
"""Where messages have the identifiers that aren't columns: document, then members."""


@dataclass(frozen=True)
class IdentifierTypes:
    """The identifier types of a project: which are compared in lower case, and where messages have them."""

    lower: frozenset[str]
    paths: Mapping[str, tuple[tuple[str, ...], ...]]

    @classmethod
    def of(cls, workspace: Workspace) -> IdentifierTypes:
        """Read the types from the identity rules."""
        lower, paths = {"email"}, dict(STANDARD_PATHS)
        for name, rule in _rules(workspace).items():
            settings = rule if isinstance(rule, Mapping) else {}
            steps = settings.get("normalize") or ()
            if "lower" in (steps if isinstance(steps, list | tuple) else (steps,)):
                lower.add(name)
            if trait := settings.get("trait"):
                own = (("traits", str(trait)), ("context", "traits", str(trait)))
                paths[name] = tuple(dict.fromkeys((*paths.get(name, ()), *own)))
        return cls(frozenset(lower), paths)

    def is_phone(self, kind: str) -> bool:
        """Whether a type is a phone number."""
        return _PHONE.search(kind) is not None

    def comparable(self, kind: str, value: str) -> str:
        """Normalize a value of a type."""
        text = trimmed_text(value)
        if self.is_phone(kind):
            return _DIALED.sub("", text)
        return text.lower() if kind in self.lower else text

    def comparable_sql(self, kind: str, value: exp.Expr) -> exp.Expr:
        """Normalize a value of a type in SQL."""
        text = trimmed(value)
        if self.is_phone(kind):
            for character in _DIALED_CHARACTERS:
                text = exp.func("replace", text, exp.convert(character), exp.convert(""))
            return text
        return exp.func("lower", text) if kind in self.lower else text

    def comparable_by_column(self, kind: exp.Expr, value: exp.Expr) -> exp.Expr:
        """Normalize a value in SQL, by its type in another column."""
        phones = statement("lower(:kind) like '%phone%'", kind=kind.copy())
        lowered = exp.In(this=kind.copy(), expressions=[exp.convert(each) for each in sorted(self.lower)])
        return exp.Case(
            ifs=[
                exp.If(this=phones, true=self.comparable_sql("phone", value.copy())),
                exp.If(this=lowered, true=self.comparable_sql("email", value.copy())),
            ],
            default=trimmed(value.copy()),
        )


def salted_hash(salt: str, kind: str, comparable: str) -> str:
    """Hash a normalized identifier."""
    return hashlib.sha256(f"{salt}:{kind}:{comparable}".encode()).hexdigest()


def salted_hash_sql(salt: str, kind: exp.Expr, comparable: exp.Expr) -> exp.Expr:
    """Hash a normalized identifier in SQL."""
    text = statement(":salt || ':' || :kind || ':' || :value", salt=salt, kind=kind, value=comparable)
    return exp.func("lower", exp.SHA2(this=text, length=exp.convert(256)))


def phone_spellings(value: str, region: str | None) -> Iterator[str]:
    """Yield the digits by which a phone number may be written: international and with an international
    prefix; a number of the region also without its country code. Nothing if the text isn't a valid number."""
    number = e164(value, region)
    if number is None:
        return
    digits = number[1:]
    yield from (digits, f"00{digits}", f"011{digits}")
    if region is None:
        return
    import phonenumbers

    parsed = phonenumbers.parse(number, None)
    if parsed.country_code == phonenumbers.country_code_for_region(region):
        national = str(parsed.national_number)
        yield from (national, f"0{national}")


def _rules(workspace: Workspace) -> Mapping[str, Any]:
    own = workspace.dbt.vars.get("revetl")
    given = (own if isinstance(own, Mapping) else {}).get("identity", workspace.dbt.vars.get("identity"))
    found = given.get("identifiers") if isinstance(given, Mapping) else None
    return {str(name): rule for name, rule in found.items()} if isinstance(found, Mapping) else {}
