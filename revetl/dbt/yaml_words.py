"""The keys `on`, `off`, `yes` and `no` of YAML in dbt's manifest: there, they are 'true' and 'false'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from revetl.config.base import read_yaml
from revetl.errors import UsageError

_WORDS = {"true": {"on", "yes", "true"}, "false": {"off", "no", "false"}}


def restored(meta: Any, file: Path, model: str) -> Any:
    """Return a model's meta with its keys as its YAML file has them, where that declares it; `split` as it
    is, because SQL has its names, too. Raises UsageError for two keys that are the same to dbt, which keeps
    one of them."""
    if not _has_word(meta):
        return meta
    try:
        document = read_yaml(file, unique=False)
    except UsageError:
        return meta  # dbt has read it; only the keys are less clear
    models = document.get("models") if isinstance(document, Mapping) else None
    for entry in models if isinstance(models, list) else ():
        if isinstance(entry, Mapping) and entry.get("name") == model:
            written = _at(entry, "config", "meta", "revetl") or _at(entry, "meta", "revetl")
            return _restored(meta, written, f"{file.name}: {model}: meta.revetl")
    return meta


def _has_word(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(key in _WORDS or _has_word(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(_has_word, value))


def _restored(value: Any, written: Any, place: str) -> Any:
    if isinstance(value, Mapping) and isinstance(written, Mapping):
        found = {}
        for key, inner in value.items():
            words = [each for each in written if str(each).lower() in _WORDS.get(key, ())]
            if len(words) > 1:
                raise UsageError(
                    f"{place}: dbt reads the keys '{words[0]}' and '{words[1]}' as the same. Quote them."
                )
            name = words[0] if words else key
            found[name] = inner if name == "split" else _restored(inner, written.get(name), f"{place}.{name}")
        return found
    if isinstance(value, list) and isinstance(written, list) and len(value) == len(written):
        return [_restored(*pair, place) for pair in zip(value, written, strict=True)]
    return value


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
