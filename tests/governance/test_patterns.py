"""Patterns mean the same to Python and RE2, or are refused; test_postgres.py asks PostgreSQL too."""

from __future__ import annotations

import re
import warnings

import duckdb
import pytest

from revetl.governance.tracking_plan.patterns import in_python, portable

READ = {
    "^[A-Z0-9]+$": "^[A-Z0-9]+$",
    r"^\d{3}-\d{4}$": "^[0-9]{3}-[0-9]{4}$",
    r"\w+@\w+\.\w{2,}": r"[A-Za-z0-9_]+@[A-Za-z0-9_]+\.[A-Za-z0-9_]{2,}",
    r"a.c": r"a[^\n]c",
    r"\S\s": r"[^ \t\n\r\f][ \t\n\r\f]",
    r"(?:ab|c)*?d": "(ab|c)*d",
    r"^(a|b$)": "^(a|b$)",
    r"[\d.-]": r"[0-9.\-]",
    r"[^\]\\^]": r"[^\]\\\^]",
    r"[a\-z]": r"[a\-z]",
    r"[[]": r"[\[]",
    r"x{0,2}y{3,}": "x{0,2}y{3,}",
    r"\x41\u00e9\/": "Aé/",
    r"\$\{\}": r"\$\{\}",
    "}]": r"\}\]",
    "a\tb": r"a\tb",
    "": "",
    "it's": "it's",
    "€|ß": "€|ß",
}

REFUSED = {
    "a(?=b)": "look-ahead",
    "a(?!b)": "look-ahead",
    "(?<=a)b": "look-behind",
    "(?<!a)b": "look-behind",
    r"(a)\1": "a backreference, which RE2",
    "(?P<n>a)(?P=n)": "a named group",
    "(?<n>a)": "a named group",
    "(?i)a": "a flag; write both cases, as in [Aa]",
    "(?>a)": "an atomic group",
    r"\bword": "a word boundary",
    r"\Aa\Z": "use ^ or $",
    r"\p{Lu}": "\\p is not supported by every warehouse",
    r"\v": "\\v is not supported by every warehouse",
    r"[\D]": "inside [] is not supported everywhere",
    "[[:alpha:]]": "not supported by every warehouse; use a class like A-Za-z",
    "a++": "a possessive repeat",
    "a**": "repeats a repeat",
    "a{2}{3}": "repeats a repeat",
    "*a": "nothing to repeat before *",
    "^*": "nothing to repeat before *",
    "(|+)": "nothing to repeat before +",
    "a{,3}": "does not begin a repeat count",
    "a{1,256}": "exceeds PostgreSQL's limit of 255 repeats",
    "((a{100}){20})": "exceeds RE2's limit of 1000 nested repeats",
    "a{3,2}": "has a minimum above its maximum",
    "[z-a]": "z-a is not a valid range of characters",
    "[]a]": "write \\] for the character",
    "[a": "unclosed [",
    "(a": "unclosed (",
    "a)": "unmatched )",
    "a\\": "a trailing \\ escapes nothing",
    r"\x4": "requires two hexadecimal digits",
    r"\u12": "requires four hexadecimal digits",
    "a\x00": "not a printable character",
}

TEXTS = [
    *("", "a", "A", "ab", "abd", "cd", "AB12", "ABC-", "123-4567", "me@x.io", "a.c", "a\nc", "a\n", "\n"),
    *("a-z", "-", "]", "[", "\\", "^", "yyy", "xxyyyy", "Aé/", "${}", "}]", "a\tb", "it's", "€", "ß", "٣"),
    *("K", "_", " x"),
]


@pytest.mark.parametrize(("pattern", "expected"), READ.items(), ids=READ)
def test_a_pattern_is_rewritten_in_the_common_subset(pattern: str, expected: str) -> None:
    assert portable(pattern) == expected
    assert portable(expected) == expected


@pytest.mark.parametrize(("pattern", "reason"), REFUSED.items(), ids=REFUSED)
def test_unsupported_syntax_is_an_error(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        portable(pattern)


@pytest.mark.parametrize("pattern", READ)
def test_python_and_re2_match_the_same_texts(pattern: str) -> None:
    wanted = in_python(pattern)
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select text, regexp_matches(text, $pattern) from unnest($texts) as texts (text)",
            {"pattern": portable(pattern), "texts": TEXTS},
        ).fetchall()
    assert rows == [(text, bool(wanted.search(text))) for text in TEXTS]


def test_a_rewritten_pattern_keeps_its_meaning_in_python() -> None:
    for pattern in READ:
        with warnings.catch_warnings():
            # Python may one day read [[ otherwise.
            warnings.simplefilter("ignore", FutureWarning)
            own = re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern), re.ASCII)
        for text in TEXTS:
            assert bool(own.search(text)) == bool(in_python(pattern).search(text)), (pattern, text)
