"""docs/reference/models.md against the YAML of the models: none is left out, and the grain is the same."""

from __future__ import annotations

import re

import yaml

from tests.helpers.built import ROOT

PUBLIC = ("models/staging", "models/marts")


def documented() -> dict[str, str]:
    """Model to grain, by the tables of the page that say what one row is."""
    found: dict[str, str] = {}
    tables = re.split(r"\n{2,}", (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8"))
    for table in (each.partition("| model | one row per | for |\n")[2] for each in tables):
        for row in table.splitlines()[1:]:
            name, grain, purpose = (cell.strip() for cell in row.strip("| ").split(" | "))
            assert purpose, row
            found[name.strip("`")] = grain
    return found


def described() -> dict[str, str]:
    """Model to grain, by the descriptions of the public models."""
    found: dict[str, str] = {}
    for file in (file for folder in PUBLIC for file in sorted((ROOT / folder).rglob("*.yml"))):
        for model in yaml.safe_load(file.read_text(encoding="utf-8")).get("models", []):
            grain = re.search(r"One row per ([^.;(]+)", " ".join(model["description"].split()))
            assert grain, f"{file}: {model['name']}"
            found[model["name"]] = grain[1].strip()
    return found


def test_the_page_has_every_public_model_with_its_grain() -> None:
    files = {file.stem for folder in PUBLIC for file in (ROOT / folder).rglob("*.sql")}
    assert documented() == described()
    assert documented().keys() == files
