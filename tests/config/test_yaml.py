"""YAML errors in revetl.yml: duplicate keys, and aliases that expand to a large document."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from revetl.dbt.project_files import Options
from revetl.errors import UsageError
from revetl.inspect.validate import validate
from tests.helpers.project import ProjectFolder

LAUGHS = "".join(f"  l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 9))
BOMB = f"destinations:\n  l0: &l0 [lol, lol]\n{LAUGHS}"
WRONG = {
    "a destination twice": (
        "destinations:\n  crm: {type: webhook, url: https://a.example}\n  crm: {type: webhook}\n",
        "revetl.yml: duplicate key 'crm' on lines 2 and 3. Remove one of them.",
    ),
    "a key of a destination twice": (
        "destinations:\n  crm:\n    type: webhook\n    url: https://a.example\n    timeout: 3\n    url: https://b\n",
        "revetl.yml: duplicate key 'url' on lines 4 and 6. Remove one of them.",
    ),
    "once in quotes": (
        'destinations: {}\n"destinations": {}\n',
        "revetl.yml: duplicate key 'destinations' on lines 1 and 2. Remove one of them.",
    ),
    "a billion laughs": (
        BOMB,
        "revetl.yml, line 7: expands to more than 100,000 values because of its aliases (*). "
        "Use fewer aliases.",
    ),
    "an anchor in itself": (
        "destinations: &a\n  crm: *a\n",
        "revetl.yml, line 1: the anchor (&) contains itself. Write its content out.",
    ),
    "a thousand levels": (
        "destinations:\n" + "- " * 1_000 + "x\n",
        "revetl.yml: is nested more than 100 levels deep. Reduce the nesting.",
    ),
    "a day that is none": (
        "destinations: 2024-13-45\n",
        "revetl.yml: month must be in 1..12. Quote the value.",
    ),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_yaml_that_does_not_say_what_it_seems_to_is_an_error_at_once(
    tmp_path: Path, text: str, sentence: str
) -> None:
    project = ProjectFolder(tmp_path / "shop")
    project.write_manifest()
    (project.root / "revetl.yml").write_text(text)
    started = time.monotonic()
    with pytest.raises(UsageError) as error:
        project.open()
    assert (str(error.value), validate(Options(project_dir=project.root))) == (sentence, [sentence])
    assert time.monotonic() - started < 5


def test_common_aliases_and_merges_are_read(tmp_path: Path) -> None:
    project = ProjectFolder(tmp_path / "shop")
    (project.root / "revetl.yml").write_text(
        "destinations:\n"
        "  a: &hook {type: webhook, url: https://a.example, timeout: 3}\n"
        "  b:\n    <<: *hook\n    url: https://b.example\n    timeout: 4\n"
    )
    found = project.open().workspace.config.destinations["b"]
    assert found == {"type": "webhook", "url": "https://b.example", "timeout": 4}


def test_dbt_files_are_read_as_dbt_reads_them(tmp_path: Path) -> None:
    project = ProjectFolder(tmp_path / "shop")
    with (project.root / "dbt_project.yml").open("a") as file:
        file.write("name: shop2\n")
    assert project.open().workspace.dbt.name == "shop2"
