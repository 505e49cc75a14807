"""Two resources of one relation, one of them revetl's: dbt's refusal as a sentence with a way out."""

from __future__ import annotations

import re

from revetl.dbt.project_files import PACKAGE, DbtProject

_FOLDERS = 2

_CLASH = re.compile(r"two resources with the database re(presentation|lation) ")
_RESOURCE = re.compile(
    r"\b(?P<kind>model|seed|snapshot)\.(?P<package>\w+)\.(?P<name>\w+)(?: \((?P<file>[^)]+)\))?"
)


def clash(project: DbtProject, text: str) -> str | None:
    """The error where dbt refuses two resources that are one relation, and one of them is the package's;
    None for any other error. dbt 1 names their files, dbt 2 does not."""
    found = list(_RESOURCE.finditer(text[told.start() :])) if (told := _CLASH.search(text)) else []
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
        f"{file} and revetl's {kind} {name} ({own}) are the same relation in the warehouse. Rename yours, "
        "or move revetl's to another schema in dbt_project.yml:\n" + "\n".join(f"  {line}" for line in lines)
    )


def _file_of(project: DbtProject, found: re.Match[str]) -> str:
    """The file of a resource, from the project's folder: as dbt tells it, else where one of its name is; the
    resource's id where there is none."""
    package = found["package"]
    inside = "" if package == project.name else f"dbt_packages/{package}/"
    if found["file"]:
        return inside + str(found["file"])
    folders = [project.root / inside] if inside else [project.root / path for path in project.model_paths]
    suffix = "csv" if found["kind"] == "seed" else "sql"
    files = (file for folder in folders for file in sorted(folder.rglob(f"{found['name']}.{suffix}")))
    file = next(files, None)
    return found[0] if file is None else file.relative_to(project.root).as_posix()
