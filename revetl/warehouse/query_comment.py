"""The comment each statement of a run carries, so that a warehouse's query history says what sent it."""

from __future__ import annotations

import re

_LONGEST_NAME = 120
_AT_THE_END = frozenset({"snowflake"})
"""Snowflake takes comments off the beginning of a statement before it keeps its text."""


def query_comment(sync: str, run_id: str) -> str:
    """`revetl sync=… run=…` on one line. Letters, digits, `_`, `.` and `-` are kept of the names and anything
    else becomes `_`, so that nothing in them ends the comment or passes for a parameter of a driver."""
    return f"revetl sync={_plain(sync)} run={_plain(run_id)}"


def commented(sql: str, comment: str, dialect: str) -> str:
    """Rendered SQL with a text of `query_comment`: before it, or after it where the engine drops comments
    from the beginning.

    It is put around the text, not into the expression: sqlglot renders `add_comments` after the CTEs of a
    query, between the branches of a union and behind a MERGE.
    """
    return f"{sql} /* {comment} */" if dialect in _AT_THE_END else f"/* {comment} */ {sql}"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)[:_LONGEST_NAME]
