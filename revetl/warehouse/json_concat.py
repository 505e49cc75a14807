"""Build JSON by concatenation, for engines whose JSON functions don't format values as needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from sqlglot import exp

from revetl.warehouse.base import NONFINITE
from revetl.warehouse.engine import Engine, call

# The decimal digits that a 64-bit float, and therefore a JSON reader, preserves.
_EXACT_DIGITS = 15
_LARGEST = 2**63 - 1
_MOST_DIGITS = 38
_FAMILIES = {
    "whole": "bigint int8 int64 integer int int4 smallint int2 tinyint byteint",
    "decimal": "decimal numeric number bignumeric bigdecimal fixed money",
    "float": "double float real float4 float8 float64",
    "boolean": "boolean bool bit",
    "moment": "timestamp timestamptz timestamp_ntz timestamp_ltz timestamp_tz datetime datetime2 "
    "datetimeoffset",
}
_FAMILY_OF = {name: family for family, names in _FAMILIES.items() for name in names.split()}
_TYPE = re.compile(r"(\w+)[^(]*(?:\((\d+)(?:,\s*(\d+))?\))?")


@dataclass(frozen=True)
class TypeKind:
    """The kind of a type: `whole`, `decimal`, `float`, `boolean`, `moment` or `other`; for decimals, with
    precision (`digits`) and scale."""

    family: str
    digits: int = _MOST_DIGITS
    scale: int = 0


def kind_of(name: str) -> TypeKind:
    """Return the kind of a type, by any engine's name. A decimal without a precision has the maximum."""
    found = _TYPE.fullmatch(name.strip().lower())
    family = _FAMILY_OF.get(found[1], "other") if found else "other"
    if found is None or family != "decimal":
        return TypeKind(family)
    if found[2] is None:
        return TypeKind(family, scale=_MOST_DIGITS // 2)
    return TypeKind(family, int(found[2]), int(found[3] or 0))


class JsonConcat(Engine):
    """An engine that formats each kind of value as JSON."""

    nonfinite: ClassVar[Mapping[str, str]] = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
    """The engine's text of non-finite floats, to revetl's."""

    def json_value(self, value: exp.Expr, kind: str) -> exp.Expr:
        found = kind_of(kind)
        if found.family == "whole":
            made = text_of(value)
        elif found.family == "decimal":
            made = self._decimal(value, found)
        elif found.family == "float":
            made = self._float(value)
        elif found.family == "boolean":
            words = [(value.copy(), "true"), (exp.not_(exp.paren(value.copy())), "false")]
            made = exp.Case(ifs=[exp.If(this=test, true=exp.convert(word)) for test, word in words])
        elif found.family == "moment":
            made = self.quoted(self.moment(value, kind.lower()))
        else:
            made = self.json_other(value, kind.lower())
        return exp.func("coalesce", made, exp.convert("null"))

    def quoted(self, text: exp.Expr) -> exp.Expr:
        """Quote a text that needs no escaping."""
        return self.joined([exp.convert('"'), text, exp.convert('"')])

    def moment(self, value: exp.Expr, kind: str) -> exp.Expr:
        """Format a timestamp as ISO 8601 in UTC."""
        raise NotImplementedError  # each engine's own

    def json_float(self, value: exp.Expr) -> exp.Expr:
        """Format a finite float as JSON."""
        return text_of(value)

    def json_other(self, value: exp.Expr, kind: str) -> exp.Expr:
        """Format a text, date, document or any other value as JSON."""
        raise NotImplementedError  # each engine's own

    def trimmed(self, text: exp.Expr) -> exp.Expr:
        """Remove trailing zeros and a trailing point from a decimal's text. A text without a point, possible
        if the scale is unknown, keeps its zeros."""
        return if_pointed(text, call("rtrim", call("rtrim", text.copy(), "0"), "."))

    def exact(self, scale: int) -> exp.DataType:
        """Return the widest decimal type with a scale."""
        return exp.DataType.build(f"decimal({_MOST_DIGITS}, {scale})")

    def _decimal(self, value: exp.Expr, kind: TypeKind) -> exp.Expr:
        """Format a decimal as a number if JSON readers preserve it, else as text; independent of scale."""
        text = self.trimmed(text_of(value)) if kind.scale else text_of(value)
        if kind.digits <= _EXACT_DIGITS:
            return text
        if kind.scale == 0:
            low, high = exp.convert(-_LARGEST - 1), exp.convert(_LARGEST)
            holds: exp.Expr = exp.Between(this=value.copy(), low=low, high=high)
        else:
            back = exp.cast(exp.cast(value.copy(), "double"), self.exact(kind.scale))
            holds = exp.EQ(this=back, expression=value.copy())
        return exp.Case(ifs=[exp.If(this=holds, true=text)], default=self.quoted(text.copy()))

    def _float(self, value: exp.Expr) -> exp.Expr:
        if not self.nonfinite:
            return self.json_float(value)
        ifs = [
            exp.If(this=exp.convert(said), true=exp.convert(f'{{"{NONFINITE}":"{word}"}}'))
            for said, word in self.nonfinite.items()
        ]
        return exp.Case(this=text_of(value), ifs=ifs, default=self.json_float(value.copy()))


def if_pointed(text: exp.Expr, trimmed: exp.Expr) -> exp.Expr:
    """Return `trimmed` if the text contains a point, else the text."""
    has_point = exp.Like(this=text.copy(), expression=exp.convert("%.%"))
    return exp.Case(ifs=[exp.If(this=has_point, true=trimmed)], default=text.copy())


def text_of(value: exp.Expr) -> exp.Expr:
    """Cast a value to text."""
    return exp.cast(value.copy(), "varchar")
