"""Select audiences with `--select` and `--exclude`, in dbt's selection syntax.

The manifest suffices for names with wildcards, `fqn:`, `tag:`, `path:`, `file:`, `package:`, the graph
operators `+` and `@`, unions and intersections. Selections with any other method (`state:modified`,
`config.materialized:table`, `source:raw` …) are resolved by dbt, in a separate process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count, islice
from pathlib import Path
from typing import Any

import orjson

from revetl import dbt
from revetl.dbt.program import said
from revetl.errors import UsageError, nearest

Say = Callable[[str], None]
Node = Mapping[str, Any]

# dbt's pattern of a criterion (dbt.graph.selector_spec), for the same parsing.
_CRITERION = re.compile(
    r"(?P<at>@)?"
    r"(?P<parents>(?P<parents_depth>\d*)\+)?"
    r"(?:(?P<method>[\w.]+):)?(?P<value>.*?)"
    r"(?P<children>\+(?P<children_depth>\d*))?"
)
_EVERYTHING = "fqn:*"


@dataclass(frozen=True)
class _Criterion:
    """One criterion of a selection, for example `2+tag:nightly`. A depth of None is unlimited."""

    method: str
    value: str
    at: bool
    parents: bool
    parents_depth: int | None
    children: bool
    children_depth: int | None


def select_models(
    manifest: dbt.Manifest,
    project: dbt.DbtProject,
    options: dbt.Options,
    *,
    select: str | None = None,
    exclude: str | None = None,
    selector: str | None = None,
    state: Path | None = None,
    say: Say = lambda _: None,
) -> set[str]:
    """Return the unique ids of the audiences selected by `select`, or of all if None, except those selected
    by `exclude`. `state` is the folder of artifacts for `state:` and `result:`.

    Words without a match are reported to `say`, as dbt warns about them. Raises UsageError if no audience
    remains, with the nearest name or tag, and for selections that dbt rejects.
    """
    graph = manifest.graph()
    if selector is not None:
        found = _ask_dbt(project, options, None, None, state, selector)
    elif _by_manifest(select) and _by_manifest(exclude):
        reader = _Reader(graph, project, say)
        found = reader.union(_EVERYTHING if select is None else select, "--select")
        found -= reader.union(exclude or "", "--exclude")
    else:
        found = _ask_dbt(project, options, select, exclude, state)
    audiences = {model.unique_id: model for model in manifest.models()}
    selected = found & audiences.keys()
    if not selected and (select, exclude, selector) != (None, None, None):
        given = {"--select": select, "--exclude": exclude, "--selector": selector}
        asked = " ".join(f"{name} {text}" for name, text in given.items() if text is not None)
        known = {model.name for model in audiences.values()}
        tags = {f"tag:{tag}" for model in audiences.values() for tag in model.tags}
        raise UsageError(
            f"{asked}: no audience matches. {nearest(select or '', known | tags, all_of_them=True)}"
        )
    return selected


def _by_manifest(selection: str | None) -> bool:
    """Whether the manifest suffices to resolve a selection."""
    return all(
        criterion is not None and criterion.method in _Reader.METHODS
        for word in (selection or "").split()
        for criterion in map(_criterion, word.split(","))
    )


def _criterion(text: str) -> _Criterion | None:
    """Parse a word as a criterion; None for an invalid one, which dbt rejects."""
    found = _CRITERION.fullmatch(text)
    if found is None or (found["at"] and found["children"]):
        return None
    value = found["value"]
    return _Criterion(
        method=found["method"] or _default_method(value),
        value=value,
        at=bool(found["at"]),
        parents=bool(found["parents"]),
        parents_depth=int(found["parents_depth"]) if found["parents_depth"] else None,
        children=bool(found["children"]),
        children_depth=int(found["children_depth"]) if found["children_depth"] else None,
    )


def _default_method(value: str) -> str:
    if os.sep in value or (os.altsep and os.altsep in value):
        return "path"
    return "file" if value.lower().endswith((".sql", ".py", ".csv")) else "fqn"


class _Reader:
    """Resolves selections in the manifest's graph, with the semantics of dbt.graph.selector_methods."""

    METHODS = ("fqn", "tag", "path", "file", "package")

    def __init__(self, graph: Mapping[str, Node], project: dbt.DbtProject, say: Say) -> None:
        self._graph = graph
        self._project = project
        self._say = say
        self._parents = {name: _depends_on(node) & graph.keys() for name, node in graph.items()}
        self._children: dict[str, set[str]] = {name: set() for name in graph}
        for name, parents in self._parents.items():
            for parent in parents:
                self._children[parent].add(name)

    def union(self, selection: str, option: str) -> set[str]:
        """Return the union of the words' matches; commas within a word are intersections."""
        found: set[str] = set()
        for word in selection.split():
            parts = [self._meant(criterion) for text in word.split(",") if (criterion := _criterion(text))]
            met = set.intersection(*parts)
            if not met:
                self._say(f"Warning: {option} {word}: matches nothing in the dbt project.")
            found |= met
        return found

    def _meant(self, criterion: _Criterion) -> set[str]:
        matches = {"fqn": self._fqn, "tag": _tag, "file": _file, "package": self._package}
        if criterion.method == "path":
            chosen = self._path(criterion.value)
        else:
            match = matches[criterion.method]
            chosen = {name for name, node in self._graph.items() if match(node, criterion.value)}
        found = set(chosen)
        if criterion.at:
            found |= self._reached(chosen, self._children, None)
            found |= self._reached(found, self._parents, None)
        if criterion.parents:
            found |= self._reached(chosen, self._parents, criterion.parents_depth)
        if criterion.children:
            found |= self._reached(chosen, self._children, criterion.children_depth)
        return found

    @staticmethod
    def _reached(start: set[str], edges: Mapping[str, set[str]], depth: int | None) -> set[str]:
        found: set[str] = set()
        layer = start
        for _ in islice(count(), depth):
            layer = {name for each in layer for name in edges[each]} - found
            if not layer:
                break
            found |= layer
        return found

    def _fqn(self, node: Node, value: str) -> bool:
        if node["resource_type"] == "source":
            return False
        # A handwritten manifest has no fqn; its nodes match by name.
        fqn = node.get("fqn") or [self._project.name, node["name"]]
        versioned = node.get("version") is not None
        return _is_named(fqn, value, versioned) or _is_named(fqn[1:], value, versioned)

    def _package(self, node: Node, value: str) -> bool:
        named = self._project.name if value == "this" else value
        return fnmatch(node.get("package_name", self._project.name), named)

    def _path(self, pattern: str) -> set[str]:
        root = self._project.root
        try:
            paths = {path.relative_to(root) for path in root.glob(pattern)}
        # pathlib raises these for absolute and empty patterns.
        except (NotImplementedError, ValueError):
            raise UsageError(f"path:{pattern}: is not relative to {root}. Use a relative path.") from None
        return {name for name, node in self._graph.items() if paths & set(_files_of(node))}


def _depends_on(node: Node) -> set[str]:
    return set((node.get("depends_on") or {}).get("nodes") or ())


def _tag(node: Node, value: str) -> bool:
    tags = node.get("tags") or (node.get("config") or {}).get("tags") or ()
    return any(fnmatch(tag, value) for tag in ([tags] if isinstance(tags, str) else tags))


def _file(node: Node, value: str) -> bool:
    path = Path(node["original_file_path"])
    return fnmatch(path.name, value) or fnmatch(path.stem, value)


def _files_of(node: Node) -> Iterator[Path]:
    """Yield the file of a node, its folders, and the YAML file that describes it."""
    path = Path(node["original_file_path"])
    yield from (path, *path.parents)
    if described := node.get("patch_path"):
        yield Path(described.split("://")[1])


def _is_named(fqn: list[str], value: str, versioned: bool) -> bool:
    """dbt's `is_selected_node`: match by the leaf's name, a prefix of the dotted name, or a wildcard."""
    if not fqn:
        return False
    leaf = fqn[-2] if versioned and len(fqn) > 1 else fqn[-1]
    wanted = value.split(".")
    if leaf == value or (versioned and "_".join(fqn[-2:]) == "_".join(wanted[-2:])):
        return True
    parts = [part for segment in fqn for part in segment.split(".")]
    if len(parts) < len(wanted):
        return False
    for index, (part, want) in enumerate(zip(parts, wanted, strict=False)):
        if any(wildcard in want for wildcard in "*?[]"):
            rest = fnmatch(".".join(parts[index:]), ".".join(wanted[index:]))
            return rest or ("." not in value and fnmatch(leaf, value))
        if part != want:
            return False
    return True


def _ask_dbt(
    project: dbt.DbtProject,
    options: dbt.Options,
    select: str | None,
    exclude: str | None,
    state: Path | None,
    selector: str | None = None,
) -> set[str]:
    words = ["ls", "--quiet", "--log-format", "text", "--resource-type", "model"]
    words += ["--output", "json", "--output-keys", "unique_id"]
    given = {"--select": select, "--exclude": exclude, "--selector": selector}
    given["--state"] = None if state is None else str(state.resolve())
    asked = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    shown = " ".join(["dbt", "ls", *asked])
    done = dbt.run(project, options, *words, *asked)
    if done.returncode:
        tail = "\n".join(said(done).splitlines()[-6:])
        raise UsageError(f"`{shown}` failed. Fix this error:\n{tail}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return {orjson.loads(line)["unique_id"] for line in lines}
