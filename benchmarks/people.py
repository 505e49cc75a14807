"""Identity data whose truth is known: messages that show people's identifiers, made by SQL in DuckDB.

The same seed gives the same rows under one version of DuckDB. Every choice is a hash of a person's number, so
that nothing is joined and any range of people can be made by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import sha256

import duckdb

JUNK = ("null", "undefined", "unknown", "00000000-0000-0000-0000-000000000000")

# By priority: a message's identifiers are joined as a star on the first that it has.
TYPES = ("user_id", "email", "anonymous_id", "device_id")

MODELS = ("people", "revetl.staging", "revetl.intermediate.identity", "revetl.marts.identity")
"""What dbt builds of them: the model of the project, and the package's models of identities."""
GRAPH = "main_revetl_internal.int_revetl__identity_graph"
"""The identity graph in a DuckDB file."""

# Chains and kiosks' visitors are numbered apart from the others, who are 0, 1, 2...
_CHAINED = 10**12
_VISITORS = 2 * 10**12

_CHAIN = 200  # anonymous ids of one chain
_CHAIN_EDGES = 2 * _CHAIN - 1
_KIOSK = 5_000  # anonymous ids seen with one kiosk
_VISIT_EDGES = 1.6  # three of ten visitors log in, which shows two more pairs
# What one person adds on average by the shares below, when clean and when not.
_PERSON_EDGES = {True: 2.99, False: 3.02}
_PERSON_MESSAGES = {True: 2.94, False: 2.98}


@dataclass(frozen=True)
class Population:
    """What `make_people` made: the numbered people, and how many chains and kiosks there are beside them."""

    people: int
    chains: int
    kiosks: int


@dataclass(frozen=True)
class _Span:
    """When messages are: people begin within `spread` seconds of `start`; their messages are `step` apart."""

    start: str
    spread: int
    step: int


_YEAR = _Span("2025-01-01", spread=334 * 86_400, step=2 * 86_400)


@dataclass(frozen=True)
class _Ids:
    """SQL of the identifiers and the choices of a person, whose number is an SQL expression."""

    seed: int

    def draw(self, number: str, choice: str, sides: int) -> str:
        """A throw of a die of `sides`, from 0; another die for every `choice`."""
        salt = int.from_bytes(sha256(f"{self.seed} {choice}".encode()).digest()[:8])
        return f"(hash(xor(hash(cast({number} as bigint)), cast({salt} as ubigint))) % {sides})::bigint"

    def user(self, number: str) -> str:
        return f"'u' || {number}"

    def email(self, number: str) -> str:
        return f"'person' || {number} || '@example.com'"

    def anonymous(self, number: str, which: str) -> str:
        """The anonymous id `which` of a person: a UUID."""
        return self._uuid(f"'anonymous', {number}, {which}")

    def device(self, number: str, which: str) -> str:
        """The device `which` of a person: a UUID."""
        return self._uuid(f"'device', {number}, {which}")

    def has_user(self, number: str) -> str:
        """Whether a person ever logs in; one of ten does not."""
        return f"{self.draw(number, 'user', 10)} <> 0"

    def has_email(self, number: str) -> str:
        return f"({self.has_user(number)} and {self.draw(number, 'email', 10)} < 6)"

    def people(self, first: int, last: int) -> str:
        """People `first` to before `last`: who has which identifiers: 2 to 5, or 1 to 3 without user_id."""
        anonymous, devices = self.draw("person", "anonymous", 10), self.draw("person", "devices", 20)
        return f"""
            select *,
                case when has_user then least(some_devices, 4 - has_email::int - anonymous)
                    when anonymous > 1 then 1 else least(some_devices, 1) end as devices
            from (
                select person, {self.has_user("person")} as has_user, {self.has_email("person")} as has_email,
                    case when has_user then 1 + ({anonymous} >= 5)::int + ({anonymous} >= 8)::int
                        else 1 + ({anonymous} >= 7)::int end as anonymous,
                    case when {devices} < 8 then 0 when {devices} < 16 then 1 else 2 end as some_devices
                from range({first}, {last}) as numbers (person)
            )
        """

    def _uuid(self, parts: str) -> str:
        return f"cast(cast(md5(concat_ws(' ', {self.seed}, {parts})) as uuid) as varchar)"


def make_people(
    connection: duckdb.DuckDBPyConnection,
    edges: int,
    *,
    seed: int = 1,
    clean: bool = False,
    chains: bool = True,
) -> Population:
    """Make `bench.messages` of 2025, that show about `edges` pairs of identifiers, and `bench.truth`.

    `clean` leaves out junk, households, kiosks and typing errors: each person is one component then. Without
    `chains` nobody has 200 anonymous ids.
    """
    ids = _Ids(seed)
    long_ones = max(1, edges // 40_000) if chains else 0
    kiosks = 0 if clean else min(5, 1 + edges // 2_500_000)
    visits = min(_KIOSK, edges // 20)
    others = long_ones * _CHAIN_EDGES + kiosks * visits * _VISIT_EDGES
    people = max(10, int((edges - others) / _PERSON_EDGES[clean]))
    connection.execute("create schema if not exists bench")
    connection.execute(
        "create or replace table bench.messages (message_id varchar, timestamp timestamp, user_id varchar, "
        "email varchar, anonymous_id varchar, device_id varchar)"
    )
    connection.execute(
        "create or replace table bench.truth (identifier_type varchar, identifier_value varchar, person bigint)"
    )
    # Two people who turned out to be one: the truth has `stays` for both.
    connection.execute("create or replace table bench.merged (stays bigint, goes bigint)")
    connection.execute(
        f"create or replace table bench.settings as select {seed} as seed, {clean} as clean, {people} as people, 0 as batches"
    )
    _add_people(connection, ids, 0, people, _YEAR, clean)
    _add_chains(connection, ids, long_ones)
    if kiosks:
        _add_kiosks(connection, ids, kiosks, visits, people)
    return Population(people, long_ones, kiosks)


def add_messages(connection: duckdb.DuckDBPyConnection, count: int) -> None:
    """Add `count` messages, all of the day after the last: the first batch is of 2026-01-01.

    Half are of new people; one in a hundred shows that two known anonymous people are one; the rest tie a new
    identifier to a known person. `bench.truth` follows.
    """
    seed, clean, people, batches = connection.execute("select * from bench.settings").fetchall()[0]
    ids = _Ids(seed)
    span = _Span(str(date(2026, 1, 1) + timedelta(days=batches)), spread=43_200, step=1_800)
    newcomers = int(count / 2 / _PERSON_MESSAGES[clean])
    before = _count(connection)
    _add_merges(connection, ids, span, count // 100, people, batches)
    _add_people(connection, ids, people, people + newcomers, span, clean)
    left = before + count - _count(connection)
    _add_to_known(connection, ids, span, max(0, left), people, batches)
    connection.execute("update bench.truth set person = stays from bench.merged where person = goes")
    connection.execute(f"update bench.settings set people = {people + newcomers}, batches = batches + 1")


def make_edges(connection: duckdb.DuckDBPyConnection, table: str = "bench.edges") -> int:
    """Make a table (left_id, right_id) of the distinct pairs in `bench.messages`; gives their number.

    Junk is left out. An id is the MD5 of type and value, as in the dbt models; left's type has priority.
    """
    junk = ", ".join(f"'{value}'" for value in JUNK)
    values = ", ".join(
        f"case when {name} not in ({junk}) then md5('{name}:' || {name}) end as {name}" for name in TYPES
    )
    stars = " union ".join(
        f"select coalesce({', '.join(TYPES[:place])}) as left_id, {TYPES[place]} as right_id from ids "
        f"where {TYPES[place]} is not null and coalesce({', '.join(TYPES[:place])}) is not null"
        for place in range(1, len(TYPES))
    )
    connection.execute(
        f"create or replace table {table} as with ids as (select {values} from bench.messages) {stars}"
    )
    return _count(connection, table)


def _count(connection: duckdb.DuckDBPyConnection, table: str = "bench.messages") -> int:
    return int(connection.execute(f"select count(*) from {table}").fetchall()[0][0])


def _add_people(
    connection: duckdb.DuckDBPyConnection, ids: _Ids, first: int, last: int, span: _Span, clean: bool
) -> None:
    """Everything that people `first` to before `last` show, and what is theirs."""
    user, email = ids.user("person"), f"case when has_email then {ids.email('person')} end"
    anonymous, device = ids.anonymous("person", "1"), ids.device("person", "1")
    # Who shows what, in the order of time: a condition, user_id, email, anonymous_id and device_id.
    shown = [
        (f"(not has_user and devices = 0) or {ids.draw('person', 'visits', 10)} < 4", "", "", anonymous, ""),
        (f"has_email and {ids.draw('person', 'subscribes', 10)} < 3", "", email, anonymous, ""),
        ("not has_user and devices > 0", "", "", anonymous, device),
        ("not has_user and anonymous > 1", "", "", ids.anonymous("person", "2"), device),
        ("has_user", user, email, anonymous, ""),
        ("has_user and anonymous > 1", user, "", ids.anonymous("person", "2"), ""),
        ("has_user and anonymous > 2", user, "", ids.anonymous("person", "3"), ""),
        ("has_user and devices > 0 and person % 2 = 0", user, "", "", device),
        ("has_user and devices > 0 and person % 2 = 1", "", "", anonymous, device),
        (f"has_user and devices > 0 and {ids.draw('person', 'app', 10)} < 3", user, "", anonymous, device),
        ("has_user and devices > 1", "", "", ids.anonymous("person", "anonymous"), ids.device("person", "2")),
    ]
    if not clean:
        shown += _flaws(ids, last)
    selects = " union all ".join(
        f"""
        select 'm' || person || '-{place}' as message_id,
            timestamp '{span.start}' + to_seconds({ids.draw("person", "begins", span.spread)} + {place * span.step}
                + {ids.draw("person", f"message {place}", span.step)}) as timestamp,
            {", ".join(value or "null" for value in values)}
        from people where {condition}
        """
        for place, (condition, *values) in enumerate(shown)
    )
    people = f"with people as materialized ({ids.people(first, last)})"
    connection.execute(f"insert into bench.messages {people} {selects}")
    owned = [("user_id", "has_user", user), ("email", "has_email", email)]
    owned += [("anonymous_id", f"anonymous >= {n}", ids.anonymous("person", str(n))) for n in (1, 2, 3)]
    owned += [("device_id", f"devices >= {n}", ids.device("person", str(n))) for n in (1, 2)]
    truth = " union all ".join(
        f"select '{name}', {value}, person from people where {has}" for name, has, value in owned
    )
    connection.execute(f"insert into bench.truth {people} {truth}")


def _flaws(ids: _Ids, people: int) -> list[tuple[str, str, str, str, str]]:
    """Rows of `shown` that are not a person's own: a household's device, junk, another's email."""
    user, anonymous = f"case when has_user then {ids.user('person')} end", ids.anonymous("person", "1")
    nobody = (
        f"case when has_user then {ids.draw('person', 'junk', 4)} else {ids.draw('person', 'junk', 2)} end"
    )
    other = ids.draw("person", "other", people)
    # A household is the first 2 to 5 of five people in a row.
    home = f"{ids.draw('person // 5', 'home', 1000)} < 34 and person % 5 < 2 + {ids.draw('person // 5', 'members', 4)}"
    return [
        (
            home,
            user,
            "",
            f"case when not has_user then {anonymous} end",
            ids.device("person // 5", "'shared'"),
        ),
        (
            f"{ids.draw('person', 'careless', 1000)} < 15",
            f"case {nobody} when 0 then 'null' when 1 then 'undefined' else {user} end",
            f"case {nobody} when 3 then 'unknown' end",
            f"case {nobody} when 2 then '{JUNK[-1]}' else {anonymous} end",
            "",
        ),
        (
            f"has_user and {ids.draw('person', 'typo', 10_000)} < 20 and {ids.has_email(other)}",
            user,
            ids.email(other),
            "",
            "",
        ),
    ]


def _add_chains(connection: duckdb.DuckDBPyConnection, ids: _Ids, chains: int) -> None:
    """People whose anonymous ids and devices are a path from the user_id on, each link later than the last."""
    anonymous, device = ids.anonymous("person", "link // 2"), ids.device("person", "(link - 1) // 2")
    links = f"""
        select {_CHAINED} + chain as person, link
        from range({chains}) as chains (chain), range({_CHAIN_EDGES}) as links (link)
    """
    connection.execute(
        f"""
        insert into bench.messages
        select 'm' || person || '-' || link,
            timestamp '{_YEAR.start}' + to_seconds({ids.draw("person", "begins", 30 * 86_400)} + link * 72_000),
            case when link = 0 then {ids.user("person")} end, null, {anonymous},
            case when link > 0 then {device} end
        from ({links})
        """
    )
    connection.execute(
        f"""
        insert into bench.truth
        select 'user_id', {ids.user("person")}, person from ({links}) where link = 0
        union all select 'anonymous_id', {anonymous}, person from ({links}) where link % 2 = 0
        union all select 'device_id', {device}, person from ({links}) where link % 2 = 1
        """
    )


def _add_kiosks(
    connection: duckdb.DuckDBPyConnection, ids: _Ids, kiosks: int, visits: int, people: int
) -> None:
    """Devices where each visit gives a new anonymous id, and three of ten visitors log in."""
    anonymous, device = ids.anonymous("visitor", "'kiosk'"), ids.device("kiosk", "'kiosk'")
    seen = f"""
        select *, {ids.has_user("person")} and {ids.draw("visitor", "logs in", 3)} = 0 as logs_in
        from (
            select kiosk, visit, {_VISITORS} + kiosk * {visits} + visit as visitor, {ids.draw("visitor", "who", people)} as person
            from range({kiosks}) as kiosks (kiosk), range({visits}) as visits (visit)
        )
    """
    time = f"timestamp '{_YEAR.start}' + to_seconds(visit * {364 * 86_400 // visits})"
    connection.execute(
        f"""
        insert into bench.messages
        select 'm' || visitor || '-0', {time}, null, null, {anonymous}, {device} from ({seen})
        union all
        select 'm' || visitor || '-1', {time} + interval 1 minute, {ids.user("person")}, null, {anonymous}, {device}
        from ({seen}) where logs_in
        """
    )
    connection.execute(
        f"insert into bench.truth select 'anonymous_id', {anonymous}, if(logs_in, person, visitor) from ({seen})"
    )


def _add_merges(
    connection: duckdb.DuckDBPyConnection, ids: _Ids, span: _Span, count: int, people: int, batch: int
) -> None:
    """Messages with the anonymous id of one anonymous person and the device of another."""
    first = _count(connection, "bench.merged")
    connection.execute(
        f"""
        insert into bench.merged
        select min(person), max(person)
        from (
            select person, (row_number() over (order by person) - 1) // 2 as pair
            from ({ids.people(0, people)}) where not has_user and devices > 0
        )
        where pair >= {first} and pair < {first + count}
        group by pair having count(*) = 2
        """
    )
    connection.execute(
        f"""
        insert into bench.messages
        select 'merge{batch}-' || goes, timestamp '{span.start}' + to_seconds({ids.draw("goes", "merge", 86_400)}),
            null, null, {ids.anonymous("stays", "1")}, {ids.device("goes", "1")}
        from (select * from bench.merged order by stays offset {first})
        """
    )


def _add_to_known(
    connection: duckdb.DuckDBPyConnection, ids: _Ids, span: _Span, count: int, people: int, batch: int
) -> None:
    """Messages that tie a new anonymous id to a known user_id, or a new device to either."""
    new = f"'new', {batch}"
    seen = f"""
        select *, {ids.has_user("person")} as has_user, {ids.draw("number", f"kind {batch}", 10)} as kind,
            has_user and kind < 6 as is_anonymous, has_user and kind < 8 as shows_user
        from (select number, {ids.draw("number", f"known {batch}", people)} as person from range({count}) as numbers (number))
    """
    connection.execute(
        f"""
        insert into bench.messages
        select 'known{batch}-' || number,
            timestamp '{span.start}' + to_seconds({ids.draw("number", f"time {batch}", 86_400)}),
            case when shows_user then {ids.user("person")} end, null,
            case when is_anonymous then {ids.anonymous("number", new)}
                when not shows_user then {ids.anonymous("person", "1")} end,
            case when not is_anonymous then {ids.device("number", new)} end
        from ({seen})
        """
    )
    connection.execute(
        f"""
        insert into bench.truth
        select if(is_anonymous, 'anonymous_id', 'device_id'),
            if(is_anonymous, {ids.anonymous("number", new)}, {ids.device("number", new)}), person
        from ({seen})
        """
    )
