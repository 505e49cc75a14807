"""Templates for bodies and URLs, with `${NAME}` placeholders in strings: docs/destinations/webhook.md.

A template is JSON whose values are filled in, not text to concatenate: a value always stays a single value in
its place.
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
"""Path segments that would not be a segment, or change the path: none, this one, or the parent."""
_IN_PATH, _IN_QUERY = "@:!$'()*,;+=&", "@:!$'()*,/?"
"""Characters that clients leave unencoded in each part of a URL, so that what is signed is what is sent."""


class NoAddress(Exception):
    """Raised for a value that would change a URL's target."""


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill values into a template. A string that is a single placeholder becomes the value, with its type;
    within a longer string, the value is inserted as text. `$${NAME}` is an escaped placeholder."""
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
    """Fill percent-encoded values into a URL. Raises NoAddress for a value that is empty, `.` or `..`."""

    def written(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        path = found[2].strip()
        text = as_text(value_at(path, values))
        if text in _STEPS:
            raise NoAddress(f"its {path} is '{text}', which is not valid in a URL")
        in_query = "?" in template[: found.start()]
        return quote(text, safe=_IN_QUERY if in_query else _IN_PATH)

    return _PLACEHOLDER.sub(written, template)


def value_at(path: str, values: Mapping[str, Any]) -> Any:
    """Return the value at a dotted path, or None; names may contain dots."""
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
    """Format a value within a longer string: empty for null, JSON for anything but strings."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def paths(template: Any) -> Iterator[str]:
    """Yield the names of a template's placeholders. Raises ValueError for a placeholder in a key."""
    if isinstance(template, Mapping):
        for key, each in template.items():
            if _PLACEHOLDER.search(str(key)):
                raise ValueError(f"the key '{key}' contains a placeholder; only values may contain them")
            yield from paths(each)
    elif isinstance(template, list | tuple):
        for each in template:
            yield from paths(each)
    elif isinstance(template, str):
        yield from (found[2].strip() for found in _PLACEHOLDER.finditer(template) if not found[1])


def check_names(key: str, template: Any, known: Collection[str]) -> None:
    """Raises ValueError for an unknown placeholder, and for a template that isn't valid JSON."""
    try:
        orjson.dumps(template)
    except TypeError as error:
        raise ValueError(f"{key}: is not valid JSON ({error}); keys and dates must be strings") from None
    for path in paths(template):
        first, _, rest = path.partition(".")
        if first not in known:
            raise ValueError(f"{key}: unknown placeholder '${{{path}}}'. {nearest(first, sorted(known))}")
        if first == "identifiers" and rest not in ("", "id"):
            raise ValueError(f"{key}: unknown identifier in '${{{path}}}'. The only identifier is: id")
        if path.endswith(".") or (rest and first not in ("fields", "identifiers")):
            raise ValueError(f"{key}: '${{{path}}}' is invalid after its dot. Write '${{{first}}}'")


def fields_in(template: Any) -> list[str]:
    """Return the individual fields that a template uses."""
    return [path.partition(".")[2] for path in paths(template) if path.startswith("fields.")]
