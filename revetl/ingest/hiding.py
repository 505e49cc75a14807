"""Apply PII rules to parsed messages, before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import duckdb
import pyarrow as pa

from revetl.governance.pii import COLUMNS, Hider
from revetl.ingest import rules

Texts: TypeAlias = "pa.Array[pa.StringScalar]"


def hide(connection: duckdb.DuckDBPyConnection, hider: Hider) -> None:
    """Apply PII rules to `parsed_messages`. The generated id of a message without one is computed from the
    result. The text of rejected lines is dropped, because its content is unknown."""
    values = {"text": "cast(null as varchar)"}
    made: list[str] = []

    def call(name: str, work: Callable[[str], str | None], argument: str) -> str:
        function = f"revetl_hide_{name}"
        connection.create_function(  # type: ignore[call-overload]
            function, _of_arrays(work), ["VARCHAR"], "VARCHAR", type="arrow", null_handling="special"
        )
        made.append(function)
        return f"{function}({argument})"

    for place in rules.OBJECT_FIELDS:
        if hider.is_of(place):
            text = f'cast("{place}" as varchar)'
            hidden = call(place, partial(hider.document, place), text)
            values[place] = (
                f'case when {_may_have(hider, text)} then cast({hidden} as json) else "{place}" end'
            )
    for name in COLUMNS:
        if (rule := hider.column_rule(name)) is not None:
            values[name] = call(name, partial(hider.text, rule.action), rules.text(name))
    replaced = ", ".join(f'{value} as "{name}"' for name, value in values.items())
    try:
        connection.execute(
            f"create temporary table hidden_messages as select * replace ({replaced}) from parsed_messages"
        )
        connection.execute(
            "drop table parsed_messages; alter table hidden_messages rename to parsed_messages"
        )
        texts = ", ".join(f'cast("{name}" as varchar)' for name in rules.FIELDS)
        connection.execute(
            f"update parsed_messages set fallback_id = 'auto-' || md5(cast(to_json([{texts}]) as varchar)) "
            "where fallback_id is not null"
        )
    finally:
        for function in made:
            connection.remove_function(function)


def _may_have(hider: Hider, text: str) -> str:
    """Return SQL for whether a JSON text may contain a name to hide: the name itself, or unicode escapes."""
    if hider.names is None:
        return f"{text} is not null"
    names = "|".join(re.escape(name) for name in hider.names).replace("'", "''")
    return f"(regexp_matches({text}, '(?i)\"({names})\"') or contains({text}, '\\u'))"


def _of_arrays(work: Callable[[str], str | None]) -> Callable[[Texts], Texts]:
    """Lift a function of texts to arrays of texts."""

    def work_all(texts: Texts) -> Texts:
        found = (None if text is None else work(text) for text in texts.to_pylist())
        return pa.array(list(found), pa.string())

    return work_all
