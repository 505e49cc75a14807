#!/usr/bin/env bash
# What one would guess: DuckDB's json_valid() and try_cast(... as json) tell JSON from what is not JSON.
# What is so: they also take NaN, inf and -Infinity in any case, bare or nested, and a comma after the last element;
# the JSON column keeps the text as it was ("[1,]"). Comments, single quotes and leading zeros are refused.
# Why it matters here: a text such as "inf" passes for a JSON value, and the API that it is sent to (or PostgreSQL's
# jsonb) refuses the whole request for it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import json

import duckdb


def refuse(constant):
    raise ValueError(constant)


def is_json(text):
    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


print("duckdb", duckdb.__version__)
taken = []
for text in ["NaN", "inf", "[-Infinity]", "[1,]", '{"a": 1,}', "[1]", "01", "'a'", "[1] // one"]:
    valid, kept = duckdb.execute("select json_valid($1), try_cast($1 as json)::varchar", [text]).fetchone()
    print(f"{text!r:14} JSON: {is_json(text)!s:6} json_valid: {valid!s:6} as json: {kept!r}")
    if valid and not is_json(text):
        taken.append(text)
        assert kept == text, kept
assert taken == ["NaN", "inf", "[-Infinity]", "[1,]", '{"a": 1,}'], taken
PYTHON
