"""Query the messages of a replay from the staged messages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlglot import exp

from revetl.errors import UsageError, WarehouseError, nearest
from revetl.mapping.fields import parse_expression
from revetl.project.workspace import AudienceModel, Workspace
from revetl.sync.replay.request import EVENTS, ReplayRequest
from revetl.sync.state import leases
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import column, select, statement, table

BUCKETS = 65_536
"""Number of hash buckets of people. A person's bucket is the same on every engine."""
MODELS = {
    "track": "stg_revetl__tracks",
    "page": "stg_revetl__pages",
    "screen": "stg_revetl__screens",
    "identify": "stg_revetl__identifies",
    "group": "stg_revetl__groups",
}
_COMMON = ("message_id", "user_id", "anonymous_id", "context", "timestamp", "received_at", "source_id")
_EVENT_COLUMNS = ("event", "event_text", "name", "category", "properties")
_OWN = {
    "track": {"event": "event", "event_text": "event_text", "properties": "properties"},
    "page": {"event": "name", "event_text": "name", "name": "name", "category": "category"},
    "screen": {"event": "name", "event_text": "name", "name": "name", "category": "category"},
    "identify": {"traits": "traits"},
    "group": {"traits": "traits", "group_id": "group_id"},
}
_AHEAD = timedelta(hours=1)


@dataclass(frozen=True)
class Survey:
    """Statistics of the messages of some types in a replay's window.

    The number of messages by type, the number of people, the first and last time, and the earliest message
    overall.
    """

    messages: Mapping[str, int]
    people: int
    first: datetime | None
    last: datetime | None
    earliest: datetime | None

    @property
    def total(self) -> int:
        return sum(self.messages.values())


@dataclass(frozen=True)
class Source:
    """The messages selected by a request, in a warehouse."""

    workspace: Workspace
    warehouse: Warehouse
    request: ReplayRequest
    relations: Mapping[str, exp.Table]
    columns: Mapping[str, str]
    """Message columns with their types, for `where`."""

    def messages(self, types: Sequence[str], *, first: int = 0, end: int = BUCKETS) -> exp.Select:
        """Query messages of some types, each with its `bucket`.

        Selects people in the buckets from `first` up to but excluding `end`.
        """
        one = [self._of_type(name, types) for name in types]
        union = one[0] if len(one) == 1 else exp.union(*one, distinct=False)
        person = statement("coalesce(m.user_id, m.anonymous_id, m.message_id)")
        made = select(
            "select m.*, :bucket as bucket from :rows as m where :conditions",
            rows=exp.Subquery(this=union),
            bucket=self.warehouse.bucket(person, BUCKETS),
            conditions=self._conditions(),
        )
        if (first, end) == (0, BUCKETS):
            return made
        return select(
            "select * from :made as b where b.bucket >= :first and b.bucket < :end",
            made=exp.Subquery(this=made),
            first=first,
            end=end,
        )

    def _of_type(self, name: str, types: Sequence[str]) -> exp.Select:
        has_events = any(each in EVENTS for each in types)
        own = dict(_OWN[name])
        if name in EVENTS:
            own["properties"] = "properties"
        wanted = _EVENT_COLUMNS if has_events else ("traits", "group_id") if "group" in types else ("traits",)
        picked: list[exp.Expr] = [column(each, of="s") for each in _COMMON]
        picked.append(exp.alias_(exp.cast(exp.convert(name), "varchar"), "message_type", quoted=True))
        for each in wanted:
            if each in own:
                picked.append(exp.alias_(column(own[each], of="s"), each, quoted=True))
            else:
                nothing = exp.cast(exp.null(), self.warehouse.type_of("varchar"))
                picked.append(exp.alias_(nothing, each, quoted=True))
        made = exp.select(*picked).from_(exp.alias_(self.relations[name].copy(), "s", table=True))
        return made.where(self._window())

    def _window(self) -> exp.Expr:
        request = self.request
        tests = []
        if request.since is not None:
            tests.append(statement("s.timestamp >= :since", since=request.since))
        if request.until is not None:
            tests.append(statement("s.timestamp < :until", until=request.until))
        if request.sources:
            listed = [exp.convert(each) for each in request.sources]
            tests.append(exp.In(this=column("source_id", of="s"), expressions=listed))
        return exp.and_(*tests) if tests else exp.true()

    def _conditions(self) -> exp.Expr:
        request = self.request
        tests: list[exp.Expr] = []
        if request.events:
            patterns = "|".join(pattern_of(each) for each in request.events)
            found = [
                statement(
                    "regexp_like(coalesce(:name, ''), :pattern)",
                    name=column(name, of="m"),
                    pattern=f"^({patterns})$",
                )
                for name in ("event_text", "event")
            ]
            tests.append(exp.paren(exp.or_(*found)))
        if request.where is not None:
            parsed = parse_expression(request.where, self.columns, "--where")
            tests.append(exp.paren(_over(parsed)))
        if request.people is not None:
            tests.append(self._people(request.people))
        return exp.and_(*tests) if tests else exp.true()

    def _people(self, name: str) -> exp.Expr:
        audience = self.workspace.audience(name)
        there = self.warehouse.columns(self.workspace.built(audience, self.warehouse))
        known = {each.lower() for each in there}
        tests = [
            statement(
                ":mine in (select cast(:theirs as varchar) from :listed as x where :theirs is not null)",
                mine=column(each, of="m"),
                theirs=column(each, of="x"),
                listed=audience.relation,
            )
            for each in ("user_id", "anonymous_id")
            if each in known
        ]
        if not tests and "canonical_id" in known:
            return self._of_profiles(audience)
        if not tests:
            raise UsageError(
                f"--people {name}: it has no column user_id, anonymous_id or canonical_id, by which events "
                "are found. Select one of them in the model."
            )
        return exp.paren(exp.or_(*tests))

    def _of_profiles(self, audience: AudienceModel) -> exp.Expr:
        identifiers = profile_identifiers(self.workspace, self.warehouse)
        if identifiers is None:
            raise WarehouseError("revetl_profile_identifiers is not in the warehouse. Run `dbt build`.")
        tests = [
            statement(
                ":mine in (select i.identifier_value from :identifiers as i where i.identifier_type = :kind "
                "and i.canonical_id in (select x.canonical_id from :listed as x))",
                mine=column(each, of="m"),
                kind=each,
                identifiers=identifiers,
                listed=audience.relation,
            )
            for each in ("user_id", "anonymous_id")
        ]
        return exp.paren(exp.or_(*tests))

    def survey(self, types: Sequence[str]) -> Survey:
        """Count the messages of the window.

        Raises UsageError for messages without an ID or with a time in the future.
        """
        found = self.warehouse.rows(
            select(
                """
                select w.message_type, count(*), min(w.timestamp), max(w.timestamp),
                    count(case when w.message_id is null or w.message_id = '' then 1 end),
                    count(case when w.timestamp > :ahead then 1 end)
                from :messages as w group by 1 order by 1
                """,
                messages=exp.Subquery(this=self.messages(types)),
                ahead=leases.now() + _AHEAD,
            )
        )
        if nameless := sum(int(row[4]) for row in found):
            raise UsageError(
                f"{nameless:,} messages have no message_id, so they could be sent twice. Give each an id in "
                "the staging model, or leave them out with --where \"message_id <> ''\"."
            )
        if ahead := sum(int(row[5]) for row in found):
            raise UsageError(
                f"{ahead:,} messages are more than an hour in the future: their senders' clocks are wrong. "
                "Correct their time in the staging model, or end the window with --until."
            )
        people = select(
            "select count(distinct coalesce(w.user_id, w.anonymous_id, w.message_id)) from :messages as w",
            messages=exp.Subquery(this=self.messages(types)),
        )
        earliest = [
            self.warehouse.rows(select("select min(s.timestamp) from :model as s", model=relation))[0][0]
            for name, relation in self.relations.items()
            if name in types
        ]
        return Survey(
            messages={str(kind): int(count) for kind, count, *_ in found},
            people=int(self.warehouse.rows(people)[0][0]) if found else 0,
            first=min((row[2] for row in found), default=None),
            last=max((row[3] for row in found), default=None),
            earliest=min((each for each in earliest if each is not None), default=None),
        )


def make_source(workspace: Workspace, warehouse: Warehouse, request: ReplayRequest) -> Source:
    """Return the source of a request.

    Raises UsageError if the project has no staging models or `where` is invalid, and WarehouseError for a
    model that was not built.
    """
    known = workspace.manifest.relations()
    relations = {}
    for name in request.types:
        model = MODELS[name]
        if model not in known:
            raise UsageError(
                f"--as {name}: the project has no model '{model}', which replays read. Add revetl's package "
                "to the project: docs/how-to/adopting.md."
            )
        alias, schema, database = known[model]
        relations[name] = table(alias, schema, database)
        if not warehouse.exists(relations[name]):
            raise WarehouseError(f"{model} is not in the warehouse. Run `dbt build --select +{model}`.")
    has_events = any(name in EVENTS for name in request.types)
    if request.events and not has_events:
        raise UsageError("--event names events, and identify and group messages have no names. Leave it out.")
    source = Source(workspace, warehouse, request, relations, {})
    columns: dict[str, str] = {}
    for types in phases_of(request.types):
        unfiltered = Source(workspace, warehouse, ReplayRequest(request.to, request.types), relations, {})
        found = warehouse.columns(unfiltered.messages(types))
        if request.where is not None:
            parse_expression(request.where, found, f"--where, of {' and '.join(types)} messages")
        columns |= found
    columns.pop("bucket", None)
    source = Source(workspace, warehouse, request, relations, columns)
    if request.where is not None:
        _check_where(source, request.where)
    if request.sources:
        _check_sources(source)
    return source


def _check_where(source: Source, where: str) -> None:
    """Raise UsageError if the engine rejects the expression."""
    for types in phases_of(source.request.types):
        try:
            source.warehouse.columns(source.messages(types))
        except WarehouseError as error:
            said = " ".join(str(error).split())
            raise UsageError(
                f"--where: '{where}' cannot be evaluated ({said}). A member of a JSON column is text in an "
                "expression, so cast numbers: cast(properties.total as double) > 50."
            ) from None


def phases_of(types: Sequence[str]) -> list[tuple[str, ...]]:
    """Group message types into phases, sent one after the other: people and groups first, then their
    events."""
    phases = [(name,) for name in ("identify", "group") if name in types]
    events = tuple(name for name in EVENTS if name in types)
    return [*phases, events] if events else [*phases]


def profile_identifiers(workspace: Workspace, warehouse: Warehouse) -> exp.Table | None:
    """Return the public model of people's identifiers; None if it does not exist."""
    found = workspace.manifest.relations().get("revetl_profile_identifiers")
    if found is None:
        return None
    alias, schema, database = found
    relation = table(alias, schema, database)
    return relation if warehouse.exists(relation) else None


def pattern_of(glob: str) -> str:
    """Convert a pattern with `*` and `?` to a regular expression."""
    return "".join(".*" if each == "*" else "." if each == "?" else re.escape(each) for each in glob)


def _over(parsed: exp.Expr) -> exp.Expr:
    return parsed.transform(lambda node: column(node.name, of="m") if isinstance(node, exp.Column) else node)


def _check_sources(source: Source) -> None:
    known: set[str] = set()
    for relation in source.relations.values():
        query = select("select distinct s.source_id from :model as s", model=relation)
        known |= {str(name) for (name,) in source.warehouse.rows(query) if name is not None}
    for name in source.request.sources:
        if name not in known:
            raise UsageError(f"--source {name}: no message is of that source. {nearest(name, known)}")
