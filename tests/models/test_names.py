"""What the package's files refer to and are called: nothing that a project may have under the same name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from revetl.project.scaffolding import make_project
from tests.helpers.built import ROOT
from tests.models.conftest import run_dbt

PREFIXES = {
    "models/staging": "stg_revetl__",
    "models/intermediate": "int_revetl__",
    "models/marts": "revetl_",
    "snapshots": "revetl_",
    "seeds": "revetl_",
}
ACCESS = {"staging": "public", "intermediate": "private", "marts": "public"}
PROJECTS_OWN = {
    # The messages of an identity rule, a list of the identity rules, the model of a trait, another audience,
    # a model in the place of one of ours.
    ("macros/identity/rules.sql", "source(*name.split('.'))"),
    ("macros/identity/rules.sql", "ref(name)"),
    ("macros/identity/lists.sql", "ref(own)"),
    ("macros/traits/together.sql", "ref(model)"),
    ("macros/audiences/did.sql", "ref(name)"),
    ("macros/overrides.sql", "ref(own)"),
}
"""What a project names with a variable or an argument, and may have in any package."""
_CALL = re.compile(r"(?<!\w)(?:ref|source)\((?:[^()]|\([^()]*\))*\)")
_OURS = re.compile(r"""ref\(\s*(['"])revetl\1\s*,|source\(\s*(['"])revetl_(?:raw|state)\2\s*,""")


def files(*suffixes: str) -> Iterator[tuple[str, Path]]:
    """The package's files with their places, and the audiences of a new project."""
    for folder in (*PREFIXES, "macros", "revetl/project/scaffold/models"):
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in suffixes:
                yield str(file.relative_to(ROOT)), file


def named() -> Iterator[tuple[str, str, str]]:
    """The place and name of every model, snapshot and seed of the package, and its prefix."""
    for folder, prefix in PREFIXES.items():
        yield from (
            (place, file.stem, prefix) for place, file in files(".sql", ".csv") if place.startswith(folder)
        )


def test_every_reference_names_the_package() -> None:
    wrong = [
        f"{place}:{line}: {call}"
        for place, file in files(".sql", ".yml")
        for line, call in references(file.read_text())
        if not _OURS.match(call) and (place, call) not in PROJECTS_OWN
    ]
    assert wrong == [], "write ref('revetl', …), source('revetl_raw', …) or source('revetl_state', …)"


def references(text: str) -> Iterator[tuple[int, str]]:
    """The line and text of every call of `ref` and `source` outside of comments."""
    code = re.sub(r"{#.*?#}", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.S)
    for call in _CALL.finditer(code):
        yield code.count("\n", 0, call.start()) + 1, call[0]


def test_every_name_has_the_prefix_of_its_folder() -> None:
    assert [place for place, name, prefix in named() if not name.startswith(prefix)] == []
    for _, file in files(".sql"):
        for name in re.findall(r"{% snapshot (\w+) %}", file.read_text()):
            assert name == file.stem


def test_every_model_and_seed_says_its_grain() -> None:
    described: dict[str, str] = {}
    for _, file in files(".yml"):
        document: dict[str, list[dict[str, Any]]] = yaml.safe_load(file.read_text())
        for entry in [*document.get("models", []), *document.get("seeds", [])]:
            described[entry["name"]] = entry.get("description") or ""
    wrong = [
        place
        for place, name, _ in named()
        if not place.startswith("snapshots") and "One row per " not in described.get(name, "")
    ]
    assert wrong == [], "describe it in YAML, with its grain: One row per …"


@pytest.mark.slow
def test_machinery_is_private_and_has_a_schema_of_its_own(tmp_path: Path) -> None:
    project = tmp_path / "shop"
    make_project(project)
    run_dbt(project / "shop.duckdb", "deps", project=project)
    run_dbt(project / "shop.duckdb", "parse", project=project)
    manifest = json.loads((project / "target" / "manifest.json").read_text())
    models = [node for name, node in manifest["nodes"].items() if name.startswith("model.revetl.")]
    assert len(models) > 30
    # `protocols simulate` reads the sample messages by `dbt run-operation`, which cannot read private models.
    samples = {node["name"] for node in models if node["name"].startswith("int_revetl__sample_")}
    assert {(node["access"], node["schema"]) for node in models if node["name"] in samples} == {
        ("public", "main_revetl_internal")
    }
    found = {
        (node["fqn"][1], node["access"], node["group"], node["schema"])
        for node in models
        if node["name"] not in samples
    }
    assert found == {
        (folder, access, "revetl", "main_revetl_internal" if access == "private" else "main")
        for folder, access in ACCESS.items()
    }
    private = next(node["name"] for node in models if node["access"] == "private")
    own = project / "models" / "mine.sql"
    own.write_text(f"select * from {{{{ ref('revetl', '{private}') }}}}")
    done = run_dbt(project / "shop.duckdb", "parse", project=project, exit_code=2)
    assert f"attempted to reference node model.revetl.{private}, which is not allowed" in done.stdout
