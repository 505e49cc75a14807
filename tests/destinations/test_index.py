"""docs/destinations/index.md: what connectors say of themselves. REVETL_WRITE_GOLDEN=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from revetl.destinations import TYPES, destination_class
from revetl.destinations.base.destination import Destination
from revetl.destinations.base.spec import IdentifierChoice

HERE = Path(__file__).parent
INDEX = HERE.parents[1] / "docs" / "destinations" / "index.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
HEAD = (
    "| destination | modes | records a request | requests | known by | hashed | tested by |\n"
    "|---|---|---|---|---|---|---|\n"
)


ROUND_TRIPS = {
    "file": "round trip on a disk, S3 (moto's) and SFTP",
    "sql": "round trip in DuckDB, PostgreSQL, Snowflake (fakesnow) and Spark",
}
"""Of what is no web's, and is not played by the sandbox."""


def _row(kind: str) -> str:
    made = destination_class(kind, kind)
    cells = [
        f"[{kind}]({kind}.md)",
        ", ".join(made.modes()),
        f"{made.batch.records:,}",
        "as it answers" if made.rate is None else f"{made.rate.requests:,g} in {made.rate.per_seconds:g} s",
        ", ".join(dict.fromkeys(_called(each) for each in made.identifier_choices())),
        ", ".join(each.name for each in made.identifiers if each.hashed) or "no",
        _tested(kind, made),
    ]
    return "| " + " | ".join(cells) + " |\n"


def _called(choice: IdentifierChoice) -> str:
    return choice.identifier.name or f"`{choice.named_by}`"


def _tested(kind: str, made: type[Destination]) -> str:
    cases = orjson.loads((HERE / "cases" / f"{kind}.json").read_bytes())["cases"]
    ways = [f"{len(cases)} cases"]
    sandbox = HERE / "sandbox" / f"{kind}.json"
    if kind in ROUND_TRIPS:
        ways.append(ROUND_TRIPS[kind])
    elif sandbox.exists():
        triggers = orjson.loads(sandbox.read_bytes()).get("triggers")
        ways.append("triggered in the sandbox" if triggers else "round trip in the sandbox")
    if (HERE / "reference_clients" / f"test_{kind}.py").exists():
        ways.append("its vendor's client")
    return ", ".join(ways)


def test_the_index_is_what_the_connectors_say() -> None:
    table = BEGIN + HEAD + "".join(_row(kind) for kind in sorted(TYPES)) + END
    text = INDEX.read_text(encoding="utf-8")
    start, end = text.index(BEGIN), text.index(END) + len(END)
    if os.environ.get("REVETL_WRITE_GOLDEN"):
        INDEX.write_text(text[:start] + table + text[end:], encoding="utf-8")
        return
    assert text[start:end] == table
