"""Regular expressions with the same meaning in Python, RE2, Java and PostgreSQL.

The dialects differ: `\\d` matches the digits of every alphabet in some; in PostgreSQL, `.` matches a line
feed and `\\b` is a backspace. So patterns are parsed here and rewritten in the common subset: characters,
character classes, groups, alternatives, repetition, `^` and `$`.
Sources: RE2's syntax page; java.util.regex.Pattern; PostgreSQL's manual, 9.7.3; Python's re.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MOST_REPEATS = 255
"""PostgreSQL's limit for a number in braces."""
MOST_REPEATS_NESTED = 1000
"""RE2's limit for the product of nested repeats."""

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": r" \t\n\r\f"}
_ESCAPES = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\f": r"\f"}
_SPECIAL = set("\\.[](){}*+?^$|")
_SPECIAL_IN_CLASS = set("\\[]^-&~|")
_REPEAT = re.compile(r"\*|\+|\?|\{(\d+)(,(\d*))?\}")
_GROUPS = {
    "?=": "look-ahead",
    "?!": "look-ahead",
    "?<=": "look-behind",
    "?<!": "look-behind",
    "?P=": "a backreference",
    "?P<": "a named group; use (…)",
    "?<": "a named group; use (…)",
    "?>": "an atomic group",
}


class _Atom(NamedTuple):
    text: str
    repeats: int = 1
    """The maximum number of nested repeats."""
    can_repeat: bool = True


def portable(pattern: str) -> str:
    """Rewrite a pattern in the common subset. Raises ValueError for unsupported syntax."""
    reader = _Reader(pattern)
    text, _ = reader.alternatives()
    if reader.rest:
        raise ValueError("unmatched ); write \\) for the character")
    return text


def in_python(pattern: str) -> re.Pattern[str]:
    """Compile the pattern for Python, where `$` also matches before a trailing line feed."""
    pieces = re.findall(r"\\.|\[(?:\\.|[^\]\\])*\]|[^\\\[]", portable(pattern), re.DOTALL)
    return re.compile("".join(r"\Z" if piece == "$" else piece for piece in pieces))


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.rest = pattern

    def alternatives(self) -> tuple[str, int]:
        """Parse alternatives up to the end or a ). Returns them with their maximum of nested repeats."""
        branches, repeats = [], 1
        while True:
            text, most = self._branch()
            branches.append(text)
            repeats = max(repeats, most)
            if not self._take("|"):
                return "|".join(branches), repeats

    def _branch(self) -> tuple[str, int]:
        pieces, repeats = [], 1
        while self.rest and self.rest[0] not in "|)":
            text, most = self._repeated(self._atom())
            pieces.append(text)
            repeats = max(repeats, most)
        return "".join(pieces), repeats

    def _repeated(self, atom: _Atom) -> tuple[str, int]:
        found = _REPEAT.match(self.rest)
        if not found:
            return atom.text, atom.repeats
        if not atom.can_repeat:
            raise ValueError(f"nothing to repeat before {found[0]}")
        self.rest = self.rest[found.end() :]
        least, most = int(found[1] or 0), int(found[3] or found[1] or 0)
        if self._take("+"):
            raise ValueError(f"{found[0]}+ is a possessive repeat, which only Java and Python support")
        self._take("?")  # Drop laziness, which doesn't change whether a text matches.
        if _REPEAT.match(self.rest):
            raise ValueError(f"{found[0]}{self.rest[0]} repeats a repeat; group the first")
        if least > most:
            raise ValueError(f"{found[0]} has a minimum above its maximum")
        if most > MOST_REPEATS:
            raise ValueError(f"{found[0]} exceeds PostgreSQL's limit of {MOST_REPEATS} repeats")
        repeats = atom.repeats * max(most, 1)
        if repeats > MOST_REPEATS_NESTED:
            raise ValueError(f"{found[0]} exceeds RE2's limit of {MOST_REPEATS_NESTED} nested repeats")
        return atom.text + found[0], repeats

    def _atom(self) -> _Atom:
        character = self._next()
        match character:
            case "(":
                return self._group()
            case "[":
                return _Atom(self._class())
            case ".":
                return _Atom(r"[^\n]")
            case "^" | "$":
                return _Atom(character, can_repeat=False)
            case "\\":
                return _Atom(self._escape())
            case "*" | "+" | "?":
                raise ValueError(f"nothing to repeat before {character}")
            case "{":
                raise ValueError("{ does not begin a repeat count; write \\{ for the character")
        return _Atom(_literal(character, _SPECIAL))

    def _group(self) -> _Atom:
        if self.rest.startswith("?") and not self._take("?:"):
            name = max((each for each in _GROUPS if self.rest.startswith(each)), key=len, default=None)
            what = _GROUPS[name] if name else "a flag; write both cases, as in [Aa]"
            raise ValueError(f"({self.rest[:3]} is not supported by every warehouse: it is {what}")
        text, repeats = self.alternatives()
        if not self._take(")"):
            raise ValueError("unclosed (; write \\( for the character")
        return _Atom(f"({text})", repeats)

    def _escape(self) -> str:
        character = self._next("a trailing \\ escapes nothing")
        if character in _CLASSES:
            return f"[{_CLASSES[character]}]"
        if character.lower() in _CLASSES:
            return f"[^{_CLASSES[character.lower()]}]"
        return _literal(self._escaped(character), _SPECIAL)

    def _escaped(self, character: str) -> str:
        """Return the character of an escape."""
        if character in "tnrf":
            return {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}[character]
        if character in "xu":
            digits = re.match(r"[0-9A-Fa-f]{2}" if character == "x" else r"[0-9A-Fa-f]{4}", self.rest)
            if not digits:
                count = "two" if character == "x" else "four"
                raise ValueError(f"\\{character} requires {count} hexadecimal digits")
            self.rest = self.rest[digits.end() :]
            return chr(int(digits[0], 16))
        if character.isdigit():
            raise ValueError(f"\\{character} is a backreference, which RE2 (DuckDB, BigQuery) does not have")
        if character in "bB":
            raise ValueError(f"\\{character} is a word boundary, which PostgreSQL writes differently")
        if character in "AzZ":
            raise ValueError(f"\\{character} is not supported by every warehouse; use ^ or $")
        if character.isalpha() or not character.isascii():
            raise ValueError(f"\\{character} is not supported by every warehouse")
        return character

    def _class(self) -> str:
        negated = "^" if self._take("^") else ""
        if self.rest.startswith("]"):
            raise ValueError("[] is an empty class in some dialects; write \\] for the character")
        items = []
        while not self._take("]"):
            items.append(self._class_item())
        return f"[{negated}{''.join(items)}]"

    def _class_item(self) -> str:
        if re.match(r"\[[:.=]", self.rest):
            raise ValueError(f"{self.rest[:2]} is not supported by every warehouse; use a class like A-Za-z")
        first = self._class_character()
        if len(first) > 1 or not self.rest.startswith("-") or self.rest.startswith("-]"):
            return first if len(first) > 1 else _literal(first, _SPECIAL_IN_CLASS)
        self._take("-")
        last = self._class_character()
        if len(last) > 1 or last < first:
            raise ValueError(f"{first}-{last} is not a valid range of characters")
        return f"{_literal(first, _SPECIAL_IN_CLASS)}-{_literal(last, _SPECIAL_IN_CLASS)}"

    def _class_character(self) -> str:
        """Parse a character, or the characters of a class such as \\d."""
        character = self._next("unclosed [; write \\[ for the character")
        if character != "\\":
            return character
        escaped = self._next("a trailing \\ escapes nothing")
        if escaped in _CLASSES:
            return _CLASSES[escaped]
        if escaped.lower() in _CLASSES:
            raise ValueError(f"\\{escaped} inside [] is not supported everywhere; list the characters")
        return self._escaped(escaped)

    def _next(self, missing: str = "") -> str:
        if not self.rest:
            raise ValueError(missing)
        character, self.rest = self.rest[0], self.rest[1:]
        return character

    def _take(self, text: str) -> bool:
        """Consume `text` if it is next. Returns whether it was."""
        if not self.rest.startswith(text):
            return False
        self.rest = self.rest[len(text) :]
        return True


def _literal(character: str, special: set[str]) -> str:
    if character in special:
        return f"\\{character}"
    if character in _ESCAPES:
        return _ESCAPES[character]
    if not character.isprintable():
        raise ValueError(f"{character!r} is not a printable character")
    return character
