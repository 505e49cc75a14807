"""Parameters that stand for one class of cases each: the fast suite has the first, the others come later."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first_fast(
    values: Iterable[Any], fast: int = 1, rest: pytest.MarkDecorator = pytest.mark.slow
) -> list[Any]:
    """Parameters, of which all but the first `fast` have the mark `rest`. A tuple is several arguments."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=() if at < fast else rest)
        for at, value in enumerate(values)
    ]


def only_fast(values: Iterable[Any], *fast: Any, rest: pytest.MarkDecorator = pytest.mark.slow) -> list[Any]:
    """Parameters of one argument, of which all but those in `fast` have the mark `rest`."""
    return [pytest.param(value, marks=() if value in fast else rest) for value in values]
