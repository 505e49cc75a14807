"""The comment on each statement of a run, which identifies the run in the warehouse's query history."""

from __future__ import annotations

import re

_LONGEST_NAME = 120
_AT_THE_END = frozenset({"snowflake"})
"""Snowflake removes leading comments from its query history."""


def query_comment(sync: str, run_id: str) -> str:
    """Return `revetl sync=… run=…` on one line. Characters of names other than letters, digits, `_`, `.` and
    `-` become `_`, so that they can't end the comment or look like a driver's parameter."""
    return f"revetl sync={_plain(sync)} run={_plain(run_id)}"


def commented(sql: str, comment: str, dialect: str) -> str:
    """Add a text of `query_comment` to rendered SQL: before it, or after it if the engine drops leading
    comments.

    The comment is added to the text, because sqlglot renders `add_comments` after the CTEs of a query,
    between the branches of a union, and after a MERGE.
    """
    return f"{sql} /* {comment} */" if dialect in _AT_THE_END else f"/* {comment} */ {sql}"


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)[:_LONGEST_NAME]
