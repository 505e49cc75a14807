"""Names of events, properties and traits that no message has: `did('Order Complted')` is true for nobody, and
`did_not` of it for everybody, which no guard can tell from what was meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from jinja2 import Environment, TemplateError, nodes
from sqlglot import exp

from revetl.errors import RevetlError, nearest
from revetl.project.workspace import Workspace
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, statement, table

_STAGED = {
    "track": ("stg_revetl__tracks", "event_text"),
    "page": ("stg_revetl__pages", "name"),
    "screen": ("stg_revetl__screens", "name"),
}
"""The call of an event to the model and the column that has its name."""
_PROFILES = "revetl_profiles"
_PROPERTY = re.compile(r"\bproperties\.([A-Za-z_$][\w$]*)")
_OWN_SQL = re.compile(
    r"\bevent_text\s*(?:=\s*('(?:[^']|'')*')|in\s*\(((?:\s*'(?:[^']|'')*'\s*,?)+)\))", re.IGNORECASE
)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_READS_OBJECTS = ("duckdb", "postgres")
"""Where the text of a property that is an object or a list is not null."""
_SAMPLED = 500
_MOST_NAMES = 5_000


@dataclass(frozen=True)
class _Use:
    """Events that a place names, any of which will do, and the properties that it reads of them."""

    place: str
    source: str
    events: tuple[str, ...]
    properties: tuple[str, ...] = ()


@dataclass
class _Uses:
    events: list[_Use] = field(default_factory=list)
    traits: list[tuple[str, str]] = field(default_factory=list)
    """Where a trait of profiles is named, and its name."""

    def event(self, place: str, source: object, event: object, where: object, *more: object) -> None:
        named = [event] if isinstance(event, str) else event
        if source not in _STAGED or not isinstance(named, list | tuple):
            return
        events = tuple(name for name in named if isinstance(name, str))
        found = (*_properties(where), *(each for each in map(_first, more) if each))
        if events:
            self.events.append(_Use(place, str(source), events, tuple(dict.fromkeys(found))))


def unseen_names(
    workspace: Workspace, warehouse: Warehouse, chosen: Collection[str] | None = None
) -> list[str]:
    """Return a sentence for every event, property and trait that the audiences `chosen` by unique id name and
    that no message has; without `chosen`, of all audiences and of the project's `traits`. Without messages,
    nothing is unseen."""
    uses = _Uses()
    graph = workspace.manifest.graph()
    for model in workspace.models():
        if chosen is not None and model.unique_id not in chosen:
            continue
        _read_sql(
            f"{graph[model.unique_id]['original_file_path']}: {model.name}",
            _raw(graph[model.unique_id]),
            uses,
        )
    if chosen is None:
        _read_variables(workspace, uses)
    return list(dict.fromkeys(_Check(workspace, warehouse).sentences(uses)))


def _raw(node: Mapping[str, Any]) -> str:
    return str(node.get("raw_code") or "") if node.get("language", "sql") == "sql" else ""


def _read_sql(place: str, sql: str, uses: _Uses) -> None:
    """Read the package's conditions in a model, where their arguments are written out."""
    for found in _OWN_SQL.finditer(sql):
        names = tuple(each.replace("''", "'") for each in _LITERAL.findall(found[1] or found[2]))
        for name in names:
            uses.event(place, "track", name, None)
    try:
        tree = Environment(extensions=["jinja2.ext.do"], autoescape=True).parse(sql)
    except TemplateError:
        return
    for call in tree.find_all(nodes.Call):
        name = call.node.attr if isinstance(call.node, nodes.Getattr) else getattr(call.node, "name", "")
        if name in ("did", "did_not"):
            given = _arguments(call, ("event", "at_least", "at_most", "within", "where", "source"))
            uses.event(place, given.get("source", "track"), given.get("event"), given.get("where"))
        elif name == "did_in_order":
            given = _arguments(call, ("steps", "within", "window", "source"))
            steps = given.get("steps")
            for step in steps if isinstance(steps, list | tuple) else ():
                own = step if isinstance(step, Mapping) else {"event": step}
                uses.event(place, given.get("source", "track"), own.get("event"), own.get("where"))
        elif name == "trait":
            trait = _arguments(call, ("name",)).get("name")
            if isinstance(trait, str):
                uses.traits.append((place, trait))


def _arguments(call: nodes.Call, names: Sequence[str]) -> dict[str, Any]:
    """The arguments of a call that are constants, by name."""
    given = [*zip(names, call.args, strict=False), *((each.key, each.value) for each in call.kwargs)]
    found: dict[str, Any] = {}
    for name, value in given:
        try:
            found[name] = value.as_const()
        except nodes.Impossible:
            continue
    return found


def _read_variables(workspace: Workspace, uses: _Uses) -> None:
    """Read the project's own traits. Those of orders are the package's, whether or not there are orders."""
    own = workspace.dbt.vars.get("revetl")
    variables = {**workspace.dbt.vars, **(own if isinstance(own, Mapping) else {})}
    traits = variables.get("traits")
    for name, trait in (traits if isinstance(traits, Mapping) else {}).items():
        if not isinstance(trait, Mapping):
            continue
        place = f"dbt_project.yml: vars.revetl.traits.{name}"
        source = trait.get("source", "track")
        uses.event(place, source, trait.get("event"), trait.get("where"), trait.get("property"))
        steps = trait.get("steps")
        for step in steps if isinstance(steps, list) else ():
            given = step if isinstance(step, Mapping) else {"event": step}
            uses.event(place, source, given.get("event"), given.get("where"))
    declared = variables.get("profile_traits")
    for entry in declared if isinstance(declared, list) else ():
        for name in entry if isinstance(entry, Mapping) else (entry,):
            uses.traits.append(("dbt_project.yml: vars.revetl.profile_traits", str(name)))


def _properties(where: object) -> Iterator[str]:
    """The properties that a condition reads, by the first part of their paths."""
    if isinstance(where, str):
        yield from _PROPERTY.findall(where)
        return
    for each in [where] if isinstance(where, Mapping) else where if isinstance(where, list | tuple) else ():
        if isinstance(each, Mapping) and (name := _first(each.get("property"))):
            yield name


def _first(path: object) -> str | None:
    """The first part of a path: `products` of `products[].name`."""
    return re.split(r"[.\[]", path)[0] or None if isinstance(path, str) else None


class _Check:
    """Looks names up in the warehouse, in one query for each kind of event."""

    def __init__(self, workspace: Workspace, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        relations = workspace.manifest.relations()
        self._named = {name: table(*place) for name, place in relations.items()}

    def sentences(self, uses: _Uses) -> Iterator[str]:
        for source in _STAGED:
            of_source = [use for use in uses.events if use.source == source]
            if of_source:
                yield from self._events(source, of_source)
        yield from self._traits(uses.traits)

    def _there(self, name: str) -> exp.Table | None:
        relation = self._named.get(name)
        return relation if relation is not None and self._warehouse.exists(relation) else None

    def _events(self, source: str, uses: Sequence[_Use]) -> Iterator[str]:
        model, name = _STAGED[source]
        relation = self._there(model)
        if relation is None:
            return
        named = column(name, of="m")
        asked = sorted({event for use in uses for event in use.events})
        query = statement(
            "select :name as event from :messages as m where :listed group by :name",
            name=named,
            messages=relation,
            listed=exp.In(this=named.copy(), expressions=[exp.convert(each) for each in asked]),
        )
        seen = {str(event) for (event,) in self._warehouse.rows(query)}
        if unseen := set(asked) - seen:
            every = self._names(relation, named)
            for use in uses if every else ():
                for event in use.events:
                    if event in unseen:
                        yield f"{use.place}: no {source} has the name '{event}'. {nearest(event, every)}"
        for use in uses:
            events = [event for event in use.events if event in seen]
            if events and use.properties:
                yield from self._event_properties(relation, named, use, events)

    def _event_properties(
        self, relation: exp.Table, named: exp.Expr, use: _Use, events: Sequence[str]
    ) -> Iterator[str]:
        listed = exp.In(this=named.copy(), expressions=[exp.convert(each) for each in events])
        keys: Collection[str] | None = None
        for name in use.properties:
            value = self._warehouse.json_text(column("properties", of="m"), name)
            found = self._warehouse.rows(
                statement(
                    "select count(*) from :of as m where :listed and :value is not null",
                    of=relation,
                    listed=listed,
                    value=value,
                )
            )
            if found[0][0]:
                continue
            if keys is None:
                keys = self._keys(relation, "properties", listed)
            # An object has no text on some engines, and is there all the same.
            if name not in keys and (keys or self._warehouse.dialect in _READS_OBJECTS):
                of = ", ".join(f"'{event}'" for event in events)
                yield f"{use.place}: no {of} has the property '{name}'. {nearest(name, keys)}"

    def _traits(self, named: Sequence[tuple[str, str]]) -> Iterator[str]:
        relation = self._there(_PROFILES) if named else None
        if relation is None:
            return
        there = {each.lower(): each for each in self._warehouse.columns(relation)}
        asked = sorted({there[name.lower()] for _, name in named if name.lower() in there})
        if not asked:
            return
        counts = [exp.Count(this=column(name, of="p")) for name in asked]
        everybody, *found = self._warehouse.rows(
            exp.select(exp.Count(this=exp.Star()), *counts).from_(
                exp.alias_(relation.copy(), "p", table=True)
            )
        )[0]
        empty = {name.lower() for name, count in zip(asked, found, strict=True) if not count}
        if not everybody or not empty:
            return
        identifies = self._there("stg_revetl__identifies")
        keys = self._keys(identifies, "traits", exp.true()) if identifies is not None else set()
        for place, name in named:
            if name.lower() in empty:
                yield f"{place}: nobody has the trait '{name}'. {nearest(name, keys - {name})}"

    def _keys(self, relation: exp.Table, document: str, listed: exp.Expr) -> set[str]:
        """The names at the top of some documents."""
        text = exp.cast(column(document, of="m"), "varchar")
        rows = self._warehouse.rows(
            statement(
                "select :text from :of as m where :listed and :document is not null limit :n",
                text=text,
                of=relation,
                listed=listed.copy(),
                document=column(document, of="m"),
                n=_SAMPLED,
            )
        )
        found: set[str] = set()
        for (each,) in rows:
            try:
                read = orjson.loads(each)
            except (orjson.JSONDecodeError, TypeError):
                continue
            found |= read.keys() if isinstance(read, dict) else set()
        return found

    def _names(self, relation: exp.Table, value: exp.Expr) -> set[str]:
        query = "select distinct :value from :of as m where :value is not null limit :n"
        rows = self._warehouse.rows(statement(query, value=value.copy(), of=relation, n=_MOST_NAMES))
        return {str(each) for (each,) in rows}


def say_unseen(
    workspace: Workspace, say: Callable[[str], None], chosen: Collection[str] | None = None
) -> None:
    """Warn of names in the audiences `chosen` by unique id, or in all and in the project's traits, that no
    message has, where the warehouse can be read at once."""
    with suppress(RevetlError):
        warehouse = workspace.warehouse(read_only=True, lock_timeout=0)
        try:
            for sentence in unseen_names(workspace, warehouse, chosen):
                say(f"Warning: {sentence}")
        finally:
            warehouse.close()
