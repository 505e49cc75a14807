"""Jinja in SQL that sqlglot writes: a name stands in for it, and is replaced in the text."""

from __future__ import annotations

import re

from sqlglot import exp

_MARK = re.compile(r"\brevetl_jinja_(\d+)\b")


def quoted(text: str) -> str:
    """A text as Jinja writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Jinja:
    """What is to be put into the SQL of one model, written in `dialect`."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self._codes: list[str] = []

    def put(self, code: str) -> exp.Column:
        """An expression that stands for `{{ code }}`."""
        self._codes.append(code)
        return exp.column(f"revetl_jinja_{len(self._codes) - 1}")

    def type(self, name: str) -> exp.DataType:
        """The engine's type for one of the portable names."""
        return exp.DataType.build(self.put(f"revetl.type_of({quoted(name)})").name, udt=True)

    def table(self, code: str) -> exp.Table:
        """A relation that stands for `{{ code }}`."""
        return exp.table_(self.put(code).name)

    def call(self, macro: str, *arguments: exp.Expr | str) -> exp.Column:
        """A call of one of revetl's macros: an expression is given as its SQL, a text as it is."""
        given = [self.code(each) if isinstance(each, exp.Expr) else each for each in arguments]
        return self.put(f"revetl.{macro}({', '.join(given)})")

    def code(self, expression: exp.Expr) -> str:
        """The SQL of an expression as a value in Jinja."""
        text = self.sql(expression)
        parts = []
        at = 0
        for mark in _MARK.finditer(text):
            parts += [quoted(text[at : mark.start()])] if mark.start() > at else []
            parts.append(self._codes[int(mark[1])])
            at = mark.end()
        parts += [quoted(text[at:])] if at < len(text) or not parts else []
        return " ~ ".join(parts)

    def sql(self, expression: exp.Expr, *, pretty: bool = False) -> str:
        """The SQL of an expression in the project's dialect, keywords in lower case; the marks stay. Raises
        sqlglot's UnsupportedError for what the dialect has no words for."""
        import sqlglot

        text = expression.sql(
            self.dialect,
            pretty=pretty,
            indent=4,
            pad=4,
            max_text_width=50,
            normalize_functions="lower",
            unsupported_level=sqlglot.ErrorLevel.RAISE,
        )
        return self._lowered(text)

    def filled(self, text: str) -> str:
        """The text with the Jinja in the place of its marks."""
        return _MARK.sub(lambda mark: f"{{{{ {self._codes[int(mark[1])]} }}}}", text)

    def _lowered(self, text: str) -> str:
        """Everything but quoted names and texts in lower case: a name that is not quoted has no case of its
        own, and those that have are quoted."""
        from sqlglot.dialects.dialect import Dialect
        from sqlglot.tokens import TokenType  # type: ignore[attr-defined]

        kept = {TokenType.IDENTIFIER, TokenType.STRING, TokenType.NATIONAL_STRING, TokenType.RAW_STRING}
        parts = []
        at = 0
        for token in Dialect.get_or_raise(self.dialect).tokenize(text):
            if token.token_type in kept or token.token_type.name.endswith("_STRING"):
                parts += [text[at : token.start].lower(), text[token.start : token.end + 1]]
                at = token.end + 1
        return "".join([*parts, text[at:].lower()])
