"""Errors of SQL that can't be translated: one sentence with the file and line."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from revetl.errors import UsageError


@dataclass(frozen=True)
class SqlSource:
    """Imported SQL: the file's name, and its dialect."""

    name: str
    dialect: str

    def refused(self, node: exp.Expr | None, sentence: str) -> UsageError:
        """Return the error to raise: a sentence with the line of the node."""
        return UsageError(f"{self.name}, line {line_of(node)}: {sentence}")


def line_of(node: exp.Expr | None) -> int:
    """Return the line of a node, of its contents, or of the nearest enclosing node."""
    while node is not None:
        lines = [each.meta["line"] for each in node.walk() if each.meta.get("line")]
        if lines:
            return int(min(lines))
        node = node.parent
    return 1
