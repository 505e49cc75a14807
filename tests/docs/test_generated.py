"""The generated pages of the documentation are up to date: `make docs-reference` writes them."""

from __future__ import annotations

import click
import pytest

from docs import generate
from revetl.cli import cli


@pytest.mark.parametrize("page", generate.PAGES)
def test_the_committed_page_is_what_the_code_says(page: str) -> None:
    committed = (generate.DOCS / page).read_text(encoding="utf-8")
    assert committed == generate.PAGES[page](), f"docs/{page} is out of date: run `make docs-reference`"


@pytest.mark.parametrize("heading", [heading for heading, _, _ in generate.CONFIGURATION])
def test_every_configuration_key_has_a_description(heading: str) -> None:
    (model,) = (model for name, _, model in generate.CONFIGURATION if name == heading)
    assert set(model.model_fields) - set(generate.attribute_docs(model)) == set()


def test_every_command_is_on_the_page() -> None:
    names = [name for name, _ in generate.commands(cli, "revetl") if name != "revetl"]
    headings = [line.removeprefix("## ") for line in generate.cli_page().splitlines() if line[:3] == "## "]
    assert [each for each in headings if each.startswith("revetl ")] == names
    assert isinstance(cli, click.Group) and set(cli.list_commands(click.Context(cli))) <= {
        name.split()[1] for name in names
    }
