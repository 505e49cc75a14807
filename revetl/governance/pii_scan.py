"""Scan messages for personal data: emails, phone numbers and payment cards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import yaml

from revetl.dbt.project_files import Options, read_project
from revetl.dbt.run_operation import ask
from revetl.governance.pii import masked

KINDS = ("email", "phone", "card")
_ACTIONS = {"email": "hash", "phone": "mask", "card": "drop"}

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:[.][A-Za-z0-9-]+)*[.][A-Za-z]{2,}")
_PHONE = re.compile(r"(?<![0-9])[+][0-9][0-9 ().-]{6,18}[0-9]|^[(]?[0-9][0-9 ().-]{6,18}[0-9]$")
_CARD = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])")
_DATE = re.compile(r"[0-9]{4}[-.][0-9]{2}[-.][0-9]{2}|[0-9]{1,2}[-.][0-9]{1,2}[-.][0-9]{4}")
_ADDRESS_OR_NUMBER = re.compile(r"[0-9]+([.][0-9]+)*")
_NAMED = re.compile("phone|mobile|tel$|fax|msisdn|whatsapp", re.IGNORECASE)


@dataclass(frozen=True)
class PiiFinding:
    """A kind of personal data at a path of messages of a type: the share of messages with it, and a masked
    example."""

    kind: str
    message_type: str
    place: str
    path: str
    messages: int
    share: float
    example: str


@dataclass(frozen=True)
class Scan:
    """The findings, most frequent first, and PII rules that would hide them."""

    found: tuple[PiiFinding, ...]
    rules: tuple[Mapping[str, str], ...]

    @property
    def yaml(self) -> str:
        """The rules as text for transformations.yaml; empty if there are none."""
        if not self.rules:
            return ""
        lines = [yaml.safe_dump(dict(rule), default_flow_style=True, sort_keys=False) for rule in self.rules]
        text = "pii:\n" + "".join(f"  - {line}" for line in lines)
        if any(rule["action"] == "hash" for rule in self.rules):
            text = "salt: \"{{ env_var('REVETL_PII_SALT') }}\"\n" + text
        return text


def scan(options: Options, limit: int) -> Scan:
    """Scan the newest `limit` messages of each type.

    The warehouse finds candidates; up to about fifty of each are verified here, so a share may be an
    estimate. Raises UsageError if dbt isn't installed, WarehouseError if the raw tables don't exist or the
    warehouse fails.
    """
    project = read_project(options)
    return judged(ask(project, options, "pii_candidates", {"newest": limit}))


def judged(rows: Iterable[Mapping[str, str | None]]) -> Scan:
    """Verify rows of candidates, each a value with the counts of its path."""
    values: dict[tuple[str, str, str], list[str]] = {}
    counts: dict[tuple[str, str, str], Mapping[str, str | None]] = {}
    for row in rows:
        at = (str(row["message_type"]), str(row["document_name"]), str(row["path"]).removeprefix("."))
        values.setdefault(at, []).append(row["value"] or "")
        counts[at] = row
    found = []
    for (message_type, place, path), texts in values.items():
        row = counts[message_type, place, path]
        total = int(row["message_count"] or 0)
        for kind in KINDS:
            candidates = [_OF[kind](text, path) for text in texts if _LOOKS[kind].search(text)]
            examples = [example for example in candidates if example is not None]
            if not examples:
                continue
            messages = max(1, round(int(row[f"{kind}_count"] or 0) * len(examples) / len(candidates)))
            share = min(1.0, messages / max(total, 1))
            found.append(PiiFinding(kind, message_type, place, path, messages, share, masked(examples[0])))
    found.sort(key=lambda each: (-each.share, each.message_type, each.place, each.path, each.kind))
    return Scan(tuple(found), _rules(found))


def _rules(found: Iterable[PiiFinding]) -> tuple[Mapping[str, str], ...]:
    """Return one rule per path, with the strictest action of the kinds found there."""
    made: dict[tuple[str, str], str] = {}
    order = ("mask", "hash", "drop")
    for each in found:
        action = _ACTIONS[each.kind]
        before = made.get((each.place, each.path), action)
        made[each.place, each.path] = max(before, action, key=order.index)
    return tuple({"match": path, "in": place, "action": action} for (place, path), action in made.items())


def _email(text: str, _: str) -> str | None:
    matched = _EMAIL.search(text)
    return matched[0] if matched else None


def _phone(text: str, path: str) -> str | None:
    """Match a number of 8 to 15 digits, with a + or in groups, that isn't a date, IP address or plain number.
    Plain numbers match if the property's name indicates a phone number."""
    matched = _PHONE.search(text)
    if matched is None:
        return None
    word = matched[0]
    digits = len(re.sub("[^0-9]", "", word))
    if not 8 <= digits <= 15 or _DATE.fullmatch(word):
        return None
    is_plain = _ADDRESS_OR_NUMBER.fullmatch(word) is not None
    return word if not is_plain or _NAMED.search(path.rpartition(".")[2]) else None


def _card(text: str, _: str) -> str | None:
    for matched in _CARD.finditer(text):
        digits = re.sub("[^0-9]", "", matched[0])
        if 13 <= len(digits) <= 19 and digits[0] in "3456" and passes_luhn(digits):
            return digits
    return None


def passes_luhn(digits: str) -> bool:
    """Whether a number has a valid Luhn check digit, as payment cards do."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)) % 10 == 0


_OF: dict[str, Callable[[str, str], str | None]] = {"email": _email, "phone": _phone, "card": _card}
_LOOKS = {"email": _EMAIL, "phone": _PHONE, "card": _CARD}
