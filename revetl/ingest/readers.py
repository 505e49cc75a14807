"""Parse files into `parsed_messages`, a temporary table with one row per line.

Its columns are the message's fields (objects as JSON, others as text), `line_number`, the line's `text` if it
may be stored, `fallback_id` and `reason`. DuckDB reads the files; rows don't pass through Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import duckdb

from revetl.errors import UsageError, nearest
from revetl.ingest import rules
from revetl.ingest.repairs import REPAIRED, has_half_pairs, repair_documents, repaired, repairing

FORMATS = {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".csv": "csv", ".parquet": "parquet"}
_COMPRESSED = {".gz", ".zst"}
_LONGEST_LINE = 64 * 1024 * 1024
_LARGEST_WHOLE = 2**53
"""A double represents integers below this exactly."""

_KINDS = {name: "JSON" if name in rules.OBJECT_FIELDS else "VARCHAR" for name in rules.FIELDS}
# Numbers stay JSON until they are known to be integers.
_KINDS_WITH_NUMBERS = {**_KINDS, **dict.fromkeys(rules.ID_FIELDS, "JSON")}

# The id of a message without one is a hash of its content, so that reloading doesn't duplicate it.
_FALLBACK_ID = "'auto-' || md5(cast(to_json(message) as varchar))"

# The reason for an unreadable line, from `reject_errors`.
_UNREADABLE = """case error_type
    when 'INVALID ENCODING' then 'the line is not UTF-8'
    when 'LINE SIZE OVER MAXIMUM' then 'the line is longer than 64 MiB'
    else error_message
end"""

# Four control characters, which are invalid in JSON, so that each line is one column.
_DELIMITER = "\x1c\x1d\x1e\x1f"


def format_of(file: Path) -> str:
    """Return a file's format, by its extension. Raises UsageError for a missing file or unknown format."""
    if not file.is_file():
        raise UsageError(f"{file}: no such file.")
    endings = [ending.lower() for ending in file.suffixes]
    if endings and endings[-1] in _COMPRESSED:
        endings.pop()
    kind = FORMATS.get(endings[-1] if endings else "")
    if kind is None:
        raise UsageError(
            f"{file}: unknown file extension. {nearest(file.suffix, FORMATS)} "
            "NDJSON and CSV may be compressed (.gz, .zst)."
        )
    return kind


def read_ndjson(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Parse a file with one JSON object per line; if no line is an object, a JSON array or indented JSON.
    Raises UsageError for other files.

    DuckDB's JSON reader is fast and sufficient if every line is a valid message. Otherwise (or if there are
    none, because that reader ignores a file of one byte) the file is read again as lines of text, with their
    numbers and content.
    """
    try:
        _read_objects(connection, file, _KINDS)
        numbers = " or ".join(f"ends_with(\"{name}\", '.0')" for name in rules.ID_FIELDS)
        query = f"select count(*) > 0 and count(reason) = 0, coalesce(bool_or({numbers}), false) "
        ((clean, has_numbers),) = connection.execute(query + "from parsed_messages").fetchall()
        if clean and has_numbers:
            _read_objects(connection, file, _KINDS_WITH_NUMBERS)
    except duckdb.InvalidInputException:
        clean = False
    if not clean:
        _read_lines(connection, file)
    repair_documents(connection)


def _read_objects(connection: duckdb.DuckDBPyConnection, file: Path, kinds: Mapping[str, str]) -> None:
    """Parse with DuckDB's JSON reader: a line that isn't a JSON object becomes a row of nulls."""
    columns = ", ".join(f"{name}: '{kind}'" for name, kind in kinds.items())
    fields = ", ".join(f'{value} as "{name}"' for name, value in _values(kinds).items())
    connection.execute(
        f"""
        create or replace temporary table parsed_messages as
        select
            cast(null as bigint) as line_number,
            cast(null as varchar) as text,
            case when {rules.text("messageId")} is null then {_FALLBACK_ID} end as fallback_id,
            {rules.reason()} as reason,
            *
        from (
            select {fields} from read_json(
                $file, columns = {{{columns}}}, format = 'newline_delimited', records = 'true',
                ignore_errors = true, maximum_object_size = {_LONGEST_LINE}
            ) as message
        ) as message
        """,
        {"file": str(file)},
    )


def _values(kinds: Mapping[str, str]) -> dict[str, str]:
    """Return SQL for the fields of `message`, with JSON ids as text."""
    values = {name: f'message."{name}"' for name in rules.FIELDS}
    for name in rules.ID_FIELDS:
        if kinds[name] == "JSON":
            value, text = values[name], f"{values[name]} ->> '$'"
            number = _whole(f"cast({value} as double)", text)
            values[name] = f"case when json_type({value}) = 'DOUBLE' then {number} else {text} end"
    return values


def _whole(number: str, text: str) -> str:
    """Convert a number to the text of an id: 123.0 to 123, and NaN to null."""
    return f"""case
        when isnan({number}) or isinf({number}) then null
        when abs({number}) < {_LARGEST_WHOLE} and {number} = trunc({number})
            then cast(cast({number} as bigint) as varchar)
        else {text}
    end"""


def _read_lines(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Parse line by line, keeping the text of invalid lines."""
    connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")
    with repairing(connection):
        connection.execute(
            f"""
            create or replace temporary table read_lines as
            select line_number, text, case when {has_half_pairs("text")} and not json_valid(text)
                then {REPAIRED}(text) else text end as line
            from (
                select row_number() over () as line_number, text from read_csv(
                    $file, columns = {{text: 'VARCHAR'}}, header = false, auto_detect = false,
                    delim = '{_DELIMITER}', quote = '', escape = '', comment = '', null_padding = true,
                    max_line_size = {_LONGEST_LINE}, strict_mode = false, store_rejects = true,
                    rejects_limit = 0
                )
            )
            """,
            {"file": str(file)},
        )
    is_lines = not _read_documents(connection, file)
    _parse_lines(connection)
    connection.execute("drop table read_lines")
    if is_lines:
        _add_unreadable(connection)


def _read_documents(connection: duckdb.DuckDBPyConnection, file: Path) -> bool:
    """If the file is a JSON array or indented JSON, put the elements into `read_lines`, one per row. Returns
    whether it is. Raises UsageError if it begins like one but is invalid, and no line is a message."""
    unreadable = connection.execute(
        f"select {_UNREADABLE} || ', number ' || line from reject_errors order by line"
    ).fetchall()
    ((lines, objects, first, kind),) = connection.execute(
        """
        select count(*), count(*) filter (kind = 'OBJECT'),
            left(trim(arg_min(line, line_number), chr(9) || chr(32) || chr(65279)), 1),
            arg_min(coalesce(kind, 'NONE'), line_number)
        from (
            select line_number, line, case when json_valid(line) then json_type(line) end as kind
            from read_lines where trim(line) <> ''
        )
        """
    ).fetchall()
    lines += len(unreadable)
    is_array = first == "[" and (kind == "NONE" or lines == 1)
    if not (is_array or (first == "{" and not objects)) or (lines == 1 and kind == "NONE"):
        return False
    if unreadable and objects:
        return False
    if unreadable:
        raise _not_a_document(file, unreadable[0][0])
    ((text,),) = connection.execute(
        "select string_agg(text, chr(10) order by line_number) from read_lines"
    ).fetchall()
    query = f"""
        create or replace temporary table read_lines as
        select
            row_number() over () as line_number,
            coalesce(cast(json as varchar), 'null') as text,
            text as line
        from read_json(
            $file, columns = {{json: 'JSON'}}, records = 'false',
            format = '{"array" if is_array else "unstructured"}', maximum_object_size = {_LONGEST_LINE}
        )
    """
    try:
        with NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as passing:
            passing.write(repaired(text))
            passing.flush()
            connection.execute(query, {"file": passing.name})
    except duckdb.InvalidInputException as error:
        if objects:
            return False
        sentence = str(error).strip().splitlines()[0].replace(f' in file "{passing.name}"', "")
        raise _not_a_document(file, sentence) from None
    return True


def _not_a_document(file: Path, reason: str) -> UsageError:
    return UsageError(
        f"{file}: no line is a JSON object, and the file is neither a JSON array nor indented JSON "
        f"({reason}). Write one message per line, for example with `jq -c '.[]'` for an array."
    )


def _parse_lines(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `parsed_messages` from `read_lines`."""
    shape = ", ".join(f'"{name}":"{kind}"' for name, kind in _KINDS_WITH_NUMBERS.items())
    packed = ", ".join(f'"{name}" := {value}' for name, value in _values(_KINDS_WITH_NUMBERS).items())
    fields = ", ".join(f'message."{name}" as "{name}"' for name in rules.FIELDS)
    _parse(
        connection,
        f"""
        select line_number, text, message, malformed, {fields}
        from (
            select line_number, text, malformed,
                case when message is not null then struct_pack({packed}) end as message
            from (
                select
                    line_number, text,
                    case
                        when not json_valid(line) then 'the line is not JSON'
                        when json_type(line) <> 'OBJECT'
                            then 'the line is not a JSON object but ' || lower(json_type(line))
                    end as malformed,
                    case when json_valid(line) and json_type(line) = 'OBJECT'
                        then json_transform(line, '{{{shape}}}') end as message
                from read_lines where trim(line) <> ''
            )
        )
        """,
    )


def _parse(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Create `parsed_messages` from rows, keeping the text only of invalid lines."""
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
    """Add lines that are not UTF-8 or too long, which were skipped, to the rejected ones, and renumber the
    others accordingly."""
    connection.execute(
        f"""
        create or replace temporary table unreadable_lines as
        select line, row_number() over (order by line) as place, trim(csv_line, chr(10) || chr(13)) as text,
            {_UNREADABLE} as reason
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
    """Parse a CSV file with a header. Returns the unknown columns. Lines are numbered from the first row
    after the header."""
    options = "header = true, all_varchar = true, null_padding = true"
    try:
        ignored = _read_columns(connection, file, f"read_csv($file, {options})", as_text=True)
    except duckdb.Error:
        # A single-threaded scan supports line breaks in quotes, and stores lines that it can't read.
        connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")
        options += ", parallel = false, store_rejects = true, rejects_limit = 0"
        with _reading(file):
            ignored = _read_columns(connection, file, f"read_csv($file, {options})", as_text=True)
        connection.execute(
            """
            insert into parsed_messages by name
            select line - 1 as line_number, trim(csv_line, chr(10) || chr(13)) as text,
                case error_type when 'INVALID ENCODING' then 'the line is not UTF-8'
                    else 'the line is not CSV: ' || split_part(error_message, chr(10), 1) end as reason
            from reject_errors
            """
        )
    repair_documents(connection)
    return ignored


def read_parquet(connection: duckdb.DuckDBPyConnection, file: Path) -> list[str]:
    """Parse a Parquet file. Returns the unknown columns."""
    with _reading(file):
        ignored = _read_columns(connection, file, "read_parquet($file)", as_text=False)
    repair_documents(connection)
    return ignored


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Convert DuckDB's error about a file to a UsageError."""
    try:
        yield
    except duckdb.Error as error:
        sentence = str(error).strip().splitlines()[0]
        raise UsageError(f"{file}: cannot be read: {sentence}") from None


def _read_columns(
    connection: duckdb.DuckDBPyConnection, file: Path, source: str, *, as_text: bool
) -> list[str]:
    parameters = {"file": str(file)}
    described = connection.execute(f"describe select * from {source}", parameters).fetchall()
    columns = {name: kind for name, kind, *_ in described}
    found = _fields_of(columns)
    if "type" not in found:
        raise UsageError(
            f"{file}: has no column 'type' (track, identify, page, screen, group or alias). "
            f"Its columns are {', '.join(columns)}."
        )
    picked = []
    for field in rules.FIELDS:
        source_name = found.get(field)
        if source_name is None:
            value = "cast(null as json)" if field in rules.OBJECT_FIELDS else "cast(null as varchar)"
        else:
            value = _value(field, _quoted(source_name), columns[source_name], as_text=as_text)
        picked.append(f'{value} as "{field}"')
    broken = [
        f"when trim({_quoted(found[field])}) <> '' and {_json(_quoted(found[field]))} is null "
        f"then '{field} is not JSON'"
        for field in rules.OBJECT_FIELDS
        if field in found and columns[found[field]] == "VARCHAR"
    ]
    malformed = f"case {' '.join(broken)} end" if broken else "cast(null as varchar)"
    # DuckDB's CSV scan may return a row of nulls at the end of a buffer.
    there = " or ".join(f"{_quoted(name)} is not null" for name in columns) if as_text else "true"
    connection.execute(
        f"create or replace temporary table read_rows as select * from {source} where {there}", parameters
    )
    with repairing(connection):
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
    """Return message field to column: `messageId`, `message_id`, `MESSAGE_ID` and `id` are the same field."""
    folded = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in columns}
    folded.setdefault("messageid", folded.get("id", ""))
    folded.setdefault("event", folded.get("eventtext", ""))
    found = {field: folded.get(field.lower(), "") for field in rules.FIELDS}
    return {field: name for field, name in found.items() if name}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _json(column: str) -> str:
    """Return SQL to parse a text as JSON; null if it is invalid."""
    fixed = f"case when {has_half_pairs(column)} then {REPAIRED}({column}) end"
    return (
        f"case when json_valid({column}) then cast({column} as json) "
        f"when json_valid({fixed}) then cast({fixed} as json) end"
    )


def _value(field: str, column: str, kind: str, *, as_text: bool) -> str:
    if field in rules.ID_FIELDS:
        if as_text:
            # CSV has no types, and many tools write integers with a zero fraction.
            return f"regexp_replace({column}, '^(-?[0-9]+)[.]0+$', '\\1')"
        if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
            return _whole(f"cast({column} as double)", f"cast({column} as varchar)")
        if kind.startswith(("STRUCT", "MAP")) or kind.endswith("]"):
            return f"cast(to_json({column}) as varchar)"
    if field in rules.OBJECT_FIELDS:
        if kind == "VARCHAR":
            return _json(column)
        return column if kind == "JSON" else f"case when {column} is not null then to_json({column}) end"
    if kind.startswith("TIMESTAMP"):
        # A timestamp without a zone is in UTC, as in all raw tables.
        moment = f"{column} at time zone 'UTC'" if kind.endswith("ZONE") else column
        return f"strftime(cast({moment} as timestamp), '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"cast({column} as varchar)"
