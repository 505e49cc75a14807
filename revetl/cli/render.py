"""Plans and runs as a person reads them: text, and Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

from revetl.observability.text import counted

if TYPE_CHECKING:
    from revetl.sync.plan.plan import IdentifierPreview, Plan, Request, Shaped
    from revetl.sync.state.run_log import Run

_DONE = {"add": "added", "update": "updated", "remove": "removed"}
CAUSES = {
    "claimed": "claimed by another audience",
    "held_out": "held out",
    "other_event": "of another event",
    "over_limit": "over the limit",
    "rekeyed": "under another identifier now",
    "resent": "sent anew",
    "unknown": "sent before without an answer",
}


def run_line(run: Run) -> str:
    """One line about a run."""
    counts = [(run.delivered.get(name, 0), word) for name, word in _DONE.items() if run.planned.get(name)]
    rejected, aborted = sum(run.rejected.values()), sum(run.aborted.values())
    more = [(rejected, "rejected"), (run.unsent - aborted, "without an answer"), (aborted, "not sent")]
    parts = [f"{count:,} {word}" for count, word in [*counts, *(each for each in more if each[0])]]
    nothing = "nothing changed" if run.status == "success" else "nothing was sent"
    return f"{run.sync}: {run.status}: {', '.join(parts) or nothing} ({run.seconds:.1f} s)"


def numbered(counts: Mapping[str, int]) -> str:
    """Numbers by name, in words."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def plan_text(plan: Plan) -> Iterator[str]:
    """A plan, line by line."""
    yield (
        f"{plan.sync} ({plan.mode}): add {plan.add:,}, update {plan.update:,}, remove {plan.remove:,}; "
        f"{plan.audience_rows:,} in the audience, {plan.held_rows:,} held"
    )
    for note in _notes(plan, identifiers=True):
        yield f"  {note}"
    if plan.preview is None:
        return
    for request in plan.preview.requests:
        yield from _request(request)


def _notes(plan: Plan, *, identifiers: bool = False) -> Iterator[str]:
    """What to know of a plan; `identifiers` come with examples, which are people's data."""
    for operation, by_cause in plan.causes.items():
        named = ", ".join(f"{count:,} {CAUSES.get(cause, cause)}" for cause, count in by_cause.items())
        yield f"{operation}: {named}{_fields(plan) if operation == 'update' else ''}"
    if plan.left_out:
        named = ", ".join(f"{count:,} {CAUSES.get(cause, cause)}" for cause, count in plan.left_out.items())
        yield f"left out: {named}"
    if plan.new_fields or plan.old_fields:
        names = [f"+{name}" for name in plan.new_fields] + [f"-{name}" for name in plan.old_fields]
        yield f"the mapping has changed ({', '.join(names)}); only whom it touches is sent again"
    yield from plan.notes
    if plan.kept:
        yield f"{plan.kept:,} who left are not removed: another member has their identifier"
    if plan.rejected:
        yield f"{plan.rejected:,} wait, rejected before and unchanged since (revetl retry sends them)"
    if plan.preview is not None and plan.changes:
        preview = plan.preview
        minutes = "" if preview.minutes is None else f", {_duration(preview.minutes)} at the rate limit"
        charge = f", about {preview.charge:,} {preview.charged_in}" if preview.charge else ""
        yield f"cost: {counted(preview.request_count, 'request')}{minutes}{charge}"
    if plan.preview is not None and plan.audience_rows:
        yield f"identifiers: {plan.preview.share:.1%} of the audience can be identified"
        for each in plan.preview.identifiers if identifiers else ():
            yield from _identifier(each)
    if plan.preview is not None and plan.preview.shaped is not None:
        yield from _shaped(plan.preview.shaped)
    if plan.invalid:
        yield f"invalid identifiers, not sent: {numbered(plan.invalid)}"
    for stop in plan.stops:
        yield f"guard {stop.guard} would stop it: {stop.message}"
    if not plan.stops:
        yield "guards: none would stop it"


def _shaped(found: Shaped) -> Iterator[str]:
    """What would be rejected, and of which records that is known."""
    of = f" of the first {found.checked:,} of {found.of:,}" if found.is_sample else f" of {found.of:,}"
    count = sum(found.rejected.values())
    if not count:
        # What the destination itself rejects, only a run can tell.
        if found.is_sample:
            yield f"rejections before sending: none{of}; the others were not checked"
        return
    yield f"rejections before sending: {count:,}{of}"
    yield from (f"  {number:,}: {reason}" for reason, number in found.rejected.items())


def _fields(plan: Plan) -> str:
    if plan.preview is None or not plan.preview.changed_fields:
        return ""
    named = ", ".join(f"{name} {count:,}" for name, count in plan.preview.changed_fields.items())
    return f" (fields: {named})"


def _duration(minutes: float) -> str:
    if minutes < 1:
        return f"{minutes * 60:.1f} s"
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _identifier(each: IdentifierPreview) -> Iterator[str]:
    invalid = f" ({each.invalid:,} invalid)" if each.invalid else ""
    if each.rule is None:
        yield f"  {each.name}: {each.share:.1%}{invalid}"
        return
    yield f"  {each.name}: {each.share:.1%}{invalid}, {each.rule}"
    for raw, normalised, sent in each.examples:
        yield f"    {raw!r} → {normalised!r} → {sent}"


def _request(request: Request) -> Iterator[str]:
    yield f"\n  {request.operation}: {request.method} {request.url}"
    yield from (f"    {name}: {value}" for name, value in request.headers.items())
    yield from (f"    {line}" for line in _body(request).splitlines())


def _body(request: Request) -> str:
    body = request.body
    return body if isinstance(body, str) else orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()


def plans_markdown(plans: Sequence[Plan], *, compared_with: str | None = None) -> Iterator[str]:
    """Plans as a pull request's comment. It shows counts and no person's data."""
    against = f", against what `{compared_with}` has delivered" if compared_with else ""
    yield f"### What would be sent{against}\n"
    yield "| sync | mode | add | update | remove | audience | held | requests | guards |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|---|"
    for plan in plans:
        requests = f"{plan.preview.request_count:,}" if plan.preview else ""
        if plan.preview and plan.preview.minutes is not None and plan.changes:
            requests += f" ({_duration(plan.preview.minutes)})"
        guards = ", ".join(f"**{stop.guard}**" for stop in plan.stops) or "pass"
        yield (
            f"| {plan.sync} | {plan.mode} | {plan.add:,} | {plan.update:,} | {plan.remove:,} | "
            f"{plan.audience_rows:,} | {plan.held_rows:,} | {requests} | {guards} |"
        )
    if not plans:
        yield "| nothing is selected | | | | | | | | |"
    for plan in plans:
        if notes := list(_notes(plan)):
            yield f"\n<details><summary>{plan.sync}</summary>\n"
            yield from (f"- {_escaped(note)}" for note in notes)
            yield "\n</details>"


def _escaped(text: str) -> str:
    for mark in "\\`*_<>|[]":
        text = text.replace(mark, f"\\{mark}")
    return text
