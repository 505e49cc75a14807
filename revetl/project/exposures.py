"""Write syncs as dbt exposures, so that dbt's lineage and documentation include destinations."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Any

import yaml

from revetl.config.base import read_yaml
from revetl.errors import UsageError
from revetl.project.workspace import Sync, Workspace

FILE = "revetl_exposures.yml"
MARK = "# Written by `revetl exposures`. Do not edit: change the syncs, and run it again."


@dataclass(frozen=True)
class ExposuresDiff:
    """The difference between the file and its expected content, by names of exposures."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __str__(self) -> str:
        kinds = {"added": self.added, "changed": self.changed, "removed": self.removed}
        return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)


class ExposuresFile:
    """The file of a project's exposures.

    `file` is taken from the project's folder; without it, it is FILE in the first of the project's
    model-paths. `owner`, such as `Data <data@shop.example>`, is of syncs whose model has no `meta.owner`;
    without it, they have the owner in the file. `syncs` are those to write; without them, every sync. Raises
    UsageError for a place that dbt does not read and for a file that `revetl exposures` did not write.
    """

    def __init__(
        self,
        workspace: Workspace,
        file: Path | None = None,
        owner: str | None = None,
        syncs: Sequence[Sync] | None = None,
    ) -> None:
        self._workspace = workspace
        self._owner = owner
        self._syncs = syncs
        folders = workspace.dbt.model_paths
        self.path = workspace.root / (file or Path(folders[0], FILE))
        self.shown = self.path.relative_to(workspace.root) if self._inside(".") else self.path
        if self.path.suffix not in {".yml", ".yaml"} or not any(map(self._inside, folders)):
            raise UsageError(
                f"--file {self.shown}: dbt reads exposures from .yml files in {', '.join(folders)}. "
                "Choose a file there."
            )
        if self.path.exists() and not self._text().startswith(MARK):
            raise UsageError(
                f"{self.shown}: was not written by `revetl exposures` and is not overwritten. "
                "Move the file, or choose another with --file."
            )
        written = _by_name(read_yaml(self.path)) if self.path.exists() else {}
        self._owners = {name: each["owner"] for name, each in written.items() if each.get("owner")}

    def document(self) -> str:
        """Return the expected content: one exposure per sync, sorted by name. Raises UsageError for a sync
        with an invalid configuration or without an owner."""
        every = [sync for each in self._workspace.audiences() for sync in each.syncs]
        syncs = sorted(every if self._syncs is None else self._syncs, key=lambda sync: sync.name)
        exposures: dict[str, dict[str, Any]] = {}
        for sync in syncs:
            name = _unused(re.sub(r"\W", "_", f"revetl_{sync.audience.name}_to_{sync.config.to}"), exposures)
            exposures[name] = {"name": name, **self._exposure(sync, name)}
        content = {"version": 2, "exposures": list(exposures.values())}
        text = yaml.safe_dump(_unrendered(content), sort_keys=False, allow_unicode=True, width=100)
        return f"{MARK}\n{text}"

    def difference(self) -> ExposuresDiff | None:
        """Compare the file with `document`; None if they are equal."""
        wanted = self.document()
        if self.path.exists() and self._text() == wanted:
            return None
        before = _by_name(read_yaml(self.path)) if self.path.exists() else {}
        after = _by_name(yaml.safe_load(wanted))
        return ExposuresDiff(
            added=tuple(sorted(after.keys() - before.keys())),
            changed=tuple(
                sorted(name for name in after.keys() & before.keys() if after[name] != before[name])
            ),
            removed=tuple(sorted(before.keys() - after.keys())),
        )

    def write(self) -> bool:
        """Write the file. Returns False if it was up to date."""
        text = self.document()
        if self.path.exists() and self._text() == text:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, encoding="utf-8")
        return True

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")

    def _inside(self, folder: str) -> bool:
        return self.path.resolve().is_relative_to((self._workspace.root / folder).resolve())

    def _exposure(self, sync: Sync, name: str) -> dict[str, Any]:
        self._workspace.destination_class(sync)
        kind = str(self._workspace.config.destinations[sync.config.to]["type"])
        node = self._workspace.manifest.graph()[sync.audience.model.unique_id]
        details = {
            "sync": sync.name,
            "audience": sync.audience.name,
            "destination": sync.config.to,
            "type": kind,
            "mode": sync.config.mode,
            "key": sync.audience.key,
            "identifiers": dict(sync.config.identifiers),
            "fields": None if sync.config.fields is None else dict(sync.config.fields),
            "constants": dict(sync.config.constants),
        }
        return {
            "label": f"{sync.audience.name} to {sync.config.to}",
            "type": "application",
            "owner": self._owner_of(sync, node, name),
            "description": _description(sync, kind),
            "depends_on": [_ref(node, self._workspace.dbt.name)],
            "config": {"meta": {"revetl": {key: value for key, value in details.items() if value}}},
        }

    def _owner_of(self, sync: Sync, node: Mapping[str, Any], name: str) -> dict[str, str]:
        """The owner of an exposure: the model's, the given one, or the file's; of a new one, that of all."""
        named = (node["config"].get("meta") or {}).get("owner") or self._owner or self._owners.get(name)
        if named is None and self._owners:
            first, *others = self._owners.values()
            named = first if all(each == first for each in others) else None
        if isinstance(named, Mapping):
            found = {key: str(named[key]) for key in ("name", "email") if named.get(key)}
        else:
            found = _owner(str(named or ""))
        if not found:
            raise UsageError(
                f"{sync.audience.model.place}: {sync.audience.name}: meta.owner is missing, and dbt requires "
                "exposures to have an owner. Add it, or set a default with --owner."
            )
        return found


def _owner(text: str) -> dict[str, str]:
    """Parse `Name <email>`, an email or a name into dbt's form of an owner."""
    if "@" not in text.strip()[1:]:
        return {"name": text.strip()} if text.strip() else {}
    name, email = parseaddr(text)
    return {key: value for key, value in (("name", name), ("email", email)) if value}


def _ref(node: Mapping[str, Any], project: str) -> str:
    package = node.get("package_name", project)
    words = [repr(package)] if package != project else []
    words.append(repr(node["name"]))
    if (version := node.get("version")) is not None:
        words.append(f"v={version!r}")
    return f"ref({', '.join(words)})"


def _description(sync: Sync, kind: str) -> str:
    config = sync.config
    if config.fields is None:
        fields = f"every column except {sync.audience.key}"
    else:
        named = [
            name if name == column else f"{name} (from {column})"
            for name, column in sorted(config.fields.items())
        ]
        fields = ", ".join([*named, *(f"{name} (constant)" for name in sorted(config.constants))])
    return (
        f"The audience {sync.audience.name}, sent by revetl to {config.to} ({kind}) in mode {config.mode}. "
        f"Fields: {fields or 'none'}."
    )


def _unused(name: str, taken: Mapping[str, object]) -> str:
    """Return the name or the first free of name_2, name_3 …: `a_to_b` to `c` equals `a` to `b_to_c`."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _unrendered(value: Any) -> Any:
    """Wrap text that dbt would render as Jinja in a raw block."""
    if isinstance(value, dict):
        return {key: _unrendered(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_unrendered(inner) for inner in value]
    if isinstance(value, str) and re.search(r"\{[{%#]", value):
        return f"{{% raw %}}{value}{{% endraw %}}"
    return value


def _by_name(document: Any) -> dict[str, Any]:
    return {exposure["name"]: exposure for exposure in (document or {}).get("exposures") or ()}
