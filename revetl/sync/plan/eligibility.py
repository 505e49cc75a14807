"""Eligibility: exclude members from a sync who are suppressed, excluded, claimed, held out or over the limit.

They go to one temporary table, `revetl_left_out` (key, cause, since), and the diff reads the audience without
them. Nothing is copied for a sync without these options.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from revetl.config.events import cased
from revetl.config.models import BUCKETS, CONTROL, ExcludeConfig
from revetl.errors import UsageError, WarehouseError, nearest
from revetl.mapping.comparable import IdentifierTypes, salted_hash_sql
from revetl.mapping.events import CALLS, MESSAGE_TYPE, TRACK
from revetl.mapping.fields import parse_expression, trimmed
from revetl.project.workspace import Sync, Workspace
from revetl.sync.plan.spellings import (
    ComparedIdentifier,
    ListOfPeople,
    Match,
    UnchangedCondition,
    matches,
)
from revetl.sync.plan.state_summary import StateSummary
from revetl.sync.plan.suppressed import (
    Kinds,
    check_kinds,
    kinds_by_column,
    listed_as,
    unmatched,
)
from revetl.sync.state import leases
from revetl.sync.state.tables import StateTables
from revetl.warehouse import Warehouse
from revetl.warehouse.templates import (
    column,
    query,
    select,
    statement,
    table,
)

LEFT_OUT = table("revetl_left_out")
SUPPRESSED, EXCLUDED, CLAIMED = "suppressed", "excluded", "claimed"
HELD_OUT, OTHER_EVENT = "held_out", "other_event"


@dataclass(frozen=True)
class Members:
    """The eligible members of an audience.

    `relation` replaces the model's table; with `chosen`, it excludes the keys in `revetl_left_out`, which
    otherwise does not exist. `suppressed_by` maps columns to the suppression types that apply to them, and
    `ignored` has the types that apply to none."""

    relation: exp.Table | exp.Subquery
    chosen: bool = False
    suppressed_by: Kinds = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def members_of(
    workspace: Workspace,
    sync: Sync,
    columns: dict[str, str],
    facts: StateSummary,
    warehouse: Warehouse,
    tables: StateTables,
    identified: Mapping[str, str],
    spelled: Sequence[ComparedIdentifier] = (),
    region: str | None = None,
    unchanged: UnchangedCondition | None = None,
) -> Members:
    """Return the eligible members of a sync's audience.

    `identified` maps columns to identifiers, `spelled` are the identifiers that are compared in normalized
    form, `region` is the default region of phone numbers, and `unchanged` the condition of members without
    changes. Raises UsageError for an option or a suppression with an unknown name, WarehouseError for a model
    that was not built."""
    model = sync.audience.relation
    check_kinds(workspace, warehouse, facts.suppressed_kinds, columns)
    kinds = kinds_by_column(facts.suppressed_kinds, columns, identified)
    ignored = tuple(unmatched(facts.suppressed_kinds, kinds))
    excluded = _excluded(workspace, sync, columns, warehouse)
    claimed = _claimed(workspace, sync, warehouse)
    suppressing = [each for name in spelled if (each := _suppressing(name, tables, facts, kinds))]
    people = [(each, [*_normalised(each, spelled)]) for each in (*excluded, *claimed)]
    lists = [*suppressing, *(each for _, them in people for each in them)]
    found = iter(matches(warehouse, lists, model, region, unchanged))
    by = _as_written(tables, kinds, spelled)
    by += [match for _ in suppressing for match in next(found)]
    by += _buried(workspace, tables, facts.tombstones, columns, identified)
    tests = [
        exp.or_(_among(each), *(_is_found(m) for _ in them for m in next(found))) for each, them in people
    ]
    causes = [
        (
            SUPPRESSED,
            exp.or_(*(statement(f"p{at}.value is not null") for at in range(len(by)))) if by else None,
        ),
        (EXCLUDED, exp.or_(*tests[: len(excluded)]) if excluded else None),
        (CLAIMED, exp.or_(*tests[len(excluded) :]) if claimed else None),
        (HELD_OUT, _held_out(sync, warehouse)),
        (EXCLUDED, _other_variants(sync, warehouse)),
        (OTHER_EVENT, _other_event(sync, columns)),
    ]
    named = [(cause, condition) for cause, condition in causes if condition is not None]
    limit = sync.config.limit
    if not named and limit is None:
        return Members(model, False, kinds, ignored)
    why = exp.Case(ifs=[exp.If(this=test, true=exp.convert(cause)) for cause, test in named])
    joins = " ".join(f"left join :listed{at} as p{at} on p{at}.value = :value{at}" for at in range(len(by)))
    sinces = ", ".join(f"p{at}.since" for at in range(len(by)))
    warehouse.temporary(
        LEFT_OUT,
        query(
            f"""
            with judged as (
                select :key as key, :why as cause, :rank as rank,
                    {f"coalesce({sinces}, null)" if by else "cast(null as timestamp)"} as since
                from :model as a {joins}
            ),
            placed as (
                select key, cause, since, row_number() over (partition by cause order by rank, key) as place
                from judged
            )
            select key, coalesce(cause, 'over_limit') as cause,
                case when cause = 'suppressed' then since end as since
            from placed
            where cause is not null or :over
            """,  # noqa: S608  the pieces are made of numbers
            key=_key(sync),
            why=exp.cast(why if named else exp.null(), "varchar"),
            rank=_rank(sync, columns, facts, tables),
            model=model,
            over=exp.false() if limit is None else statement("place > :limit", limit=limit),
            **{f"listed{at}": exp.Subquery(this=listed) for at, (_, listed) in enumerate(by)},
            **{f"value{at}": value for at, (value, _) in enumerate(by)},
        ),
    )
    remaining = statement(
        "select a.* from :model as a where not exists (select 1 from :left_out as o where o.key = :key)",
        model=model,
        left_out=LEFT_OUT,
        key=_key(sync),
    )
    return Members(exp.Subquery(this=remaining), True, kinds, ignored)


def _as_written(tables: StateTables, kinds: Kinds, spelled: Sequence[ComparedIdentifier]) -> list[Match]:
    """Return the matches of suppressed values as written, by column, and of their hashes if hashes are
    sent."""
    hashed = {name for each in spelled if each.is_hashed and each.is_as_written for name in each.columns}
    found: list[Match] = []
    for name, own in kinds.items():
        value = alike(column(name, of="a"))
        found.append((value, suppressed_by(tables, own)))
        if name in hashed:
            written = alike(column("identifier_value", of="s"))
            digest = exp.SHA2(this=written, length=exp.convert(256))
            found.append((value.copy(), suppressed_by(tables, own, digest)))
    return found


def _buried(
    workspace: Workspace,
    tables: StateTables,
    tombstones: Mapping[str, str],
    columns: Collection[str],
    identified: Mapping[str, str],
) -> list[Match]:
    """By the columns that somebody has a tombstone by: the salted hash of their normalized values.
    `tombstones` are the types, with the salt."""
    if not tombstones:
        return []
    types = IdentifierTypes.of(workspace)
    found: list[Match] = []
    for name, own in kinds_by_column(tombstones, columns, identified).items():
        for kind in own:
            comparable = types.comparable_sql(kind, column(name, of="a"))
            hashed = salted_hash_sql(tombstones[kind], exp.convert(kind), comparable)
            listed = select(
                """
                select t.identifier_hash as value, min(t.suppressed_at) as since from :tombstones as t
                where t.identifier_type = :kind group by 1
                """,
                tombstones=tables.named("privacy_tombstones"),
                kind=kind,
            )
            found.append((hashed, listed))
    return found


def _suppressing(
    spelled: ComparedIdentifier, tables: StateTables, facts: StateSummary, kinds: Kinds
) -> ListOfPeople | None:
    """Yield the suppressions to compare in normalized form, for identifiers where that finds more matches."""
    own = [kind for name in sorted(spelled.columns) for kind in kinds.get(name, ())]
    has_hashes = any(kind in facts.hashed_kinds for kind in own)
    if not own or (spelled.is_as_written and not (spelled.is_hashed and has_hashes)):
        return None
    return ListOfPeople(
        spelled,
        tables.suppressions,
        column("identifier_value", of="s"),
        listed_as(own),
        column("suppressed_at", of="s"),
        has_hashes,
    )


def suppressed_by(tables: StateTables, kinds: Iterable[str], value: exp.Expr | None = None) -> exp.Select:
    """Select the suppressed values of some types and when each was first suppressed: `value`, `since`.
    `value` may be an expression over `identifier_value`; the default is the value as written."""
    made = statement(
        """
        select :value as value, min(s.suppressed_at) as since from :list as s
        where :listed group by 1
        """,
        value=alike(column("identifier_value", of="s")) if value is None else value,
        list=tables.suppressions,
        listed=listed_as(kinds),
    )
    assert isinstance(made, exp.Select)
    return made


def alike(value: exp.Expr) -> exp.Expr:
    """Return an identifier in the form in which it is compared: as text, trimmed, in lower case."""
    return statement("lower(:text)", text=trimmed(value))


def record_holdouts(sync: Sync, members: Members, warehouse: Warehouse, tables: StateTables) -> None:
    """Record the holdout group with the time when each member was first held out; drop members of the
    audience who are no longer held out."""
    parts = {
        "holdouts": tables.holdouts,
        "left_out": LEFT_OUT,
        "sync": sync.name,
        "audience": sync.audience.name,
        "model": sync.audience.relation,
        "key": _key(sync),
    }
    if _held_out(sync, warehouse) is None:
        warehouse.run(statement("delete from :holdouts where sync = :sync", **parts))
        return
    if members.chosen:
        held_out = "select o.key from :left_out as o where o.cause = 'held_out'"
    else:
        held_out = "select '' as key where 1 = 0"
    warehouse.run(
        statement(
            f"""
            delete from :holdouts where sync = :sync
            and key in (select :key from :model as a) and key not in ({held_out})
            """,  # noqa: S608  the pieces are constants
            **parts,
        )
    )
    warehouse.run(
        statement(
            f"""
            insert into :holdouts (sync, audience, key, salt, held_out_at)
            select :sync, :audience, o.key, :salt, :now from ({held_out}) as o
            where o.key not in (select h.key from :holdouts as h where h.sync = :sync)
            """,  # noqa: S608  the pieces are constants
            **parts,
            salt=_salt(sync),
            now=leases.now(),
        )
    )


def _key(sync: Sync) -> exp.Expr:
    return exp.cast(column(sync.audience.key, of="a"), "varchar")


def _salt(sync: Sync) -> str:
    own = sync.config.salt if sync.config.holdout is not None else sync.audience.config.salt
    return own or sync.audience.name


def excluded_on(sync: Sync, each: ExcludeConfig, place: str, columns: Collection[str]) -> str:
    """Return the audience's column to match an exclusion on. Raises UsageError if it does not exist."""
    on = each.on or sync.audience.key
    if on.lower() not in {name.lower() for name in columns}:
        raise UsageError(f"{place}.on: {sync.audience.name} has no column '{on}'. {nearest(on, columns)}")
    return on


def excluded_column(
    each: ExcludeConfig, key: str | None, on: str, place: str, columns: Collection[str]
) -> str:
    """Return the column of the excluded people: the configured one, the audience's key, or the column with
    the same name. Raises UsageError if the model has none of them."""
    name = each.column or key or on
    if name.lower() not in {column.lower() for column in columns}:
        raise UsageError(f"{place}: {each.model} has no column '{name}'. Set column: to one of its columns.")
    return name


@dataclass(frozen=True)
class _People:
    """The rows of a relation, matched by a column with the column `on` of the audience."""

    on: str
    relation: exp.Table
    name: str
    any_case: bool = False
    """Whether case is ignored, as it is in suppressions."""


def _excluded(
    workspace: Workspace, sync: Sync, columns: dict[str, str], warehouse: Warehouse
) -> list[_People]:
    found = []
    for index, each in enumerate(sync.config.exclude):
        place = f"{sync.place}.exclude.{index}"
        listed, key = workspace.list_of_people(each.model, place)
        on = excluded_on(sync, each, place, columns)
        name = excluded_column(each, key, on, place, _columns(warehouse, listed, each.model))
        found.append(_People(on, listed, name, any_case=True))
    return found


def _claimed(workspace: Workspace, sync: Sync, warehouse: Warehouse) -> list[_People]:
    """Return the members of the audiences before this one in its priority list."""
    found = []
    for audience in workspace.before_in_priority(sync):
        _columns(warehouse, audience.relation, audience.name)
        found.append(_People(sync.audience.key, audience.relation, audience.key))
    return found


def _columns(warehouse: Warehouse, relation: exp.Table, name: str) -> dict[str, str]:
    if not warehouse.exists(relation):
        raise WarehouseError(f"{name} is not in the warehouse. Run `dbt build --select +{name}`.")
    return warehouse.columns(relation)


def _among(people: _People) -> exp.Expr:
    value, name = column(people.on, of="a"), column(people.name, of="x")
    compared = alike if people.any_case else _as_text
    return statement(
        ":value in (select :listed_value from :listed as x where :name is not null)",
        value=compared(value),
        listed_value=compared(name),
        name=name,
        listed=people.relation,
    )


def _as_text(value: exp.Expr) -> exp.Expr:
    return exp.cast(value, "varchar")


def _normalised(people: _People, spelled: Sequence[ComparedIdentifier]) -> Iterator[ListOfPeople]:
    """Yield the people in normalized form, if the column is an identifier."""
    value = column(people.name, of="s")
    for each in spelled:
        if {name.lower() for name in each.columns} == {people.on.lower()}:
            listed = statement(":value is not null", value=value)
            since = statement("cast(null as timestamp)")
            yield ListOfPeople(each, people.relation, value, listed, since)


def _is_found(match: Match) -> exp.Expr:
    value, listed = match
    return statement(
        ":value in (select m.value from :listed as m)", value=value, listed=exp.Subquery(this=listed)
    )


def _held_out(sync: Sync, warehouse: Warehouse) -> exp.Expr | None:
    """Return the condition that a member is in the control group."""
    variants = sync.audience.config.variants
    edge = round((sync.config.holdout or 0) * BUCKETS)
    if CONTROL in variants:
        _, edge = variants[CONTROL]
    return statement(":bucket < :edge", bucket=_bucket(sync, warehouse), edge=edge) if edge else None


def _other_variants(sync: Sync, warehouse: Warehouse) -> exp.Expr | None:
    """Return the condition that a member is in none of the sync's variants."""
    if not sync.config.variants:
        return None
    variants = [sync.audience.config.variants[name] for name in sync.config.variants]
    tests = [
        statement(
            "(:bucket >= :start and :bucket < :end)", bucket=_bucket(sync, warehouse), start=start, end=end
        )
        for start, end in variants
    ]
    return exp.Not(this=exp.paren(exp.or_(*tests)))


def _other_event(sync: Sync, columns: dict[str, str]) -> exp.Expr | None:
    """Return the condition that an event is not one that the sync sends."""
    config = sync.config
    if config.event_column is None or config.other_events == "send":
        return None
    name = parse_expression(config.event_column, columns, f"{sync.place}.event_column")
    names = {name for event in config.events for name in (event, cased(event, "snake_case"))}
    events = [exp.convert(name) for name in sorted(names)]
    named: exp.Expr = exp.In(this=column(name.name, of="a"), expressions=events) if events else exp.false()
    calls = [call for call, rule in CALLS.items() if rule in config.events]
    if config.message_type in calls:
        return None
    by_column = config.message_type or MESSAGE_TYPE
    if calls and by_column not in (TRACK, *CALLS) and by_column.lower() in {each.lower() for each in columns}:
        call = parse_expression(by_column, columns, f"{sync.place}.message_type")
        kind = statement("lower(:call)", call=column(call.name, of="a"))
        is_call = exp.In(this=kind, expressions=[exp.convert(each) for each in calls])
        return statement("not (coalesce(:named, false) or coalesce(:call, false))", named=named, call=is_call)
    return statement("coalesce(not (:named), true)", named=named)


def _bucket(sync: Sync, warehouse: Warehouse) -> exp.Expr:
    """Return the bucket of the salted key: a member is always in the same bucket, on every engine."""
    return warehouse.bucket(statement(":salt || ':' || :key", salt=_salt(sync), key=_key(sync)), BUCKETS)


def _rank(sync: Sync, columns: dict[str, str], facts: StateSummary, tables: StateTables) -> exp.Expr:
    """Return the order in which a limit takes members: by `order_by`, or else members already sent first, so
    that no member replaces another."""
    text, descending = sync.config.order
    if sync.config.limit is None or (text is None and not facts.has_state):
        return exp.convert(0)
    if text is None:
        return statement(
            "case when :key in (select s.key from :state as s where s.sync = :sync) then 0 else 1 end",
            key=_key(sync),
            state=tables.state,
            sync=sync.name,
        )
    value = parse_expression(text, columns, f"{sync.place}.order_by").transform(
        lambda node: column(node.name, of="a") if isinstance(node, exp.Column) else node
    )
    order = exp.Ordered(this=value, desc=descending, nulls_first=False)
    return exp.Window(
        this=exp.func("row_number"), order=exp.Order(expressions=[order, exp.Ordered(this=_key(sync))])
    )
