"""What an import says when it cannot translate something: one sentence with the file and the line."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from revetl.errors import UsageError


@dataclass(frozen=True)
class Source:
    """SQL that somebody wrote: the file's name, and the dialect it is read in."""

    name: str
    dialect: str

    def refused(self, node: exp.Expr | None, sentence: str) -> UsageError:
        """The error to raise: a sentence with the line of the node."""
        return UsageError(f"{self.name}, line {line_of(node)}: {sentence}")


def line_of(node: exp.Expr | None) -> int:
    """The line that a node, or what is in it, or the nearest thing around it, was read from."""
    while node is not None:
        lines = [each.meta["line"] for each in node.walk() if each.meta.get("line")]
        if lines:
            return int(min(lines))
        node = node.parent
    return 1
