"""The comment on each statement of a run."""

from __future__ import annotations

import duckdb
import pytest
import sqlglot

from revetl.warehouse.query_comment import commented, query_comment

STATEMENTS = {
    "query": "with x as (select 1 as a union all select 2) select a from x",
    "create": "create or replace temporary table copied as select * from t",
    "insert": "insert into t (a, b) values (3, '/* text */ -- text')",
    "update": "update t set b = 'x' where a = 1",
    "merge": "merge into t using s on t.a = s.a when matched then update set b = s.b "
    "when not matched then insert (a, b) values (s.a, s.b)",
    "delete": "delete from t where a = 1",
}
DIALECTS = ("duckdb", "postgres", "redshift", "snowflake", "bigquery", "spark", "databricks")


@pytest.mark.parametrize(
    ("sync", "comment"),
    [
        pytest.param("high_churn.crm", "revetl sync=high_churn.crm run=r-1", id="a name stays"),
        pytest.param(
            "a */ drop table t; --\n", "revetl sync=a____drop_table_t__--_ run=r-1", id="nothing ends it"
        ),
        pytest.param("a /* b", "revetl sync=a____b run=r-1", id="nothing nests in it"),
        pytest.param("50%s :x ? {{y}} $1", "revetl sync=50_s__x_____y____1 run=r-1", id="no parameters"),
        pytest.param("é" * 500, f"revetl sync={'é' * 120} run=r-1", id="it is not long"),
    ],
)
def test_the_text(sync: str, comment: str) -> None:
    assert query_comment(sync, "r-1") == comment


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_the_statement_means_the_same(statement: str, dialect: str) -> None:
    sql = sqlglot.parse_one(statement).sql(dialect)
    comment = query_comment("a */ b.crm", "r1")
    parsed = sqlglot.parse(commented(sql, comment, dialect), read=dialect)
    assert parsed == sqlglot.parse(sql, read=dialect)
    assert len(parsed) == 1
    assert f"/* {comment} */" in (parsed[0].sql(dialect) if parsed[0] else "")


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_duckdb_runs_it(statement: str) -> None:
    def after(comment: bool) -> list[tuple[object, ...]]:
        connection = duckdb.connect()
        connection.execute("create table t as select 1 as a, 'old' as b")
        connection.execute("create table s as select 2 as a, 'new' as b")
        sql = sqlglot.parse_one(statement).sql("duckdb")
        connection.execute(commented(sql, query_comment("a */ b", "r1"), "duckdb") if comment else sql)
        result = connection.fetchall()
        return (
            result
            + connection.sql(commented("select * from t", query_comment("a", "r"), "duckdb")).fetchall()
        )

    assert after(True) == after(False)


def test_snowflake_keeps_it_at_the_end() -> None:
    assert commented("SELECT 1", query_comment("a.crm", "r1"), "snowflake") == (
        "SELECT 1 /* revetl sync=a.crm run=r1 */"
    )
