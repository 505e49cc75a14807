"""Formats nested values as readable text, such as the notes of a task in a CRM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_INDENT = "  "


def readable(values: Mapping[str, Any]) -> str:
    """Return names and values, one per line, in order. Objects are indented below their name, list items
    start with a dash, and nulls and empty values are omitted."""
    return "\n".join(_lines(values, ""))


def readable_value(value: Any) -> str:
    """Return one value: a scalar as it is, the members of an object, or the items of a list."""
    if isinstance(value, Mapping):
        return readable(value)
    if isinstance(value, list):
        if any(isinstance(each, Mapping | list) for each in value):
            return "\n".join(line for each in value for line in _item(each, ""))
        return ", ".join(_text(each, "") for each in value if each is not None)
    return "" if value is None else _text(value, "")


def _lines(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in values.items():
        yield from _named(f"{indent}{name}:", value, indent)


def _named(head: str, value: Any, indent: str) -> Iterator[str]:
    """Yield the lines of a value that follows `head`."""
    if value is None or value in ("", [], {}):
        return
    if isinstance(value, Mapping):
        inner = list(_lines(value, indent + _INDENT))
        yield from [head, *inner] if inner else []
    elif isinstance(value, list):
        if any(isinstance(each, Mapping | list) for each in value):
            inner = [line for each in value for line in _item(each, indent + _INDENT)]
            yield from [head, *inner] if inner else []
        elif there := [_text(each, indent) for each in value if each is not None]:
            yield f"{head} {', '.join(there)}"
    else:
        yield f"{head} {_text(value, indent)}"


def _item(value: Any, indent: str) -> Iterator[str]:
    """Yield the lines of a list item: the first starts with a dash."""
    if isinstance(value, Mapping):
        lines = list(_lines(value, indent + _INDENT))
    elif isinstance(value, list):
        lines = [line for each in value for line in _item(each, indent + _INDENT)]
    else:
        lines = [] if value is None else [f"{indent}{_INDENT}{_text(value, indent + _INDENT)}"]
    if lines:
        yield f"{indent}- {lines[0].removeprefix(indent + _INDENT)}"
        yield from lines[1:]


def _text(value: Any, indent: str) -> str:
    """Format a scalar; continuation lines of a text are indented."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"\n{indent}{_INDENT}".join(str(value).splitlines())
