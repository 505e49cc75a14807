"""docs/how-to/adopting.md, followed from its first line to its last in a dbt project of somebody else's."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from revetl.project.scaffolding.former import EXAMPLES, NAMES
from tests.docs.page import follow
from tests.helpers.built import ROOT
from tests.project.projects import contents, make_untidy

PAGE = ROOT / "docs" / "how-to" / "adopting.md"


@pytest.mark.slow
def test_a_dbt_project_adopts_revetl_by_the_page(tmp_path: Path) -> None:
    make_untidy(tmp_path)
    own = contents(tmp_path / "models")
    binaries = ROOT / ".venv" / "bin"
    environment = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "0",
        "NO_COLOR": "1",
    }
    assert follow(PAGE, tmp_path, environment) == 5
    after = contents(tmp_path / "models")
    assert {name: after[name] for name in own} == own


def test_the_relations_to_drop_are_those_of_the_former_names() -> None:
    (listed,) = re.findall(r"```text\n(account_members[^`]+)```", PAGE.read_text(encoding="utf-8"))
    assert set(listed.split()) == set(NAMES) - set(EXAMPLES) - {
        "trait_history",  # renamed
        *("cut_edges", "blocked_identifiers"),  # the project's own
    }
