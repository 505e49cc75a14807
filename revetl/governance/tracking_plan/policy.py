"""Policies of a plan: one action, or one per source. An action may be a template over the dbt target.

The most specific declaration wins: the event's in a source (`sources.NAME.events`), the event's, the
source's, the plan's.
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
    """An action per source; `default` applies to other sources and to messages without a source."""

    default: str
    sources: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        of_sources = ", ".join(f"{name}: {action}" for name, action in self.sources)
        return f"{self.default} ({of_sources})"


Policy = str | BySource
Resolve = Callable[[str, str, tuple[str, ...]], str]
"""Resolves an action, given its path in the plan and the valid actions."""


def policy_of(default: str, sources: Mapping[str, str | None]) -> Policy:
    """Combine the plan's action with those of sources."""
    own = tuple((name, action) for name, action in sources.items() if action not in (None, default))
    return BySource(default, own) if own else default  # type: ignore[arg-type]


def action_of(policy: Policy, source: str | None) -> str:
    """Return the action for messages of a source."""
    return policy if isinstance(policy, str) else dict(policy.sources).get(source or "", policy.default)


def actions_of(policy: Policy) -> tuple[str, ...]:
    """Return every action of a policy."""
    return (policy,) if isinstance(policy, str) else (policy.default, *(each for _, each in policy.sources))


def is_allowed(policy: Policy) -> bool:
    """Whether the action is `allow` for every source and target."""
    return all(action == "allow" for action in actions_of(policy))


def is_template(action: str) -> bool:
    """Whether an action is a template."""
    return "{{" in action or "{%" in action


def checked_action(value: object, valid: Iterable[str]) -> object:
    """Check an action of a plan. Raises ValueError for an unknown action, and for a template that is invalid
    or uses an unknown name."""
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
            f"'{value}' uses {unknown[0]}. Only target (as in target.name) and env_var('NAME') are available "
            "here"
        )
    return value


@dataclass(frozen=True)
class TargetNames:
    """The attributes of the dbt target that templates can use."""

    name: str
    type: str
    profile_name: str
    schema: str | None
    database: str | None


def for_target(target: TargetNames) -> Resolve:
    """Return a resolver of templates for a target, which raises UsageError for a result that isn't valid."""

    def resolve(action: str, place: str, valid: tuple[str, ...]) -> str:
        if not is_template(action):
            return action
        known: dict[str, Any] = {"target": target}
        found = str(render(action, place, known=known)).strip()
        if found not in valid:
            raise UsageError(
                f"{place}: '{action}' resolves to '{found}' for target '{target.name}', but must resolve to "
                f"one of {', '.join(valid)}."
            )
        return found

    return resolve
