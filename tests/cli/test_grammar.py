"""`revetl VERB [audience] NAME [--to DESTINATION]` and dbt's selection, the same on every command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from revetl.cli import GROUPS, cli
from tests.conftest import Cli, SandboxClient
from tests.helpers.project import ProjectFolder
from tests.sync.test_sync import people

BOTH = [{"to": "crm"}, {"to": "mail"}]


@pytest.fixture
def shop(project: ProjectFolder, sandbox: SandboxClient) -> ProjectFolder:
    """Two audiences: `vips` to crm and mail, which are synced, and `fans` to crm."""
    project.destinations(
        {name: {"type": "webhook", "url": f"{sandbox.url}/{name}"} for name in ("crm", "mail")}
    )
    project.audience("vips", people(("u1", 1)), {"key": "user_id", "sync": BOTH, "tags": ["nightly"]})
    project.audience("fans", people(("u1", 1), ("u2", 2)), {"key": "user_id", "sync": [{"to": "crm"}]})
    return project


def names_in(document: Any) -> set[str]:
    """The syncs that a command's JSON is about."""
    rows = document if isinstance(document, list) else [document]
    found: set[str] = set()
    for row in rows:
        if "syncs" in row:
            found |= {each["sync"] for each in row["syncs"]}
        elif "delivery" in row:
            found |= {each["sync"] for each in row["delivery"]}
        else:
            found.add(row["sync"])
    return found


VERBS: dict[str, tuple[str, ...]] = {
    "sync": ("sync",),
    "sync --dry-run": ("sync", "--dry-run"),
    "plan": ("plan",),
    "retry": ("retry",),
    "retire": ("retire", "--dry-run"),
    "state show": ("state", "show"),
    "state adopt": ("state", "adopt"),
    "status": ("status",),
    "history": ("history",),
    "list": ("list",),
    "why": ("why", "u1"),
}
CHOICES: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "a name": (("vips",), {"vips.crm", "vips.mail"}),
    "the word audience": (("audience", "vips"), {"vips.crm", "vips.mail"}),
    "a name and --to": (("vips", "--to", "mail"), {"vips.mail"}),
    "a sync": (("vips.mail",), {"vips.mail"}),
    "the word and a sync": (("audience", "vips.mail"), {"vips.mail"}),
    "--select": (("--select", "tag:nightly"), {"vips.crm", "vips.mail"}),
    "--select and --to": (("--select", "vips fans", "--to", "crm"), {"vips.crm", "fans.crm"}),
    "--exclude": (("--exclude", "vips"), {"fans.crm"}),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_every_verb_takes_the_same_names_and_selections(
    shop: ProjectFolder, cli: Cli, verb: tuple[str, ...]
) -> None:
    assert cli(shop, "sync", "--all").returncode == 0
    found = {}
    for name, (words, _) in CHOICES.items():
        done = cli(shop, *verb, *words, "-o", "json")
        assert done.returncode == 0, (name, done.stderr)
        found[name] = names_in(json.loads(done.stdout))
    assert found == {name: expected for name, (_, expected) in CHOICES.items()}


@pytest.mark.parametrize(
    "verb", [("rejections",), ("reconcile",), ("validate",), ("exposures",)], ids=" ".join
)
@pytest.mark.parametrize("words", [words for words, _ in CHOICES.values()], ids=CHOICES.keys())
def test_the_other_verbs_parse_them_too(
    shop: ProjectFolder, cli: Cli, verb: tuple[str, ...], words: tuple[str, ...]
) -> None:
    more = ("--owner", "Data") if verb == ("exposures",) else ()
    assert cli(shop, "sync", "--all", "-q").returncode == 0
    done = cli(shop, *verb, *words, *more, "-o", "json")
    assert done.returncode == 0, done.stderr
    if verb == ("exposures",):
        expected = next(syncs for each, syncs in CHOICES.values() if each == words)
        added = set(json.loads(done.stdout)["added"])
        assert added == {f"revetl_{sync.replace('.', '_to_')}" for sync in expected}


def test_audience_commands_take_them_too(shop: ProjectFolder, cli: Cli) -> None:
    for words in (("vips", "fans"), ("audience", "vips", "fans"), ("--all",), ("--select", "vips fans")):
        done = cli(shop, "audience", "overlap", *words, "-o", "json")
        (pair,) = json.loads(done.stdout)["pairs"]
        assert ({pair["first"], pair["second"]}, pair["both"]) == ({"vips", "fans"}, 1)


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown audience": (("vip",), "Did you mean 'vips'? There are: fans, vips."),
    "an unknown sync": (("vips.mial",), "vips has no sync to 'mial'. Did you mean 'mail'?"),
    "an unknown destination": (("vips", "--to", "mial"), "vips has no sync to 'mial'. Did you mean 'mail'?"),
    "a sync and another destination": (
        ("vips.mail", "--to", "crm"),
        "--to crm: vips.mail is the sync to 'mail'. Leave --to out.",
    ),
    "two names": (("vips", "fans"), "'vips fans' is more than one name."),
    "the word alone": (("audience",), "Name an audience. Write: audience NAME."),
    "a name and a selection": (("vips", "--select", "fans"), "Use only one of NAME, a selection"),
    "two kinds of selection": (
        ("--select", "vips", "--selector", "nightly"),
        "--selector cannot be combined with --select or --exclude.",
    ),
    "--state for nothing": (("vips", "--state", "target"), "--state is only used by state:"),
    "a selection of nothing": (("--select", "tag:x"), "--select tag:x: no audience matches."),
}


@pytest.mark.parametrize(
    "verb", [*VERBS.values(), ("rejections",), ("reconcile",), ("validate",)], ids=" ".join
)
def test_every_verb_refuses_the_same(shop: ProjectFolder, cli: Cli, verb: tuple[str, ...]) -> None:
    found = {}
    for name, (words, sentence) in WRONG.items():
        done = cli(shop, *verb, *words)
        found[name] = (done.returncode, sentence in done.stderr, "Traceback" in done.stderr)
    assert found == dict.fromkeys(WRONG, (2, True, False))


def test_a_sync_that_the_project_no_longer_has_is_found_by_its_name(shop: ProjectFolder, cli: Cli) -> None:
    assert cli(shop, "sync", "--all").returncode == 0
    shop.audience("vips", people(("u1", 1)), {"key": "user_id", "sync": [{"to": "crm"}]})
    for verb in (("history",), ("status",), ("retire", "--dry-run")):
        rows = json.loads(cli(shop, *verb, "vips.mail", "-o", "json").stdout)
        assert names_in(rows) == {"vips.mail"}


def commands(group: click.Group, *above: str) -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= commands(command, *above, name)
        found[(*above, name)] = command
    return found


COMMANDS = commands(cli)


def test_the_help_is_one_line_per_command_at_80_columns(cli: Cli, tmp_path: Path) -> None:
    lines = cli(tmp_path, "--help", COLUMNS="80").stdout.splitlines()
    listed = {words[0]: line for line in lines if line.startswith("  ") and (words := line.split())}
    for heading, group in GROUPS.items():
        assert f"{heading}:" in lines
        for name, (_, short_help) in group.items():
            assert listed[name].endswith(short_help)
            assert len(listed[name]) <= 80


@pytest.mark.parametrize("command", COMMANDS.values(), ids=[" ".join(name) for name in COMMANDS])
def test_a_command_and_each_of_its_options_have_a_short_help(command: click.Command) -> None:
    assert not command.get_short_help_str(200).endswith("...")
    for option in command.params:
        if isinstance(option, click.Option):
            text = (option.help or "").strip()
            assert text.endswith(".") or option.show_default, (option.name, text)
            assert len(text) <= 100, (option.name, text)


@pytest.mark.parametrize("group", [name for name, each in COMMANDS.items() if isinstance(each, click.Group)])
def test_a_groups_help_is_one_line_per_command_at_80_columns(
    cli: Cli, tmp_path: Path, group: tuple[str, ...]
) -> None:
    lines = cli(tmp_path, *group, "--help", COLUMNS="80").stdout.splitlines()
    rows = lines[lines.index("Commands:") + 1 :]
    assert [row.split()[0] for row in rows] == [name[-1] for name in COMMANDS if name[:-1] == group]
    assert not any(row.endswith("...") for row in rows)
