"""Identifies the person in question: by a key of the audience, or any identifier in the identity models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlglot import exp

from revetl.errors import UsageError
from revetl.inspect.explain.answer import Person
from revetl.project.workspace import AudienceModel, Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement, table

PROFILE = "canonical_id"
_GRAPHS = ("revetl_profile_identifiers", "int_revetl__identity_graph")
_PROFILES = "revetl_profiles"
_NAMING = ("user_id", "anonymous_id", "email", "phone")
_SHARED = {"email", "phone"}
"""Identifiers that several people may share."""
_SHOWN = 5


class _Known(NamedTuple):
    """An identifier of a profile; `is_current` if revetl_profiles itself contains it."""

    profile: str
    name: str
    value: str
    is_current: bool

    def is_called(self, asked: str) -> bool:
        if self.name == "email":
            return self.value.lower() == asked.strip().lower()
        return self.value == asked


def find_person(workspace: Workspace, audience: AudienceModel, asked: str, warehouse: Warehouse) -> Person:
    """Find the person that `asked` identifies, preferring the audience's key. A person unknown to all models
    is returned with `asked` as their key. Raises UsageError if it matches several people."""
    known = _known(workspace, audience.key, asked, warehouse)
    found = [each for each in known if each.name == audience.key and each.value == asked]
    found = found or [each for each in known if each.is_called(asked)]
    people = {each.profile for each in found}
    if not people:
        return Person(asked, None, (asked,), {audience.key: (asked,)})
    if len(people) > 1:
        raise UsageError(_several(asked, audience.key, people, known))
    (profile,) = people
    own = sorted(each for each in known if each.profile == profile)
    identities = {name: _values(own, name) for name in (PROFILE, *(each.name for each in own))}
    identities[PROFILE] = (profile,)
    keys = _keys(audience, own, identities, warehouse)
    return Person(asked, found[0].name, keys, identities)


def naming(identities: Mapping[str, tuple[str, ...]], columns: Iterable[str]) -> exp.Expr | None:
    """Return the condition on a relation's `columns` that selects the person's rows: by profile if there is
    such a column, else by any identifier, shared ones last. None if no column identifies people."""
    folded = {name.lower(): name for name in columns}
    found = {name: values for name, values in identities.items() if values and name.lower() in folded}
    for names in ({PROFILE}, found.keys() - _SHARED):
        if found.keys() & names:
            found = {name: values for name, values in found.items() if name in names}
            break
    tests = [
        among(column(folded[name.lower()]), values, fold=name.lower() == "email")
        for name, values in found.items()
    ]
    return exp.paren(exp.or_(*tests)) if tests else None


def among(value: exp.Expr, values: Iterable[str], *, fold: bool = False) -> exp.Expr:
    """Build the test whether a value of any type is one of these texts."""
    text: exp.Expr = exp.cast(value, "varchar")
    if fold:
        return exp.In(this=exp.Lower(this=text), expressions=[exp.convert(each.lower()) for each in values])
    return exp.In(this=text, expressions=[exp.convert(each) for each in values])


def _values(known: Iterable[_Known], name: str) -> tuple[str, ...]:
    return tuple(sorted({each.value for each in known if each.name == name}))


def _known(workspace: Workspace, key: str, asked: str, warehouse: Warehouse) -> list[_Known]:
    """Return the identifiers of everyone who has `asked` among theirs."""
    relations = workspace.manifest.relations()
    named = {name: table(*relations[name]) for name in (*_GRAPHS, _PROFILES) if name in relations}
    there = {name: relation for name, relation in named.items() if warehouse.exists(relation)}
    parts: list[exp.Expr] = []
    if (graph := next((there[name] for name in _GRAPHS if name in there), None)) is not None:
        parts.append(
            statement(
                "select cast(canonical_id as varchar) as canonical_id, identifier_type as name, "
                "cast(identifier_value as varchar) as value, false as is_current from :graph as g",
                graph=graph,
            )
        )
    if (profiles := there.get(_PROFILES)) is not None:
        columns = warehouse.columns(profiles)
        parts += [
            statement(
                "select cast(canonical_id as varchar) as canonical_id, :name as name, "
                "cast(:value as varchar) as value, true as is_current from :profiles as p "
                "where :value is not null",
                name=name,
                value=column(name, of="p"),
                profiles=profiles,
            )
            for name in dict.fromkeys((PROFILE, key, *_NAMING))
            if PROFILE in columns and name in columns
        ]
    if not parts:
        return []
    listed = exp.union(*parts, distinct=False) if len(parts) > 1 else parts[0]
    rows = warehouse.rows(
        statement(
            """
            with known as (select * from :listed as l),
            asked as (
                select distinct canonical_id from known
                where value = :asked or (name = 'email' and lower(value) = :folded)
            )
            select distinct k.canonical_id, k.name, k.value, k.is_current
            from known as k inner join asked on asked.canonical_id = k.canonical_id
            """,
            listed=exp.Subquery(this=listed),
            asked=asked,
            folded=asked.strip().lower(),
        )
    )
    return [_Known(*row) for row in rows]


def _keys(
    audience: AudienceModel,
    own: list[_Known],
    identities: Mapping[str, tuple[str, ...]],
    warehouse: Warehouse,
) -> tuple[str, ...]:
    """Return the person's values of the audience's key; if there are several, the one in revetl_profiles."""
    current = tuple(each.value for each in own if each.name == audience.key and each.is_current)
    if found := current or identities.get(audience.key, ()):
        return found
    if audience.key in identities or not warehouse.exists(audience.relation):
        return ()
    test = naming(identities, warehouse.columns(audience.relation))
    if test is None:
        return ()
    rows = warehouse.rows(
        statement(
            "select distinct cast(:key as varchar) from :model as a where :test order by 1",
            key=column(audience.key, of="a"),
            model=audience.relation,
            test=test,
        )
    )
    return tuple(str(value) for (value,) in rows if value is not None)


def _several(asked: str, key: str, people: set[str], known: list[_Known]) -> str:
    names = []
    for profile in sorted(people)[:_SHOWN]:
        values = _values((each for each in known if each.profile == profile), key)
        names.append(values[0] if values else f"{profile} (has no {key})")
    more = f" and {len(people) - _SHOWN} more" if len(people) > _SHOWN else ""
    return f"'{asked}' matches {len(people)} people: {', '.join(names)}{more}. Choose one by {key}."
