"""`revetl why`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from revetl.cli.common import (
    Output,
    Selection,
    open_project,
    output_options,
    project_options,
    selection_options,
)
from revetl.observability.text import counted

if TYPE_CHECKING:
    from rich.tree import Tree

    from revetl.inspect.explain import Explanation
    from revetl.inspect.explain.answer import AudienceOfPerson, Condition, SyncVerdict, TraceStep


@click.command("why")
@click.argument("person", metavar="PERSON")
@selection_options(needed=False)
@output_options
@project_options
def why_command(
    person: str, chosen: Selection, output: str, quiet: bool, no_color: bool, **options: Any
) -> None:
    """Explain why PERSON is or is not in an audience, and what its syncs do about it.

    PERSON is a value of the audience's key, or any identifier in the identity graph. NAME is an audience, or
    audience.destination; without it, every audience is listed, with the destinations that hold PERSON.
    Changes nothing. With -o json, NAME is an object, and a selection is a list.
    """
    out = Output(output, quiet, no_color)
    project = open_project(out, **options)
    if chosen == Selection():
        _list_audiences(out, project.audiences_of(person))
        return
    whys = [
        project.why(person, audience.name, to=to)
        for audience, to in project.audiences_to(chosen.names, to=chosen.to, **chosen.by_dbt)
    ]
    if out.json:
        out.print_json(whys[0] if chosen.name is not None else whys)
        return
    console = out.console()
    for why in whys:
        for tree in _trees(why):
            console.print(tree)


def _list_audiences(out: Output, found: Sequence[AudienceOfPerson]) -> None:
    """Every audience, with those that the person is in first."""
    if out.json:
        out.print_json(found)
        return
    words = {True: "yes", False: "no", None: "not built"}
    rows: list[tuple[object, ...]] = []
    for each in sorted(found, key=lambda of: (not of.member, not of.held)):
        about = (each.audience, words[each.member], ", ".join(each.keys))
        if not each.held:
            rows.append((*about, "", None))
        for at, held in enumerate(each.held):
            rows.append((*(about if at == 0 else ("", "", "")), held.sync.partition(".")[2], held.since))
    out.print_table(("audience", "member", "key", "held by", "since"), rows)
    out.say("`since` is when the destination last acknowledged them (UTC). Why: revetl why PERSON AUDIENCE")


def _trees(why: Explanation) -> list[Tree]:
    from rich.tree import Tree

    membership = why.membership
    head = Tree(
        _line(
            membership.member, f"{_called(why)} {'is' if membership.member else 'is not'} in {why.audience}"
        )
    )
    for reason in membership.reasons:
        head.add(_text(reason))
    for note in membership.notes:
        head.add(_text(note, "yellow"))
    trees = [head]
    if membership.steps:
        steps = Tree(_text("Steps, from the tables to the audience", "bold"))
        for step in membership.steps:
            _add_step(steps, step)
        trees.append(steps)
    if why.delivery:
        delivery = Tree(_text("Delivery", "bold"))
        for verdict in why.delivery:
            _add_verdict(delivery, verdict, len({each.key for each in why.delivery}) > 1)
        trees.append(delivery)
    return trees


def _called(why: Explanation) -> str:
    person = why.person
    keys = ", ".join(person.keys) or f"no {why.key}"
    if person.keys == (person.asked,):
        return f"{why.key} {keys}"
    return (
        f"{person.asked} ({person.found_by}; {why.key} {keys})" if person.keys else f"{person.asked} ({keys})"
    )


def _add_step(tree: Tree, step: TraceStep) -> None:
    found = "not known" if step.rows is None else "no row" if step.rows == 0 else counted(step.rows, "row")
    reads = f" (of {', '.join(step.reads)})" if step.reads else ""
    present = None if step.rows is None else step.rows > 0
    branch = tree.add(_line(present, f"{step.name}{reads}: {found}"))
    for condition in step.conditions:
        _add_condition(branch, condition)
    for note in step.notes:
        branch.add(_text(note, "yellow"))


def _add_condition(tree: Tree, condition: Condition) -> None:
    from revetl.inspect.explain.membership import shown

    if condition.operator is not None:
        words = "any of these" if condition.operator == "or" else "all of these"
        note = f": {condition.note}" if condition.note else ""
        branch = tree.add(_line(condition.holds, f"{words}{note}"))
        for part in condition.parts:
            _add_condition(branch, part)
        return
    kind = "" if condition.kind in ("where", "join", "except", "intersect") else f"{condition.kind} "
    values = ", ".join(f"{name} = {shown(value)}" for name, value in condition.values.items())
    line = (
        f"{kind}{condition.text}".removeprefix("limit ")
        if condition.kind == "limit"
        else f"{kind}{condition.text}"
    )
    if condition.note:
        line += f": {condition.note}"
    if values:
        line += f"   {values}"
    if condition.rows is not None and condition.rows > 1:
        line += (
            f"   (true of {condition.true_of:,} of {counted(condition.rows, 'row')}; the nearest is shown)"
        )
    tree.add(_line(condition.holds, line))


def _add_verdict(tree: Tree, verdict: SyncVerdict, several: bool) -> None:
    of_key = f" ({verdict.key})" if several and verdict.key else ""
    state = {"delivered": True}.get(verdict.verdict, None if verdict.next_operation else False)
    branch = tree.add(_line(state, f"{verdict.sync}{of_key}: {verdict.sentence}"))
    _add_differences(branch, verdict.differs)
    if verdict.held_since is not None and verdict.verdict != "delivered":
        branch.add(_text(f"held since {_when(verdict.held_since)}, run {verdict.held_by_run}"))
    for note in verdict.notes:
        branch.add(_text(note, "yellow"))
    if verdict.history:
        history = branch.add(_text("last changes"))
        for change in verdict.history:
            cause = f" ({change.cause})" if change.cause else ""
            reason = f": {change.reason}" if change.reason else ""
            what = f"{change.operation}{cause} {change.outcome}{reason}"
            history.add(_text(f"{_when(change.changed_at)}  {what}  run {change.run_id}"))


def _add_differences(tree: Tree, differs: Mapping[str, tuple[Any, Any]]) -> None:
    from revetl.inspect.explain.membership import shown

    for name, (before, after) in differs.items():
        tree.add(_text(f"{name}: {shown(before)} there, {shown(after)} now"))


def _line(state: bool | None, text: str) -> Any:
    """A line with a mark: yes, no, or neither."""
    mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "yellow")}[state]
    from rich.text import Text

    return Text.assemble((mark, style), " ", text)


def _text(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(text, style=style)


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
