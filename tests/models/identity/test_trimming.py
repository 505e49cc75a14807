"""The two lists of characters that are trimmed, of the warehouse and of Python, are one."""

from __future__ import annotations

import re
from typing import Any

import duckdb
import pytest
from jinja2 import Environment

from revetl.identifiers.trimming import TRIMMABLE_CHARACTERS, trimmed
from tests.helpers.built import ROOT

CASES = {
    "line ends and tabs": "\r\n\ta b\n",
    "spaces of other widths": "\u00a0\u1680\u2000\u200a\u202f\u205f\u3000a\u0085",
    "nothing to be seen": "\ufeff\u200b\u200c\u200d\u2060a\u200e\u200f\u2028\u2029",
    "control characters": "\x01a\x1f",
    "nothing at all": " \u200b\t",
}


def test_sql_and_python_trim_the_same_characters() -> None:
    text = (ROOT / "macros" / "adapters" / "text.sql").read_text()
    found = re.search(r"macro trimmable_characters\(\) -%\}\s*\{\{ return\((.*?)\) -?\}\}", text, re.DOTALL)
    assert found
    codes: Any = Environment(autoescape=True).compile_expression(found[1])()
    assert list(map(chr, codes)) == list(TRIMMABLE_CHARACTERS)


@pytest.mark.parametrize("value", CASES.values(), ids=CASES.keys())
def test_what_nobody_sees_is_trimmed_and_only_at_the_ends(value: str) -> None:
    inside = trimmed(value)
    assert inside in ("a b", "a", "")
    assert trimmed(f"b{value}b") == f"b{value}b"
    (by_duckdb,) = duckdb.execute("select trim(?, ?)", [value, TRIMMABLE_CHARACTERS]).fetchone() or ()
    assert by_duckdb == inside
