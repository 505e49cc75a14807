"""`revetl why`: the condition that decides about a person, and what a sync makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from revetl.errors import UsageError
from revetl.inspect.explain import Explanation, explain
from revetl.inspect.explain.answer import Condition
from tests.helpers.project import ProjectFolder

META = {"key": "user_id", "sync": [{"to": "crm"}]}

TABLES = """
create table people as select * from (values
    ('u1', 'Ann@x.com', 0.90, 3, 'DE', true),
    ('u2', 'bob@x.com', 0.42, 3, 'FR', true),
    ('u3', 'cy@y.com', null, 1, 'DE', false),
    ('u4', 'di@y.com', 0.80, 2, 'FR', true)
) as p (User_ID, email, churn, orders, country, active);
create table orders as select * from (values
    ('u1', 10, 'paid'), ('u1', 20, 'paid'), ('u1', 900, 'refunded'), ('u2', 100, 'paid'), ('u4', 5, 'open')
) as o (user_id, total, status);
create table blocked as select * from (values ('u4'), (null)) as b (user_id);
create table vips as select * from (values ('u2', 1), ('u4', 2)) as v (user_id, rank);
"""


def asked(project: ProjectFolder, person: str, query: str, meta: dict[str, Any] | None = None) -> Explanation:
    """Why a person is in the audience `chosen`, built of a query."""
    project.audience("chosen", query, dict(meta or {"key": "user_id"}), compiled_code=query)
    return explain(project.open().workspace, person, "chosen")


def flat(conditions: tuple[Condition, ...]) -> list[tuple[str, bool | None, dict[str, Any]]]:
    found: list[tuple[str, bool | None, dict[str, Any]]] = []
    for each in conditions:
        found += flat(each.parts) if each.operator else [(each.text, each.holds, dict(each.values))]
    return found


@pytest.fixture
def shop(project: ProjectFolder) -> ProjectFolder:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            project.sql(statement)
    return project


WHERE = "select user_id from people where churn > 0.7 and active"
LADDER = """
with imported as (select * from people),
risky as (select User_id, orders from imported where CHURN > 0.5),
members as (select user_id from risky where orders >= 3)
select * from members
"""
JOIN = "select p.user_id from people as p inner join vips as v on v.user_id = p.user_id where p.active"
USING = "select user_id from people join vips using (user_id)"
COMMA = "select p.user_id from people p, vips v where p.user_id = v.user_id and v.rank < 2"
DERIVED = "select x.user_id from (select user_id, orders * 2 as twice from people) as x where twice > 4"
HAVING = """
select user_id, sum(total) as spent from orders where status = 'paid' group by all having sum(total) > 50
"""
RANKED = """
with ranked as (select user_id, country, row_number() over (partition by country order by churn desc) as place
from people where churn is not null)
select user_id from ranked where place = 1
"""
QUALIFY = "select user_id from people qualify row_number() over (order by churn desc nulls last) <= 2"
EXCEPT = (
    "select user_id from people where active except select user_id from blocked where user_id is not null"
)
INTERSECT = "select user_id from people intersect select user_id from vips"
UNION = (
    "select user_id from people where churn > 0.85 union all select user_id from people where country = 'FR'"
)
LIMIT = "select user_id, churn as risk from people where active order by risk desc limit 2"
NOT_IN = "select user_id from people where user_id not in (select user_id from blocked)"
NOT_EXISTS = """
select user_id from people where not exists (select 1 from vips where vips.user_id = people.user_id)
"""
ANTI = "select p.user_id from people p anti join vips v on v.user_id = p.user_id"
LEFT = "select p.user_id from people p left join vips v on v.user_id = p.user_id where v.user_id is null"
AS_TEXT = "select lower(email) as user_id from people where churn < 0.5"
OF_ANOTHER_GROUP = """
select max(user_id) as user_id from people where churn > 0.3 group by country having max(churn) > 0.85
"""
DISTINCT_ON = "select distinct on (country) user_id from people order by country, churn desc"
UNNESTED = "select p.user_id from people as p, unnest([1]) as t (x) where x = 2"
GUARDED = """
select user_id from people where country = 'NL' and cast(email as integer) > 3
"""


@pytest.mark.parametrize(
    ("query", "person", "reasons"),
    [
        pytest.param(WHERE, "u1", (), id="a member has no reason against"),
        pytest.param(
            WHERE, "u2", ("final select: churn > 0.7 is false (churn = 0.42)",), id="a simple where"
        ),
        pytest.param(
            WHERE,
            "u3",
            (
                "final select: churn > 0.7 is null (churn = null)",
                "final select: active is false (active = false)",
            ),
            id="a null and a boolean column",
        ),
        pytest.param(
            "select user_id from people where orders = 1 and (churn > 0.7 or country = 'FR') ",
            "u4",
            ("final select: orders = 1 is false (orders = 2)",),
            id="and with an or that holds",
        ),
        pytest.param(
            "select user_id from people where churn > 0.7 or (country = 'FR' and orders > 9)",
            "u2",
            ("final select: none of these is true: churn > 0.7 OR (country = 'FR' AND orders > 9)",),
            id="an or of which nothing holds",
        ),
        pytest.param(
            LADDER, "u4", ("members: orders >= 3 is false (orders = 2)",), id="the last CTE of a ladder"
        ),
        pytest.param(LADDER, "u2", ("risky: CHURN > 0.5 is false (churn = 0.42)",), id="a CTE in its middle"),
        pytest.param(
            JOIN,
            "u1",
            (
                "final select: join vips on v.user_id = p.user_id finds nothing (p.user_id = 'u1')",
                "vips has no row of the person",
            ),
            id="a join drops the person",
        ),
        pytest.param(
            USING,
            "u3",
            (
                "final select: join vips on people.user_id = vips.user_id finds nothing "
                "(people.user_id = 'u3')",
                "vips has no row of the person",
            ),
            id="a join by using",
        ),
        pytest.param(
            COMMA,
            "u4",
            ("final select: v.rank < 2 is false (v.rank = 2)",),
            id="a join written in where, with a condition on the other side",
        ),
        pytest.param(
            DERIVED, "u4", ("final select: twice > 4 is false (twice = 4)",), id="a subquery in from"
        ),
        pytest.param(
            HAVING,
            "u1",
            ("final select: SUM(total) > 50 is false (SUM(total) = 30)",),
            id="having, of who passed where",
        ),
        pytest.param(
            HAVING,
            "u4",
            ("final select: status = 'paid' is false (status = 'open')",),
            id="where before having",
        ),
        pytest.param(
            RANKED, "u2", ("final select: place = 1 is false (place = 2)",), id="a window, then where"
        ),
        pytest.param(
            QUALIFY,
            "u2",
            (
                "final select: ROW_NUMBER() OVER (ORDER BY churn DESC) <= 2 is false "
                "(ROW_NUMBER() OVER (ORDER BY churn DESC) = 3)",
            ),
            id="qualify sees everybody else",
        ),
        pytest.param(
            EXCEPT,
            "u4",
            ("final select: the person is in 'final select: after except', which is subtracted (1 row)",),
            id="except takes out",
        ),
        pytest.param(
            EXCEPT,
            "u3",
            ("final select: before except: active is false (active = false)",),
            id="not there before except",
        ),
        pytest.param(INTERSECT, "u1", ("vips has no row of the person",), id="intersect"),
        pytest.param(
            UNION,
            "u3",
            (
                "final select: before union: churn > 0.85 is null (churn = null)",
                "final select: after union: country = 'FR' is false (country = 'DE')",
            ),
            id="in neither part of a union",
        ),
        pytest.param(
            LIMIT,
            "u2",
            ("final select: ORDER BY risk DESC LIMIT 2 is false (position in that order = 3)",),
            id="a limit",
        ),
        pytest.param(
            NOT_IN,
            "u1",
            (
                "final select: user_id NOT IN (SELECT user_id FROM blocked) is null: the list "
                "contains a null, so 'not in' is never true (user_id = 'u1')",
            ),
            id="not in a list with a null",
        ),
        pytest.param(
            NOT_EXISTS,
            "u2",
            (
                "final select: NOT EXISTS(SELECT 1 FROM vips WHERE vips.user_id = people.user_id) is false "
                "(user_id = 'u2')",
            ),
            id="not exists",
        ),
        pytest.param(
            ANTI,
            "u2",
            ("final select: anti join vips on v.user_id = p.user_id is false (p.user_id = 'u2')",),
            id="an anti join",
        ),
        pytest.param(
            LEFT,
            "u2",
            ("final select: v.user_id IS NULL is false (v.user_id = 'u2')",),
            id="a left join for nobody",
        ),
        pytest.param(
            AS_TEXT,
            "ann@x.com",
            ("final select: churn < 0.5 is false (churn = 0.90)",),
            id="a key that is computed",
        ),
        pytest.param(
            GUARDED,
            "u1",
            ("final select: country = 'NL' is false (country = 'DE')",),
            id="a condition that fails where the engine would not come to it",
        ),
    ],
)
def test_reasons(shop: ProjectFolder, query: str, person: str, reasons: tuple[str, ...]) -> None:
    why = asked(shop, person, query)
    assert why.membership.reasons == reasons
    assert (why.membership.member, why.membership.by_query) == (not reasons, not reasons)
    assert why.membership.notes == ()


def test_every_condition_has_its_truth_and_its_values(shop: ProjectFolder) -> None:
    query = """
    with risky as (select user_id, email, orders from people where churn > 0.3 and not country in ('NL'))
    select user_id from risky where (lower(email) like '%@x.com' or orders = 2) and orders between 3 and 9
    """
    why = asked(shop, "u4", query)
    found = {step.name: (step.rows, flat(step.conditions)) for step in why.membership.steps}
    assert {name: rows for name, (rows, _) in found.items()} == {"people": 1, "risky": 1, "final select": 0}
    assert [(text, holds) for text, holds, _ in found["risky"][1]] == [
        ("churn > 0.3", True),
        ("country NOT IN ('NL')", True),
    ]
    assert found["final select"][1] == [
        ("LOWER(email) LIKE '%@x.com'", False, {"email": "di@y.com", "LOWER(email)": "di@y.com"}),
        ("orders = 2", True, {"orders": 2}),
        ("orders BETWEEN 3 AND 9", False, {"orders": 2}),
    ]


def test_of_several_rows_the_nearest_is_shown(shop: ProjectFolder) -> None:
    why = asked(shop, "u1", "select distinct user_id from orders where status = 'paid' and total > 25")
    (_, step) = why.membership.steps
    assert [(each.text, each.holds, each.true_of, each.rows) for each in step.conditions] == [
        ("status = 'paid'", True, 2, 3),
        ("total > 25", False, 1, 3),
    ]


@pytest.mark.parametrize(
    ("query", "person", "reason", "said"),
    [
        pytest.param(
            OF_ANOTHER_GROUP, "u4", "is lost in a part", "having: not analyzed", id="groups not of people"
        ),
        pytest.param(
            DISTINCT_ON, "u2", "is lost in a part", "its DISTINCT ON was not analyzed", id="distinct on"
        ),
        pytest.param(
            UNNESTED, "u1", "x = 2 is false (x = 1)", "its joins were not analyzed", id="a lateral join"
        ),
    ],
)
def test_what_cannot_be_analysed_is_said(
    shop: ProjectFolder, query: str, person: str, reason: str, said: str
) -> None:
    membership = asked(shop, person, query).membership
    table, final = membership.steps
    (found,) = membership.reasons
    assert (table.rows, final.rows, reason in found) == (1, 0, True)
    assert said in [*final.notes, *(f"{each.kind}: {each.note}" for each in final.conditions)]


def test_who_is_only_in_a_table_that_was_not_followed_is_known(shop: ProjectFolder) -> None:
    pivoted = "pivot orders on status using sum(total) group by user_id"
    membership = asked(shop, "u1", f"select user_id from ({pivoted}) where paid > 50").membership
    assert membership.member is False
    assert {step.name: step.rows for step in membership.steps} == {"orders": 3, "final select": 0}


def test_sql_that_is_no_sql_is_said(shop: ProjectFolder) -> None:
    shop.audience("chosen", WHERE, {"key": "user_id"}, compiled_code="select from where (")
    (note,) = explain(shop.open().workspace, "u1", "chosen").membership.notes
    assert note.startswith("Not analyzed: Its SQL could not be parsed")


def test_sql_that_is_not_compiled_is_said(shop: ProjectFolder) -> None:
    shop.audience("chosen", WHERE, {"key": "user_id"})
    membership = explain(shop.open().workspace, "u1", "chosen").membership
    assert (membership.member, membership.by_query, membership.steps) == (True, None, ())
    assert membership.notes == (
        "Not analyzed: The compiled SQL of chosen is not in target/: run `dbt compile --select chosen`.",
    )


def test_a_table_that_is_older_than_what_it_reads_is_said(shop: ProjectFolder) -> None:
    shop.audience("chosen", WHERE, {"key": "user_id"}, compiled_code=WHERE)
    shop.sql("update people set churn = 0.1 where user_id = 'u1'")
    membership = explain(shop.open().workspace, "u1", "chosen").membership
    assert (membership.member, membership.by_query) == (True, False)
    assert membership.reasons == ("final select: churn > 0.7 is false (churn = 0.10)",)
    assert "Run `dbt build --select chosen`." in membership.notes[0]


IDENTITY = """
create table int_revetl__identity_graph as select * from (values
    ('user_id', 'u1', 'p1'), ('user_id', 'old1', 'p1'), ('email', 'ann@x.com', 'p1'),
    ('anonymous_id', 'a1', 'p1'),
    ('anonymous_id', 'a9', 'p9'), ('email', 'both@x.com', 'p1'), ('email', 'both@x.com', 'p9')
) as g (identifier_type, identifier_value, canonical_id);
create table revetl_profiles as select * from (values
    ('p1', 'u1', 'a1', 'ann@x.com', 0.9), ('p9', null, 'a9', null, 0.9)
) as p (canonical_id, user_id, anonymous_id, email, churn);
"""


@pytest.fixture
def known(shop: ProjectFolder) -> ProjectFolder:
    for statement in IDENTITY.split(";\n"):
        if statement.strip():
            shop.sql(statement)
    for name in ("int_revetl__identity_graph", "revetl_profiles"):
        shop.audience(name, f"select * from {name}", {"key": "canonical_id"})
    return shop


@pytest.mark.parametrize("person", ["u1", "old1", "Ann@X.com", "a1", "p1"])
def test_a_person_is_found_by_any_identifier(known: ProjectFolder, person: str) -> None:
    why = asked(
        known, person, "select user_id from revetl_profiles where churn > 0.5 and user_id is not null"
    )
    assert (why.person.keys, why.membership.member) == (("u1",), True)


def test_someone_without_the_key_is_followed_by_their_profile(known: ProjectFolder) -> None:
    why = asked(known, "a9", "select user_id, email from revetl_profiles where user_id is not null", META)
    assert why.membership.reasons == ("final select: user_id IS NOT NULL is false (user_id = null)",)
    assert [each.verdict for each in why.delivery] == ["no_key"]


@pytest.mark.parametrize(
    ("person", "sentence"),
    [
        ("both@x.com", "'both@x.com' matches 2 people: old1, p9 (has no user_id). Choose one by user_id."),
        ("nobody", "No person found for 'nobody'"),
        ("x' or '1'='1", "No person found for 'x' or '1'='1'"),
        ("'; drop table people; --", "No person found for ''; drop table people; --'"),
    ],
)
def test_who_is_not_one_person_is_said(known: ProjectFolder, person: str, sentence: str) -> None:
    with pytest.raises(UsageError) as failed:
        asked(known, person, "select user_id from revetl_profiles")
    assert str(failed.value).startswith(sentence)
    assert known.sql("select count(*) from people") == [(4,)]


@pytest.mark.parametrize("quote", ["o'hara", 'a"b', "50%\\"])
def test_a_key_may_hold_anything(shop: ProjectFolder, quote: str) -> None:
    shop.sql("insert into people values (?, null, 0.1, 1, 'DE', true)", quote)
    why = asked(shop, quote, WHERE)
    assert why.membership.reasons == ("final select: churn > 0.7 is false (churn = 0.10)",)
