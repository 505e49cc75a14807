"""Explain dbt's error about two resources with the same relation, if one of them is revetl's."""

from __future__ import annotations

import re

from revetl.dbt.project_files import PACKAGE, DbtProject

_FOLDERS = 2

_CLASH = re.compile(r"two resources with the database re(presentation|lation) ")
_RESOURCE = re.compile(
    r"\b(?P<kind>model|seed|snapshot)\.(?P<package>\w+)\.(?P<name>\w+)(?: \((?P<file>[^)]+)\))?"
)


def clash(project: DbtProject, text: str) -> str | None:
    """Return an error for dbt's output about two resources with the same relation, one of them the package's;
    None for other errors. dbt 1 names their files, dbt 2 doesn't."""
    found = list(_RESOURCE.finditer(text[error.start() :])) if (error := _CLASH.search(text)) else []
    ours = next((each for each in found if each["package"] == PACKAGE), None)
    yours = next((each for each in found if each["package"] != PACKAGE), None)
    if ours is None or yours is None:
        return None
    kind, name = ours["kind"], ours["name"]
    file, own = _file_of(project, yours), _file_of(project, ours)
    parts = own.split(f"{PACKAGE}/")[-1].split("/")
    folder = parts[1] if kind == "model" and len(parts) > _FOLDERS else None
    lines = [f"{kind}s:", f"  {PACKAGE}:", *([f"    {folder}:"] if folder else [])]
    lines.append(f"{'  ' * (len(lines))}+schema: {PACKAGE}_models")
    lines += ["flags:", "  require_ref_searches_node_package_before_root: true"]
    return (
        f"{file} and revetl's {kind} {name} ({own}) have the same relation in the warehouse. Rename yours, "
        "or move revetl's to another schema in dbt_project.yml:\n" + "\n".join(f"  {line}" for line in lines)
    )


def _file_of(project: DbtProject, found: re.Match[str]) -> str:
    """Return the relative path of a resource: from dbt's output, else found by its name; its id if there is
    no such file."""
    package = found["package"]
    inside = "" if package == project.name else f"dbt_packages/{package}/"
    if found["file"]:
        return inside + str(found["file"])
    folders = [project.root / inside] if inside else [project.root / path for path in project.model_paths]
    suffix = "csv" if found["kind"] == "seed" else "sql"
    files = (file for folder in folders for file in sorted(folder.rglob(f"{found['name']}.{suffix}")))
    file = next(files, None)
    return found[0] if file is None else file.relative_to(project.root).as_posix()
