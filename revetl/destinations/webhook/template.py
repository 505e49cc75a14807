"""Bodies and addresses by a template whose strings hold `${NAME}`: docs/destinations/webhook.md.

A template is JSON that is filled, never text that is spliced: whatever a value holds, it stays one value in
the place it was put.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import orjson

from revetl.errors import nearest

_PLACEHOLDER = re.compile(r"(\$?)\$\{([^{}]*)\}")
_STEPS = frozenset({"", ".", ".."})
"""What is no part of a path, but none, this one, or the one above."""
_IN_PATH, _IN_QUERY = "@:!$'()*,;+=&", "@:!$'()*,/?"
"""What clients leave as it is in the two parts of a URL, so that what is signed is what arrives."""


class NoAddress(Exception):
    """Raised for a value that would lead a request to another address than the one that is meant."""


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with values in it. A string that is one placeholder becomes the value, with its type; in a
    longer one it is written as text. `$${NAME}` stands for itself."""
    if isinstance(template, Mapping):
        return {key: filled(each, values) for key, each in template.items()}
    if isinstance(template, list | tuple):
        return [filled(each, values) for each in template]
    if not isinstance(template, str):
        return template
    alone = _PLACEHOLDER.fullmatch(template)
    if alone and not alone[1]:
        return value_at(alone[2].strip(), values)
    return _PLACEHOLDER.sub(
        lambda found: found[0][1:] if found[1] else as_text(value_at(found[2].strip(), values)), template
    )


def address(template: str, values: Mapping[str, Any]) -> str:
    """A URL with values in it, percent-encoded. Raises NoAddress for one that is empty, `.` or `..`."""

    def written(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        path = found[2].strip()
        text = as_text(value_at(path, values))
        if text in _STEPS:
            raise NoAddress(f"its {path} is '{text}', which is no part of a URL")
        in_query = "?" in template[: found.start()]
        return quote(text, safe=_IN_QUERY if in_query else _IN_PATH)

    return _PLACEHOLDER.sub(written, template)


def value_at(path: str, values: Mapping[str, Any]) -> Any:
    """The value at a dotted path, null where there is none; a name may have dots of its own."""
    found: Any = values
    while path:
        if not isinstance(found, Mapping):
            return None
        if path in found:
            return found[path]
        first, _, path = path.partition(".")
        found = found.get(first)
    return found


def as_text(value: Any) -> str:
    """A value inside of a longer string: nothing for null, JSON for what is no string."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def paths(template: Any) -> Iterator[str]:
    """What the placeholders of a template name. Raises ValueError for one in a key."""
    if isinstance(template, Mapping):
        for key, each in template.items():
            if _PLACEHOLDER.search(str(key)):
                raise ValueError(f"the key '{key}' holds a placeholder; only values may")
            yield from paths(each)
    elif isinstance(template, list | tuple):
        for each in template:
            yield from paths(each)
    elif isinstance(template, str):
        yield from (found[2].strip() for found in _PLACEHOLDER.finditer(template) if not found[1])


def check_names(key: str, template: Any, known: Collection[str]) -> None:
    """Raises ValueError for a placeholder that names nothing there is, and for a template that is no JSON."""
    try:
        orjson.dumps(template)
    except TypeError as error:
        raise ValueError(f"{key}: is no JSON ({error}); its keys are texts, and so are its dates") from None
    for path in paths(template):
        first, _, rest = path.partition(".")
        if first not in known:
            raise ValueError(f"{key}: '${{{path}}}' names nothing here. {nearest(first, sorted(known))}")
        if first == "identifiers" and rest not in ("", "id"):
            raise ValueError(f"{key}: '${{{path}}}' names no identifier. There is: id")
        if path.endswith(".") or (rest and first not in ("fields", "identifiers")):
            raise ValueError(
                f"{key}: '${{{path}}}' has too much or too little after its dot. Write '${{{first}}}'"
            )


def fields_in(template: Any) -> list[str]:
    """The fields that a template names one by one."""
    return [path.partition(".")[2] for path in paths(template) if path.startswith("fields.")]
