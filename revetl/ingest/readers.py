"""Files as parsed messages: `parsed_messages`, a temporary table of one row a line.

Its columns are the message's fields (text, but for the objects, which are JSON), `line_number`, the line's
`text` where a line is worth keeping, `fallback_id` and `reason`. DuckDB reads the files; no row passes
through Python.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import duckdb

from revetl.errors import UsageError, nearest
from revetl.ingest import rules

FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".csv": "csv", ".parquet": "parquet"}
_COMPRESSED = {".gz", ".zst"}
_LONGEST_LINE = 64 * 1024 * 1024

_KINDS = {name: "JSON" if name in rules.OBJECT_FIELDS else "VARCHAR" for name in rules.FIELDS}

# A message without an id is named by what it says, so that loading it twice lands it once.
_FALLBACK_ID = "'auto-' || md5(cast(to_json(message) as varchar))"

# Four control characters that JSON forbids in a row: a line is one column.
_DELIMITER = "\x1c\x1d\x1e\x1f"


def format_of(file: Path) -> str:
    """The format by the name's ending. Raises UsageError for a file that is missing or of none."""
    if not file.is_file():
        raise UsageError(f"{file}: there is no such file.")
    endings = [ending.lower() for ending in file.suffixes]
    if endings and endings[-1] in _COMPRESSED:
        endings.pop()
    kind = FORMATS.get(endings[-1] if endings else "")
    if kind is None:
        raise UsageError(
            f"{file}: the format is not known by this ending. {nearest(file.suffix, FORMATS)} "
            "NDJSON and CSV may be compressed (.gz, .zst)."
        )
    return kind


def read_ndjson(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Parse a file of one JSON object a line.

    DuckDB's JSON reader is the fast way, and good enough for a file in which every line can be landed; only
    when one cannot (or there are none: that reader passes over a file of one byte) is the file read as lines
    of text, which knows their numbers and keeps their text.
    """
    try:
        _read_objects(connection, file)
        query = "select count(*) > 0 and count(reason) = 0 from parsed_messages"
        ((clean,),) = connection.execute(query).fetchall()
    except duckdb.InvalidInputException:
        clean = False
    if not clean:
        _read_lines(connection, file)


def _read_objects(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Parse by DuckDB's JSON reader: a line that is no JSON object is a row of nulls."""
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in _KINDS.items())
    connection.execute(
        f"""
        create or replace temporary table parsed_messages as
        select
            cast(null as bigint) as line_number,
            cast(null as varchar) as text,
            case when {rules.text("messageId")} is null then {_FALLBACK_ID} end as fallback_id,
            {rules.reason()} as reason,
            *
        from read_json(
            $file, columns = {{{columns}}}, format = 'newline_delimited', records = 'true',
            ignore_errors = true, maximum_object_size = {_LONGEST_LINE}
        ) as message
        """,
        {"file": str(file)},
    )


def _read_lines(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Parse line by line, keeping the text of what cannot be landed."""
    connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")
    connection.execute(
        f"""
        create or replace temporary table read_lines as
        select row_number() over () as line_number, line from read_csv(
            $file, columns = {{line: 'VARCHAR'}}, header = false, auto_detect = false,
            delim = '{_DELIMITER}', quote = '', escape = '', comment = '', null_padding = true,
            max_line_size = {_LONGEST_LINE}, strict_mode = false, store_rejects = true, rejects_limit = 0
        )
        """,
        {"file": str(file)},
    )
    shape = ", ".join(f'"{name}":"{kind}"' for name, kind in _KINDS.items())
    fields = ", ".join(f'message."{name}" as "{name}"' for name in rules.FIELDS)
    _parse(
        connection,
        f"""
        select
            line_number,
            line as text,
            message,
            case
                when not json_valid(line) then 'the line is not JSON'
                when message is null then 'the line is not a JSON object but ' || lower(json_type(line))
            end as malformed,
            {fields}
        from (
            select
                line_number, line,
                case when json_valid(line) and json_type(line) = 'OBJECT'
                    then json_transform(line, '{{{shape}}}') end as message
            from read_lines where trim(line) <> ''
        )
        """,
    )
    connection.execute("drop table read_lines")
    _add_unreadable(connection)


def _parse(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """`parsed_messages` of rows; the text of a line that can be landed is not kept twice."""
    fields = ", ".join(f'"{name}"' for name in rules.FIELDS)
    connection.execute(
        f"""
        create or replace temporary table parsed_messages as
        select
            line_number,
            case when reason is not null then text end as text,
            case when reason is null and {rules.text("messageId")} is null then {_FALLBACK_ID} end
                as fallback_id,
            reason,
            {fields}
        from (select *, coalesce(malformed, {rules.reason()}) as reason from ({rows}))
        """
    )


def _add_unreadable(connection: duckdb.DuckDBPyConnection) -> None:
    """Lines that are not UTF-8, or too long, are not among the lines read: put them with the rejected ones,
    and number the others as if they had been read."""
    connection.execute(
        """
        create or replace temporary table unreadable_lines as
        select line, row_number() over (order by line) as place, trim(csv_line, chr(10) || chr(13)) as text,
            case error_type
                when 'INVALID ENCODING' then 'the line is not UTF-8'
                when 'LINE SIZE OVER MAXIMUM' then 'the line is longer than 64 MiB'
                else error_message
            end as reason
        from reject_errors
        """
    )
    connection.execute(
        """
        update parsed_messages set line_number = line_number + (
            select count(*) from unreadable_lines as u where u.line - u.place < parsed_messages.line_number
        )
        where reason is not null and exists (select 1 from unreadable_lines)
        """
    )
    connection.execute(
        "insert into parsed_messages by name select line as line_number, text, reason from unreadable_lines"
    )


def read_csv(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """Parse a CSV file with a header; gives the columns that mean nothing here. Lines are numbered from the
    first row under the header."""
    source = "read_csv($file, header = true, all_varchar = true, null_padding = true)"
    return _read_columns(connection, file, source, as_text=True)


def read_parquet(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """Parse a Parquet file; gives the columns that mean nothing here."""
    return _read_columns(connection, file, "read_parquet($file)", as_text=False)


def _read_columns(
    connection: duckdb.DuckDBPyConnection, file: Path, source: str, *, as_text: bool
) -> list[str]:
    parameters = {"file": str(file)}
    try:
        described = connection.execute(f"describe select * from {source}", parameters).fetchall()
    except duckdb.Error as error:
        sentence = str(error).strip().splitlines()[0]
        raise UsageError(f"{file}: cannot be read: {sentence}") from None
    columns = {name: kind for name, kind, *_ in described}
    found = _fields_of(columns)
    if "type" not in found:
        raise UsageError(
            f"{file}: there is no column 'type' (track, identify, page, screen, group or alias). "
            f"It has: {', '.join(columns)}."
        )
    picked = []
    for field in rules.FIELDS:
        source_name = found.get(field)
        if source_name is None:
            value = "cast(null as json)" if field in rules.OBJECT_FIELDS else "cast(null as varchar)"
        else:
            value = _value(field, f'"{source_name}"', columns[source_name])
        picked.append(f'{value} as "{field}"')
    broken = [
        f"when {_quoted(found[field])} is not null and trim({_quoted(found[field])}) <> '' "
        f"and not json_valid({_quoted(found[field])}) then '{field} is not JSON'"
        for field in rules.OBJECT_FIELDS
        if as_text and field in found
    ]
    malformed = f"case {' '.join(broken)} end" if broken else "cast(null as varchar)"
    connection.execute(f"create or replace temporary table read_rows as select * from {source}", parameters)
    _parse(
        connection,
        f"""
        select
            row_number() over () as line_number,
            cast(to_json(read_rows) as varchar) as text,
            read_rows as message,
            {malformed} as malformed,
            {", ".join(picked)}
        from read_rows
        """,
    )
    connection.execute("drop table read_rows")
    return [name for name in columns if name not in found.values()]


def _fields_of(columns: Mapping[str, str]) -> dict[str, str]:
    """Message field to column: `messageId`, `message_id` and `MESSAGE_ID` are one name, and so is `id`."""
    folded = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in columns}
    folded.setdefault("messageid", folded.get("id", ""))
    folded.setdefault("event", folded.get("eventtext", ""))
    found = {field: folded.get(field.lower(), "") for field in rules.FIELDS}
    return {field: name for field, name in found.items() if name}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _value(field: str, column: str, kind: str) -> str:
    if field in rules.OBJECT_FIELDS:
        if kind == "VARCHAR":
            return f"case when json_valid({column}) then cast({column} as json) end"
        return column if kind == "JSON" else f"case when {column} is not null then to_json({column}) end"
    if kind.startswith("TIMESTAMP"):
        # A time without a zone is UTC, as everywhere in the raw tables.
        moment = f"{column} at time zone 'UTC'" if kind.endswith("ZONE") else column
        return f"strftime(cast({moment} as timestamp), '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"cast({column} as varchar)"
