"""`revetl identity`: show, cut, uncut and diff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import Output, dbt_options, open_project, output_options, project_options
from revetl.observability.text import counted

if TYPE_CHECKING:
    from rich.tree import Tree

    from revetl.inspect.identity import CutResult, Profile, ProfilesDiff
    from revetl.inspect.identity.profile import Conflict

SHOWN = 20


@click.group("identity", context_settings={"help_option_names": ["-h", "--help"]})
def identity_command() -> None:
    """Identity resolution: show a profile, split identifiers, compare rules."""


@identity_command.command("show", short_help="Show a profile and its messages.")
@click.argument("value", metavar="VALUE")
@click.option("--type", "kind", metavar="TYPE", help="Search only identifiers of this type.")
@output_options
@project_options
def show_command(
    value: str, kind: str | None, output: str, quiet: bool, no_color: bool, **options: Any
) -> None:
    """Show the profile of VALUE and the messages that built it. Changes nothing.

    VALUE is an identifier's value, TYPE:VALUE, or a canonical id, also one that was merged away.
    """
    from revetl.inspect.identity import show

    out = Output(output, quiet, no_color)
    profile = show(open_project(out, **options).workspace, value, kind)
    if out.json:
        document = asdict(profile)
        for each, conflict in zip(document["conflicts"], profile.conflicts, strict=True):
            each["why"] = conflict.why
        out.print_json(document)
        return
    out.console().print(_tree(profile))


@identity_command.command("cut", short_help="Add a do-not-link pair.")
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@click.option("--reason", metavar="TEXT", help="Reason to record in the seed.")
@output_options
@project_options
def cut_command(
    left: str, right: str, reason: str | None, output: str, quiet: bool, no_color: bool, **options: Any
) -> None:
    """Record in the seed cut_edges that identifiers A and B belong to different people.

    Each is TYPE:VALUE, or a value that only one identifier has. It takes effect with the next dbt build.
    """
    from revetl.inspect.identity import cut

    out = Output(output, quiet, no_color)
    made = cut(open_project(out, **options).workspace, left, right, reason)
    if out.json:
        out.print_json({**asdict(made), "seed": str(made.seed), "next": _next_commands()})
        return
    for line in _cut_lines(made):
        click.echo(line)


@identity_command.command("uncut", short_help="Remove a do-not-link pair.")
@click.argument("left", metavar="A")
@click.argument("right", metavar="B")
@output_options
@dbt_options
def uncut_command(left: str, right: str, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Undo `revetl identity cut`: remove the pair of identifiers A and B from the seed.

    Each is TYPE:VALUE, or a value, as the seed has it. It takes effect with the next dbt build.
    """
    from revetl.inspect.identity import uncut

    out = Output(output, quiet, no_color)
    seed = uncut(open_project(out, **options).workspace, left, right)
    if out.json:
        out.print_json({"seed": str(seed), "next": _next_commands()})
        return
    click.echo(f"{seed}: {left} and {right} may be linked again.")
    build, sync = _next_commands()
    click.echo(f"\nNext:\n  {build}\n  {sync}")


@identity_command.command("diff", short_help="Compare identity rules.")
@click.option(
    "--rules",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="YAML file with the new value of the variable identity.",
)
@output_options
@project_options
def diff_command(rules: Path, output: str, quiet: bool, no_color: bool, **options: Any) -> None:
    """Show how other identity rules would merge and split profiles and change audiences.

    Builds with the new rules in a temporary schema and compares it with the last build.
    """
    from revetl.inspect.identity import diff

    out = Output(output, quiet, no_color)
    found = diff(open_project(out, **options).workspace, rules)
    if out.json:
        out.print_json(found)
        return
    _print_difference(out, found)


def _tree(profile: Profile) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    count = len(profile.identifiers)
    head = (
        f"{profile.canonical_id}   {counted(count, 'identifier')}, "
        f"seen {_when(profile.first_seen_at)} to {_when(profile.last_seen_at)}"
    )
    tree = Tree(Text(head, style="bold"))
    if profile.found_by == "lost canonical id":
        tree.add(Text(f"{profile.asked} was lost in a merge; this is its profile today", style="yellow"))
    branches: list[tuple[str, Sequence[str]]] = [
        (
            "identifiers",
            [
                f"{each.identifier_type}:{each.identifier_value}   "
                f"{_when(each.first_seen_at)} to {_when(each.last_seen_at)}"
                f"{'   (canonical)' if each.is_canonical else ''}"
                for each in profile.identifiers
            ],
        ),
        (
            "edges",
            [
                f"{_pair(each, '—')}   {each.source}, {counted(each.message_count, 'message')}, first "
                f"{_when(each.first_seen_at)} by {each.message_id}"
                for each in profile.edges
            ],
        ),
        (
            "merges",
            [
                f"{_when(each.merged_at)}   {each.loser_id} → {each.survivor_id} by {each.source} "
                f"{each.message_id} ({_pair(each, '—')})"
                for each in profile.merges
            ],
        ),
        ("conflicts", [_conflict(each, profile.canonical_id) for each in profile.conflicts]),
        ("cuts", [f"{_pair(each, '/')}   {_when(each.cut_at)}" for each in profile.cuts]),
    ]
    for name, lines in branches:
        if not lines:
            continue
        branch = tree.add(Text(f"{name} ({len(lines):,})", style="bold"))
        for line in lines[:SHOWN]:
            branch.add(Text(line))
        if len(lines) > SHOWN:
            branch.add(Text(f"… and {len(lines) - SHOWN:,} more", style="yellow"))
    return tree


def _conflict(each: Conflict, canonical_id: str) -> str:
    """Who was left out of the profile, and why."""
    own, other = f"{each.left_type}:{each.left_value}", f"{each.right_type}:{each.right_value}"
    place = each.right_canonical_id
    if each.left_canonical_id != canonical_id:
        own, other, place = other, own, each.left_canonical_id
    how = "an alias of" if each.kind == "alias" else "seen with"
    seen = f"{how} {own} ({counted(each.message_count, 'message')})"
    return f"{other} was left out, though {seen}: {each.why}; it is in {place}"


def _pair(each: Any, between: str) -> str:
    return f"{each.left_type}:{each.left_value} {between} {each.right_type}:{each.right_value}"


def _next_commands() -> list[str]:
    return ["dbt build", "revetl sync --all"]


def _cut_lines(made: CutResult) -> Iterator[str]:
    if not made.is_new:
        yield f"{made.seed} has the cut of {made.left} and {made.right} already. Nothing was changed."
    else:
        yield f"{made.seed}: {made.left} and {made.right} are cut apart."
    if not made.were_one_profile:
        yield "They are in different profiles today; the cut keeps it so."
    if made.is_unread:
        yield (
            "\nThe models do not read this seed yet. Name it in dbt_project.yml:\n"
            f"  vars:\n    revetl:\n      cut_edges: {made.seed_name}"
        )
    yield "\nNext:"
    build, sync = _next_commands()
    yield f"  {build:20}# or no more than it touches: dbt build --select {made.seed_name}+"
    yield f"  {sync:20}# repairs every destination"


def _print_difference(out: Output, found: ProfilesDiff) -> None:
    out.print_table(
        ("", "before", "after"),
        [
            ("profiles", found.profiles_before, found.profiles_after),
            ("identifiers", found.identifiers_before, found.identifiers_after),
        ],
    )
    click.echo(f"\n{counted(found.merged, 'new profile')} made of two old ones or more (merged)")
    click.echo(f"{counted(found.split, 'old profile')} in two new ones or more (split)")
    click.echo(f"{counted(found.identifiers_moved, 'identifier')} with another canonical id")
    click.echo("\nThe largest profiles by the new rules:\n")
    out.print_table(
        ("canonical id", "identifiers", "old profiles"),
        [(each.canonical_id, each.identifiers, each.old_profiles) for each in found.largest],
    )
    if not found.audiences:
        return
    click.echo("\nAudiences:\n")
    out.print_table(
        ("audience", "key", "before", "after", "gained", "lost"),
        [
            (each.audience, each.key, each.members_before, each.members_after, each.gained, each.lost)
            for each in found.audiences
        ],
    )
    for each in found.audiences:
        for word, count, examples in (
            ("gained", each.gained, each.gained_examples),
            ("lost", each.lost, each.lost_examples),
        ):
            if examples:
                more = f" … and {count - len(examples):,} more" if count and count > len(examples) else ""
                click.echo(f"{each.audience} {word}: {', '.join(examples)}{more}")
        if each.gained is None:
            click.echo(f"{each.audience}: not built yet, so there is nothing to compare with")


def _when(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
