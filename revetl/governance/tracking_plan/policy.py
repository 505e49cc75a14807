"""What a plan does about a violation: one action, or one per source, perhaps a template that the dbt target
decides.

The nearest declaration wins: an event's in a source (`sources.NAME.events`), the event's own, the source's,
the plan's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from revetl.config.jinja import render
from revetl.errors import UsageError, nearest

_KNOWN = {"target", "env_var"}


@dataclass(frozen=True)
class BySource:
    """An action per source; `default` is that of the other sources, and of messages without one."""

    default: str
    sources: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        of_sources = ", ".join(f"{name}: {action}" for name, action in self.sources)
        return f"{self.default} ({of_sources})"


Policy = str | BySource
Resolve = Callable[[str, str, tuple[str, ...]], str]
"""Gives the action of a template, where it is in the plan, and which actions it may come to."""


def policy_of(default: str, sources: Mapping[str, str | None]) -> Policy:
    """A policy of the plan's action and those of the sources that have one."""
    own = tuple((name, action) for name, action in sources.items() if action not in (None, default))
    return BySource(default, own) if own else default  # type: ignore[arg-type]


def action_of(policy: Policy, source: str | None) -> str:
    """What is done about a message of a source."""
    return policy if isinstance(policy, str) else dict(policy.sources).get(source or "", policy.default)


def actions_of(policy: Policy) -> tuple[str, ...]:
    """Every action of a policy."""
    return (policy,) if isinstance(policy, str) else (policy.default, *(each for _, each in policy.sources))


def is_allowed(policy: Policy) -> bool:
    """Whether nothing is ever done, whatever the source and target."""
    return all(action == "allow" for action in actions_of(policy))


def is_template(action: str) -> bool:
    """Whether an action is decided by the target."""
    return "{{" in action or "{%" in action


def checked_action(value: object, valid: Iterable[str]) -> object:
    """An action as a plan may have it. Raises ValueError for another word, and for a template that is wrong
    or names what is not known here."""
    valid = tuple(valid)
    if value is None or value in valid:
        return value
    if not isinstance(value, str) or not is_template(value):
        raise ValueError(f"'{value}' is not known. {nearest(str(value), valid)}")
    environment = ImmutableSandboxedEnvironment()
    try:
        named = meta.find_undeclared_variables(environment.parse(value))
    except TemplateError as error:
        raise ValueError(f"'{value}' is not a valid template ({error.message})") from None
    if unknown := sorted(named - _KNOWN):
        raise ValueError(
            f"'{value}' uses {unknown[0]}. Only target (such as target.name) and env_var('NAME') are known "
            "here"
        )
    return value


@dataclass(frozen=True)
class TargetNames:
    """What a template may ask of the dbt target."""

    name: str
    type: str
    profile_name: str
    schema: str | None
    database: str | None


def for_target(target: TargetNames) -> Resolve:
    """Decides templates for a target. Raises UsageError where one does not come to a known action."""

    def resolve(action: str, place: str, valid: tuple[str, ...]) -> str:
        if not is_template(action):
            return action
        known: dict[str, Any] = {"target": target}
        found = str(render(action, place, known=known)).strip()
        if found not in valid:
            raise UsageError(
                f"{place}: '{action}' is '{found}' for target '{target.name}', and must be one of "
                f"{', '.join(valid)}."
            )
        return found

    return resolve
