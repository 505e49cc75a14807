"""Find names of the 0.1.0 package in a project's own files, with their position and current name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from revetl.config.base import read_yaml

PUBLIC = {
    "account_members": "revetl_account_members",
    "account_traits": "revetl_account_traits",
    "accounts": "revetl_accounts",
    "audience_growth": "revetl_audience_growth",
    "audience_membership": "revetl_audience_membership",
    "audience_sizes": "revetl_audience_sizes",
    "blocked_identifiers": "revetl_blocked_identifiers",
    "computed_traits": "revetl_computed_traits",
    "cut_edges": "revetl_cut_edges",
    "delivered_members": "revetl_delivered_members",
    "delivery_runs": "revetl_delivery_runs",
    "event_profiles": "revetl_events",
    "event_quality": "revetl_event_quality",
    "experiment_lift": "revetl_experiment_lift",
    "experiment_members": "revetl_experiment_members",
    "identity_conflicts": "revetl_identity_conflicts",
    "identity_edges": "revetl_identity_edges",
    "identity_stats": "revetl_identity_stats",
    "mtu_monthly": "revetl_mtu_monthly",
    "privacy_lag": "revetl_privacy_lag",
    "profile_identifiers": "revetl_profile_identifiers",
    "profile_merges": "revetl_profile_merges",
    "rejection_reasons": "revetl_rejection_reasons",
    "sample_identifies": "revetl_sample_identifies",
    "sample_tracks": "revetl_sample_tracks",
    "tracking_plan_violations": "revetl_tracking_plan_violations",
    "trait_history": "revetl_trait_history",
    "user_profiles": "revetl_profiles",
    **{
        f"stg_{name}": f"stg_revetl__{name}"
        for name in ("aliases", "groups", "identifies", "pages", "screens", "tracks")
    },
}
"""Former to current name of public models, seeds and snapshots."""
EXAMPLES = ("big_spenders", "high_churn", "lapsed_repeat_buyers", "viewed_not_bought")
"""The example audiences of the 0.1.0 package."""
_PRIVATE = {
    "identity_graph": "revetl_profile_identifiers",
    "order_scores": "int_revetl__order_scores",
}
_INTERNAL = (  # noqa: SIM905
    "event_traits identity_changes identity_clusters identity_components identity_contested identity_days "
    "identity_identifiers identity_left_out identity_merges identity_messages identity_nodes identity_pairs "
    "identity_rules identity_sightings identity_sighted_days identity_sources identity_stars "
    "identity_touched kept_traits trait_events trait_touched"
).split()
_NOT_PUBLIC = "nothing: it is now private"
_NOT_THERE = "ref('{name}'), after `--with-examples` adds it to the project"
NAMES = {**PUBLIC, **_PRIVATE, **dict.fromkeys(_INTERNAL, _NOT_PUBLIC), **dict.fromkeys(EXAMPLES, _NOT_THERE)}
_SOURCES = {"raw": "revetl_raw", "revetl": "revetl_state"}
_FOLDERS = {
    "audiences": "nothing: the example audiences belong to the project",
    "delivery": "marts.delivery",
    "experiments": "marts.experiments",
    "identity": "intermediate.identity and marts.identity",
    "membership": "marts.audiences",
    "profiles": "marts.profiles",
    "protocols": "marts.protocols",
    "traits": "intermediate.traits and marts.traits",
}
_PATHS = {
    "model-paths": ["models"],
    "macro-paths": ["macros"],
    "snapshot-paths": ["snapshots"],
    "test-paths": ["tests"],
    "analysis-paths": ["analyses"],
    "seed-paths": ["seeds"],
}
_REF = re.compile(r"""\bref\(\s*(?:(?P<quote>['"])(?P<package>\w+)(?P=quote)\s*,\s*)?['"](?P<name>\w+)['"]""")
_SOURCE = re.compile(r"""\bsource\(\s*['"](?P<name>raw|revetl)['"]\s*,""")


@dataclass(frozen=True)
class FormerName:
    """A name of 0.1.0 at a line of a file of the project, and its replacement."""

    file: Path
    line: int
    was: str
    now: str


def uses(root: Path) -> list[FormerName]:
    """Return the uses in the project's SQL and YAML, sorted by file and line. Names of the project's own
    models only count if qualified with the package."""
    document = read_yaml(root / "dbt_project.yml", unique=False)
    files = sorted(_files(root, document))
    own = {file.stem for file in files if file.suffix in {".sql", ".csv"}}
    own_sources = {
        str(each.get("name")) for file in files if _is_yaml(file) for each in _listed(file, "sources")
    }
    found = list(_keys(root, document))
    for file in files:
        if file.suffix == ".csv":
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        relative = file.relative_to(root)
        for match in _REF.finditer(text):
            name, package = match["name"], match["package"]
            is_ours = package == "revetl" or (package is None and name not in own)
            if name in NAMES and is_ours:
                yield_as = f"ref('revetl', '{NAMES[name]}')" if " " not in NAMES[name] else NAMES[name]
                was = match[0] + ")"
                found.append(
                    FormerName(relative, _line(text, match.start()), was, yield_as.format(name=name))
                )
        for match in _SOURCE.finditer(text):
            if match["name"] not in own_sources:
                now = f"source('{_SOURCES[match['name']]}', …)"
                found.append(
                    FormerName(relative, _line(text, match.start()), match[0].rstrip(",") + ", …)", now)
                )
        if _is_yaml(file):
            found += _scalars(relative, text, own)
    return sorted(found, key=lambda use: (use.file.as_posix(), use.line, use.was))


def _files(root: Path, document: Mapping[str, Any]) -> Iterator[Path]:
    seen: set[Path] = set()
    for key, default in _PATHS.items():
        written = document.get(key) or default
        for path in [written] if isinstance(written, str) else written:
            for file in (root / path).rglob("*"):
                inside = file.relative_to(root).parts[0] if file.is_relative_to(root) else ""
                if file.suffix in {".sql", ".yml", ".yaml", ".csv"} and inside not in {
                    "vendor",
                    "dbt_packages",
                    "target",
                }:
                    seen.add(file)
    seen |= {file for name in ("dbt_project.yml", "revetl.yml") if (file := root / name).is_file()}
    yield from seen


def _is_yaml(file: Path) -> bool:
    return file.suffix in {".yml", ".yaml"}


def _listed(file: Path, key: str) -> list[Mapping[str, Any]]:
    document = read_yaml(file, unique=False)
    found = document.get(key) if isinstance(document, Mapping) else None
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _scalars(file: Path, text: str, own: set[str]) -> Iterator[FormerName]:
    """Yield values of the key `model`, which names a model without ref, for example in exclusions."""
    for key, value in _pairs(yaml.compose(text, Loader=yaml.SafeLoader)):
        if key.value == "model" and value.value in NAMES and value.value not in own:
            now = NAMES[value.value].format(name=value.value)
            yield FormerName(
                file,
                value.start_mark.line + 1,
                f"model: {value.value}",
                now if " " in now else f"model: {now}",
            )


def _pairs(node: yaml.Node | None) -> Iterator[tuple[yaml.ScalarNode, yaml.ScalarNode]]:
    """Yield the entries of a document whose key and value are scalars."""
    if isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _pairs(each)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode):
                yield key, value
            yield from _pairs(value)


def _keys(root: Path, document: Mapping[str, Any]) -> Iterator[FormerName]:
    """Yield configuration of the package's models, seeds and snapshots in dbt_project.yml."""
    text = (root / "dbt_project.yml").read_text(encoding="utf-8")
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    for kind in ("models", "seeds", "snapshots"):
        for key, _ in _entries(_value(_value(tree, kind), "revetl")):
            name = key.value
            folder = _FOLDERS.get(name) if kind == "models" else None
            if (now := folder or NAMES.get(name)) and not (
                kind == "seeds" and name in {"cut_edges", "blocked_identifiers"}
            ):
                line = key.start_mark.line + 1
                yield FormerName(
                    Path("dbt_project.yml"), line, f"{kind}.revetl.{name}", now.format(name=name)
                )


def _entries(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _value(node: yaml.Node | None, name: str) -> yaml.Node | None:
    return next((value for key, value in _entries(node) if key.value == name), None)


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, index) + 1
