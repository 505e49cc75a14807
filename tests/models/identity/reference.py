"""The identity rules, slow and plain: one edge after the other. What the models do must come to the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Identifier = tuple[str, str]
"""Type and value."""

WINDOWS = {"week": 7 * 86_400, "month": 30 * 86_400, "year": 365 * 86_400}


@dataclass(frozen=True)
class Rules:
    """Types of identifiers, the first in priority first; type to window to number."""

    types: tuple[str, ...]
    limits: Mapping[str, Mapping[str, int]]

    def rank(self, identifier: Identifier) -> int:
        """The place of its type in the priority."""
        return self.types.index(identifier[0])


@dataclass(frozen=True)
class Message:
    """A message at a second of its own time; `previous_id` where it is an alias of `user_id`."""

    id: str
    second: int
    identifiers: Mapping[str, str]
    previous_id: str | None = None


@dataclass
class Facts:
    """What the messages show: when each identifier was first seen, and each pair."""

    seen: dict[Identifier, int] = field(default_factory=dict)
    aliases: dict[tuple[Identifier, Identifier], int] = field(default_factory=dict)
    pairs: dict[tuple[Identifier, Identifier], int] = field(default_factory=dict)


def identifier_id(identifier: Identifier) -> str:
    """The id of an identifier."""
    return hashlib.md5(":".join(identifier).encode(), usedforsecurity=False).hexdigest()


def facts(messages: Iterable[Message], blocked: set[Identifier], rules: Rules) -> Facts:
    """Every message's identifiers without the blocked ones, each paired with the highest of them."""
    messages = list(messages)
    found = Facts()
    anonymous = {message.identifiers.get("anonymous_id") for message in messages if not message.previous_id}
    anonymous -= {value for kind, value in blocked if kind == "anonymous_id"}
    for message in messages:
        known = [
            (kind, message.identifiers[kind])
            for kind in rules.types
            if kind in message.identifiers and (kind, message.identifiers[kind]) not in blocked
        ]
        if not known:
            continue
        star = known[0]
        _at(found.seen, star, message.second)
        for other in known[1:]:
            _at(found.seen, other, message.second)
            _at(found.pairs, (star, other), message.second)
        # An alias of oneself ties nothing to anything.
        if message.previous_id and message.previous_id != message.identifiers.get("user_id"):
            kind = "anonymous_id" if message.previous_id in anonymous else "user_id"
            previous = (kind, message.previous_id)
            if previous not in blocked:
                _at(found.seen, previous, message.second)
                if previous != star:
                    _at(found.aliases, (star, previous), message.second)
    return found


@dataclass
class Answer:
    """Identifier to canonical id; the edges left out; loser and survivor and the second of each merge."""

    canonical: dict[Identifier, str]
    left_out: set[tuple[Identifier, Identifier]]
    merges: set[tuple[str, str, int]]


def resolve(found: Facts, cuts: set[tuple[Identifier, Identifier]], rules: Rules) -> Answer:
    """Merge what aliases say, then what was seen together, edge by edge, leaving out what a rule forbids."""
    cluster = {identifier: {identifier} for identifier in found.seen}
    left_out = set()
    for edge in _in_order(found.aliases, rules):
        if _cut(cluster[edge[0]] | cluster[edge[1]], cuts):
            left_out.add(edge)
        else:
            _merge(cluster, *edge)
    unit = {identifier: min(members) for identifier, members in cluster.items()}
    for edge in _in_order(found.pairs, rules):
        together = cluster[edge[0]] | cluster[edge[1]]
        if cluster[edge[0]] is cluster[edge[1]]:
            continue
        if _cut(together, cuts) or not within_limits(together, unit, found.seen, rules):
            left_out.add(edge)
        else:
            _merge(cluster, *edge)

    def age(identifier: Identifier) -> tuple[int, int, str]:
        return found.seen[identifier], rules.rank(identifier), identifier_id(identifier)

    names = {identifier: min(members, key=age) for identifier, members in cluster.items()}
    return Answer(
        canonical={identifier: identifier_id(name) for identifier, name in names.items()},
        left_out=left_out,
        merges=_merges(found, names, age),
    )


def _merges(
    found: Facts,
    names: Mapping[Identifier, Identifier],
    age: Callable[[Identifier], tuple[int, int, str]],
) -> set[tuple[str, str, int]]:
    """The profiles' history: at each moment, what was new joins what it was seen with; then what is joined
    that was not new is a merge, and the younger name is lost."""
    edges: dict[frozenset[Identifier], int] = {}
    for pair, second in [*found.aliases.items(), *found.pairs.items()]:
        if names[pair[0]] == names[pair[1]]:
            key = frozenset(pair)
            edges[key] = min(edges.get(key, second), second)
    cluster = {identifier: {identifier} for identifier in names}
    rest = []
    for edge, second in edges.items():
        older, younger = sorted(edge, key=age)
        first = [
            other
            for key, at in edges.items()
            if younger in key and at == found.seen[younger] == second
            for other in key - {younger}
            if age(other) < age(younger)
        ]
        if first and min(first, key=age) == older:
            _merge(cluster, older, younger)
        else:
            rest.append((second, identifier_id(older), identifier_id(younger), older, younger))
    merges = set()
    for second, _, _, older, younger in sorted(rest):
        if cluster[older] is not cluster[younger]:
            survivor, loser = sorted((min(cluster[end], key=age) for end in (older, younger)), key=age)
            merges.add((identifier_id(loser), identifier_id(survivor), second))
            _merge(cluster, older, younger)
    return merges


def _merge(cluster: dict[Identifier, set[Identifier]], left: Identifier, right: Identifier) -> None:
    merged = cluster[left] | cluster[right]
    for identifier in merged:
        cluster[identifier] = merged


def within_limits(
    members: set[Identifier],
    unit: Mapping[Identifier, Identifier],
    seen: Mapping[Identifier, int],
    rules: Rules,
) -> bool:
    """Whether these identifiers may be one profile: identifiers of one unit count as one value."""
    for kind, limits in rules.limits.items():
        first: dict[Identifier, int] = {}
        for identifier in members:
            if identifier[0] == kind:
                _at(first, unit[identifier], seen[identifier])
        times = sorted(first.values())
        for window, most in limits.items():
            if window == "ever":
                if len(times) > most:
                    return False
            elif any(
                late - early < WINDOWS[window] for early, late in zip(times, times[most:], strict=False)
            ):
                return False
    return True


def _at(times: dict[Any, int], key: Any, second: int) -> None:
    times[key] = min(times.get(key, second), second)


def _in_order(
    edges: Mapping[tuple[Identifier, Identifier], int], rules: Rules
) -> list[tuple[Identifier, Identifier]]:
    def order(edge: tuple[Identifier, Identifier]) -> tuple[int, int, int, str, str]:
        left, right = rules.rank(edge[0]), rules.rank(edge[1])
        ids = identifier_id(edge[0]), identifier_id(edge[1])
        return max(left, right), min(left, right), edges[edge], *ids

    return sorted(edges, key=order)


def _cut(members: set[Identifier], cuts: set[tuple[Identifier, Identifier]]) -> bool:
    return any(left in members and right in members for left, right in cuts)
