"""fakesnow's server as the runner needs it: what Snowflake has and it does not, in DuckDB's words."""

from __future__ import annotations

import sys
from typing import Any

from sqlglot import exp

from tests.warehouses.snowflake import serve


def missing(node: exp.Expr) -> exp.Expr:
    """A function of Snowflake's as DuckDB has it."""
    if isinstance(node, exp.Anonymous) and node.name.upper() == "HASH":
        # DuckDB's has no sign.
        hashed = exp.Anonymous(this="hash", expressions=node.expressions)
        return exp.cast(exp.BitwiseRightShift(this=hashed, expression=exp.convert(1)), "bigint")
    if isinstance(node, exp.ToChar) and "HH24" in node.args["format"].name:
        return exp.Anonymous(this="strftime", expressions=[node.this, exp.convert("%Y-%m-%dT%H:%M:%S.%fZ")])
    return node


def patch() -> None:
    """Teach it."""
    from fakesnow import copy_into, transforms, variables

    # It takes what begins with $ for a variable in a text, too.
    variables.Variables.inline_variables = lambda _, sql: sql
    own = transforms.hex_string
    transforms.hex_string = lambda node: own(missing(node))
    # It forgets which characters are trimmed, and where, of what is not cast to a text itself.
    cast_first = transforms.trim_cast_varchar
    transforms.trim_cast_varchar = lambda node: node if node.expression else cast_first(node)
    # DuckDB has a MERGE of its own; what it answers cannot be described.
    done = exp.select(exp.alias_(exp.convert(0), "number of rows inserted", quoted=True))
    transforms.merge = lambda said: [said, done.copy()] if isinstance(said, exp.Merge) else [said]

    def described(table: Any, connection: Any, *_: Any) -> list[tuple[str, str]]:
        # A temporary table is in no schema there.
        rows = connection.execute(f"describe {table.sql('duckdb')}").fetchall()
        return [(row[0], row[1]) for row in rows]

    copy_into._describe_table = described


if __name__ == "__main__":
    patch()
    serve(int(sys.argv[1]))
