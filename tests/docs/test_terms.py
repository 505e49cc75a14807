"""The words of the field in docs, help texts and model descriptions: banned phrases, and what to write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from docs import generate
from revetl.cli import cli
from tests.helpers.built import ROOT

TERMS = {
    r"who is who": "identity resolution",
    r"anew": "again",
    r"mends?|mended|mending": "fix",
    r"alike": "the same, or normalized",
    r"(?<!there )(?:is|are|was|were) no (?!longer|more|doubt)\w+": "isn't a …, is not a …",
    # Not: independent of its own table.
    r"of (?:its|their|your|our|his|her|one's) own(?! (?!(?:and|are|by|for|in|is|or|stands?|with)\b)\w)": (
        "its own …"
    ),
    r"one rows? an? \w+": "one row per …",
    r"(?:is|are|was|were) told": "is notified, gets, is logged",
    r"tells (?:what|whom|who|how|of)": "prints, shows",
    r"but for": "except",
    r"the gravest": "the most severe",
    r"plays (?:them|the|it)|played (?:by|through)": "mocks, mocked",
    r"whose state it is": "the state's owner",
    r"knows? nobody": "does not support this identifier, matches no one",
    r"what a (?:destination|tool) would not take": "rejected records",
    r"takes? (?:effect )?no (?:account|notice)": "ignores",
    r"(?:much|all) the same(?! )": "anyway",
    r"theirs|hers": "their …",
    r"whatever became of": "independently of",
    r"for ever": "permanently",
    r"brought forward": "migrated",
    r"second opinion": "reference-client test",
    r"sees to it": "checks",
    r"half-way": "halfway",
}
"""What is wrong, as a regular expression of whole words in any case, and what a reader would look for."""

_CODE = re.compile(r"```[\s\S]*?```|`[^`\n]*`|^(?: {4}|\t).*$|<!--.*?-->|\]\([^)\n]*\)", re.MULTILINE)


def found(text: str, place: str) -> Iterator[str]:
    """The banned phrases of a text, each with its place and what to write."""
    for wrong, right in TERMS.items():
        for match in re.finditer(rf"\b(?:{wrong})\b", text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{place}:{line}: '{' '.join(match[0].split())}': write {right}"


def prose(page: Path) -> str:
    """A page without its code, line for line."""
    return _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), page.read_text(encoding="utf-8"))


PAGES = [
    ROOT / "README.md",
    *(
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if not page.read_text(encoding="utf-8").startswith(generate.GENERATED)
    ),
]
PAGES_TO_DO: frozenset[str] = frozenset()
"""Pages that are still to be rewritten. A page that is clean has to leave the list."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_written_in_the_words_of_the_field(page: Path) -> None:
    name = str(page.relative_to(ROOT))
    wrong = list(found(prose(page), name))
    if name in PAGES_TO_DO:
        assert wrong, f"{name} is clean: take it off PAGES_TO_DO"
    else:
        assert wrong == []


COMMANDS = dict(generate.commands(cli, "revetl"))
COMMANDS_TO_DO: frozenset[str] = frozenset()
"""Commands whose help is still to be rewritten."""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_written_in_the_words_of_the_field(name: str) -> None:
    command = COMMANDS[name]
    helps = [each.help or "" for each in command.params if isinstance(each, click.Option)]
    wrong = list(found("\n".join([command.help or "", *helps]), name))
    if name in COMMANDS_TO_DO:
        assert wrong, f"{name} is clean: take it off COMMANDS_TO_DO"
    else:
        assert wrong == []


def _described(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("description"), str):
            yield node["description"]
        for each in node.values():
            yield from _described(each)
    elif isinstance(node, list):
        for each in node:
            yield from _described(each)


FILES = sorted((ROOT / "models").rglob("*.yml"))
FILES_TO_DO: frozenset[str] = frozenset()
"""Files whose descriptions are still to be rewritten."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_descriptions_are_written_in_the_words_of_the_field(file: Path) -> None:
    name = str(file.relative_to(ROOT))
    texts = _described(yaml.safe_load(file.read_text(encoding="utf-8")))
    wrong = [each for text in texts for each in found(" ".join(text.split()), name)]
    if name in FILES_TO_DO:
        assert wrong, f"{name} is clean: take it off FILES_TO_DO"
    else:
        assert wrong == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One row a message.", 1),
        ("One row per message is made, and there is no other.", 0),
        ("It checks the models upstream of its own audience.", 0),
        ("It is no field, but is no longer used.", 1),
        ("A schema of its own, made anew.", 2),
        ("The mending of fences; amended.", 1),
    ],
)
def test_a_phrase_is_found_as_whole_words(text: str, count: int) -> None:
    assert len(list(found(text, "page"))) == count
