"""A page of the docs as a session: the files it writes, the commands it runs, and what they print.

In a page, a block with a title (```` ```sql title="models/x.sql" ````) is a file of the reader's project, and
a `console` block is commands (after `$ `) with what they print. In that, a line `...` stands for any lines,
and `...` within a line for any text. A `text` block is neither, and anything else is an error: no snippet is
skipped by mistake.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?$')


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it is, its text, and the line it begins at."""

    language: str
    title: str | None
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command of a page, and what the page says that it prints."""

    line: int
    command: str
    printed: str

    def matches(self, output: str) -> bool:
        """Whether `output` is what the page says."""
        pattern = "".join(
            r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*?") + r" *\n"
            for line in self.printed.splitlines()
        )
        ended = output if output.endswith("\n") or not output else f"{output}\n"
        return re.fullmatch(pattern, ended) is not None


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order. Raises AssertionError for one that is none of the three."""
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if not line.startswith("```"):
            continue
        opened = _FENCE.match(line)
        assert opened is not None, f"{page.name}:{number}: '{line}' names no language"
        text = []
        for _, inner in lines:
            if inner == "```":
                break
            text.append(inner)
        block = Block(opened["language"], opened["title"], "\n".join(text) + "\n", number)
        known = block.title is not None or block.language in {"console", "text"}
        assert known, f"{page.name}:{number}: a {block.language} block without a title is never run"
        yield block


def commands(block: Block) -> Iterator[Command]:
    """The commands of a `console` block, each with what it prints."""
    begun: tuple[int, str] | None = None
    printed: list[str] = []
    for number, line in enumerate(block.text.splitlines(), start=block.line + 1):
        if line.startswith("$ "):
            if begun is not None:
                yield Command(*begun, "\n".join(printed))
            begun, printed = (number, line.removeprefix("$ ")), []
        else:
            assert begun is not None, f"line {number}: nothing has been run that prints this"
            printed.append(line)
    if begun is not None:
        yield Command(*begun, "\n".join(printed))


def follow(page: Path, folder: Path, environment: Mapping[str, str]) -> int:
    """Do what a page says, beginning in `folder` (a `cd` lasts), and give how many commands were run. Raises
    AssertionError for the first that fails, or prints something else than the page says."""
    count = 0
    where = folder / ".folder"
    where.write_text(str(folder))
    for block in blocks(page):
        if block.title is not None:
            file = Path(where.read_text().strip()) / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
            continue
        for command in commands(block) if block.language == "console" else ():
            count += 1
            _run(command, page, where, environment)
    return count


def _run(command: Command, page: Path, where: Path, environment: Mapping[str, str]) -> None:
    """Run a command in the folder that the file `where` names, and leave there where it ends."""
    leaving = f"\nstatus=$?; pwd > {shlex.quote(str(where))}; exit $status"
    done = subprocess.run(
        ["bash", "-c", command.command + leaving],
        cwd=where.read_text().strip(),
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    place = f"{page.name}:{command.line}: $ {command.command}"
    assert done.returncode == 0, f"{place}\nexits {done.returncode}:\n{done.stdout[-4000:]}"
    if command.printed:
        assert command.matches(done.stdout), f"{place}\nprints\n{done.stdout}\nand not\n{command.printed}"
