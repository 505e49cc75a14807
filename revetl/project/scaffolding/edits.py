"""Edit YAML as text, keeping its comments, order and formatting.

PyYAML provides the position of each node. Edits only add lines (`without` removes lines), and the result is
parsed again and compared with the expected document.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from revetl.errors import UsageError

_STEP = 2


def with_entries(text: str, path: Sequence[str], body: str, name: str) -> str:
    """Insert the entries of the mapping `body` into the mapping at `path` of the document `text`.

    `body` is YAML in block style; its comments are kept. Missing mappings are created. Raises UsageError with
    the lines to add manually if the edit would change more; `name` is the name of the file.
    """
    added = yaml.safe_load(body)
    expected = _as_mapping(yaml.safe_load(text), name)
    inner = expected
    for key in path:
        if inner.get(key) is None:
            inner[key] = {}
        if not isinstance(inner[key], dict):
            raise UsageError(f"{name}: {'.'.join(path)} is not a mapping. {_by_hand(path, body)}")
        inner = inner[key]
    inner.update(added)
    try:
        made = _with_entries(text, tuple(path), body)
        if yaml.safe_load(made) == expected:
            return made
    except (yaml.YAMLError, ValueError):
        pass
    raise UsageError(f"{name}: cannot insert into the file automatically. {_by_hand(path, body)}")


def with_item(text: str, key: str, body: str, name: str) -> str:
    """Append the mapping `body`, in block style, to the list `key` of the document `text`. Raises UsageError
    like `with_entries`."""
    expected = _as_mapping(yaml.safe_load(text), name)
    if not isinstance(expected.get(key) or [], list):
        raise UsageError(f"{name}: {key} is not a list. {_by_hand((key,), _as_item(body))}")
    expected[key] = [*(expected.get(key) or []), yaml.safe_load(body)]
    try:
        made = _with_item(text, key, body)
        if yaml.safe_load(made) == expected:
            return made
    except (yaml.YAMLError, ValueError):
        pass
    raise UsageError(f"{name}: cannot insert into the file automatically. {_by_hand((key,), _as_item(body))}")


def without(text: str, path: Sequence[str], name: str) -> str:
    """Remove the entry at `path` from the document `text`, and mappings that become empty. Returns `text` if
    there is no such entry. Raises UsageError like `with_entries`."""
    expected = copy.deepcopy(yaml.safe_load(text))
    if not _remove(expected, tuple(path)):
        return text
    try:
        made = _without(text, tuple(path))
        if (yaml.safe_load(made) or {}) == expected:
            return made
    except (yaml.YAMLError, ValueError):
        pass
    raise UsageError(
        f"{name}: cannot remove {'.'.join(path)} from the file automatically. Remove it manually."
    )


def _as_mapping(document: Any, name: str) -> dict[str, Any]:
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise UsageError(f"{name}: is not a YAML mapping. Fix the file.")
    return copy.deepcopy(document)


def _by_hand(path: Sequence[str], body: str) -> str:
    lines = _nested(path, body.rstrip("\n"), 0)
    return "Add this manually:\n" + "\n".join(f"  {line}" for line in lines)


def _nested(path: Sequence[str], body: str, indent: int) -> list[str]:
    lines = [f"{' ' * (indent + _STEP * depth)}{key}:" for depth, key in enumerate(path)]
    inner = " " * (indent + _STEP * len(path))
    return lines + [f"{inner}{line}" if line else "" for line in body.splitlines()]


def _as_item(body: str) -> str:
    first, *rest = body.rstrip("\n").splitlines()
    return "\n".join([f"- {first}", *(f"  {line}" for line in rest)])


def _with_entries(text: str, path: tuple[str, ...], body: str) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return _appended(text, _nested(path, body, 0))
    node: yaml.Node = root
    for depth, key in enumerate(path):
        entry = _entry(node, key)
        if entry is None:
            return _into_mapping(text, node, path[depth:], body)
        if _is_null(entry[1]):
            return _under_key(text, entry, path[depth + 1 :], body)
        node = entry[1]
    return _into_mapping(text, node, (), body)


def _into_mapping(text: str, node: yaml.Node, path: Sequence[str], body: str) -> str:
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("not a mapping")
    if node.flow_style:
        value: Any = yaml.safe_load(body)
        for key in reversed(path):
            value = {key: value}
        shown = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()[1:-1]
        return _into_flow(text, node, shown)
    indent = node.start_mark.column
    lines = _nested(path, body, indent)
    if indent == 0:
        return (
            _appended(text, lines)
            if _end(node) >= len(text.rstrip())
            else _after(text, _end(node), ["", *lines])
        )
    return _after(text, _end(node), lines)


def _under_key(text: str, entry: tuple[yaml.Node, yaml.Node], path: Sequence[str], body: str) -> str:
    key, value = entry
    if value.start_mark.index != value.end_mark.index:
        raise ValueError("a written null")
    return _after(text, key.end_mark.index, _nested(path, body, key.start_mark.column + _STEP))


def _with_item(text: str, key: str, body: str) -> str:
    item = _as_item(body)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return _appended(text, _nested((key,), item, 0))
    entry = _entry(root, key)
    if entry is None:
        return _into_mapping(text, root, (key,), item)
    if _is_null(entry[1]):
        return _under_key(text, entry, (), item)
    node = entry[1]
    if not isinstance(node, yaml.SequenceNode):
        raise ValueError("not a list")
    if node.flow_style:
        shown = yaml.safe_dump(
            yaml.safe_load(body), default_flow_style=True, sort_keys=False, width=10_000
        ).strip()
        return _into_flow(text, node, shown)
    return _after(text, _end(node), _nested((), item, node.start_mark.column))


def _into_flow(text: str, node: yaml.Node, shown: str) -> str:
    """Insert before the closing bracket of a flow collection."""
    end = node.end_mark.index - 1
    before = text[:end].rstrip()
    between = "" if before[-1] in "[{" or before.endswith(",") else ","
    space = "" if before[-1] in "[{" else " "
    return before + between + space + shown + text[end:]


def _without(text: str, path: tuple[str, ...]) -> str:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    entries: list[tuple[yaml.Node, yaml.Node, int]] = []
    for key in path:
        entry = _entry(node, key)
        if entry is None or not isinstance(node, yaml.MappingNode) or node.flow_style:
            raise ValueError("not there in block style")
        entries.append((*entry, len(node.value)))
        node = entry[1]
    # Remove the outermost mapping that would become empty.
    key_node, value, siblings = entries.pop()
    while siblings == 1 and entries:
        key_node, value, siblings = entries.pop()
    start = text.rfind("\n", 0, key_node.start_mark.index) + 1
    # Comments directly above the key, in its column, belong to it.
    column = key_node.start_mark.column
    while start:
        above = text.rfind("\n", 0, start - 1) + 1
        line = text[above:start]
        if not line.startswith(" " * column + "#"):
            break
        start = above
    end = text.find("\n", max(_end(value), key_node.end_mark.index))
    rest = "" if end < 0 else text[end + 1 :]
    return text[:start].rstrip("\n") + "\n" + rest if not rest.strip() else text[:start] + rest


def _remove(document: Any, path: tuple[str, ...]) -> bool:
    if not isinstance(document, dict) or path[0] not in document:
        return False
    if len(path) == 1:
        del document[path[0]]
        return True
    if not _remove(document[path[0]], path[1:]):
        return False
    if document[path[0]] == {}:
        del document[path[0]]
    return True


def _entry(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next(((name, value) for name, value in node.value if name.value == key), None)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _end(node: yaml.Node) -> int:
    """Return the index after the last character of a node. A block collection ends with its last leaf,
    because PyYAML includes trailing comments. An alias has its anchor's position, and ends with its key."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        key, value = node.value[-1]
        is_alias = value.start_mark.index < key.end_mark.index
        return int(key.end_mark.index if is_alias else max(_end(value), key.end_mark.index))
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1])
    return int(node.end_mark.index)


def _after(text: str, index: int, lines: Sequence[str]) -> str:
    """Insert lines after the line of the character before `index`."""
    newline = "\r\n" if "\r\n" in text else "\n"
    while index and text[index - 1] in "\r\n ":
        index -= 1
    end = text.find("\n", index)
    if end < 0:
        return text + newline + newline.join(lines) + newline
    return text[: end + 1] + newline.join(lines) + newline + text[end + 1 :]


def _appended(text: str, lines: Sequence[str]) -> str:
    """Append lines after an empty line."""
    newline = "\r\n" if "\r\n" in text else "\n"
    if not text.strip():
        return text + newline.join(lines) + newline
    between = "" if text.endswith("\n") else newline
    return text + between + newline + newline.join(lines) + newline


def entry_at(document: Any, path: Sequence[str]) -> Any:
    """Return the value at `path` in a YAML document; None if there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document
