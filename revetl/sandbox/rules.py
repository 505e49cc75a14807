"""Failure rules of the sandbox, given as JSON."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Annotated, Literal

import re2
from pydantic import Field, field_validator

from revetl.config.base import ConfigModel


class MisbehaviorRule(ConfigModel):
    """A failure to simulate, for one destination or `*`, up to `times` times (unlimited by default), with a
    `probability`.

    `status`: respond with `status` (and `retry_after`) and apply nothing. `slow`: wait `seconds` first.
    `drop`: close the connection without a response, `before` or `after` applying the request. `reject`:
    reject records whose id matches `pattern` with `reason`; with a `status`, fail any request that contains
    one. `page`: respond with 200 and an HTML page, like a proxy that requires a sign-in, and apply nothing.
    """

    destination: str = "*"
    kind: Literal["status", "slow", "drop", "reject", "page"]
    status: int | None = None
    retry_after: float | None = None
    seconds: Annotated[float, Field(ge=0)] = 1.0
    when: Literal["before", "after"] = "before"
    pattern: str = "."
    reason: str = "rejected by the sandbox"
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            _compiled(value)
        except re2.error as error:
            said = error.args[0]
            words = said.decode(errors="replace") if isinstance(said, bytes) else said
            raise ValueError(
                f"'{value}' is not a valid RE2 regular expression (backreferences and lookaround are not "
                f"supported): {words}"
            ) from None
        return value

    def matches(self, record_id: str) -> bool:
        """Whether a record's id matches the rule."""
        return _compiled(self.pattern).search(record_id) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re2._Regexp:
    """Compile a pattern. RE2 runs in linear time and bounded memory for any pattern."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    return re2.compile(pattern, options)


class MisbehaviorRules:
    """The active rules, and how often each may still apply."""

    def __init__(self, rules: list[MisbehaviorRule]) -> None:
        self._left: list[tuple[MisbehaviorRule, list[int | None]]] = []
        self.add(rules)

    def add(self, rules: list[MisbehaviorRule]) -> None:
        """Activate rules."""
        self._left += [(rule, [rule.times]) for rule in rules]

    def clear(self) -> None:
        """Deactivate all rules."""
        self._left.clear()

    def all(self) -> list[MisbehaviorRule]:
        """Return the active rules."""
        return [rule for rule, _ in self._left]

    def take(self, destination: str, ids: list[str]) -> list[MisbehaviorRule]:
        """Return the rules that apply to this request, decrementing their `times`."""
        taken = []
        for rule, left in self._left:
            if rule.destination not in ("*", destination) or left[0] == 0:
                continue
            if rule.kind == "reject" and not any(rule.matches(record_id) for record_id in ids):
                continue
            if rule.probability < 1 and random.random() >= rule.probability:  # noqa: S311
                continue
            if left[0] is not None:
                left[0] -= 1
            taken.append(rule)
        self._left = [(rule, left) for rule, left in self._left if left[0] != 0]
        return taken
