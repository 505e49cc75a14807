"""Files of a project that are compiled to a dbt macro, of which the package's SQL is made.

dbt looks for `default__NAME` in the root project before it looks in the package, so the macro that is written
in the project stands in the place of the package's own, which is empty.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from revetl.config.base import read_yaml
from revetl.errors import UsageError


class MacroFile(ABC):
    """A file of a project, and the macro file made of it."""

    source_name: ClassVar[str]
    """What the file is called."""

    macro_name: ClassVar[str]
    """What the macro is called."""

    def __init__(self, root: Path) -> None:
        self.source = root / self.source_name
        project = read_yaml(root / "dbt_project.yml", unique=False) or {}
        folders = project.get("macro-paths") or ["macros"]
        self.shown = Path(folders[0]) / f"{self.macro_name}.sql"
        self.path = root / self.shown

    @property
    @abstractmethod
    def text(self) -> str:
        """What the macro file has to say."""

    @property
    def is_current(self) -> bool:
        """Whether the macro file says it."""
        return self.path.is_file() and self.path.read_text(encoding="utf-8") == self.text

    @property
    def is_old(self) -> str:
        """The sentence for a macro file that does not."""
        return f"{self.shown} is not as {self.source_name} is. Run `revetl protocols compile`."

    def write(self) -> bool:
        """Write the macro file where it has to change; gives whether it had to. Raises UsageError where there
        is another file in its place."""
        if self.is_current:
            return False
        own = f"default__{self.macro_name}()"
        if self.path.is_file() and own not in self.path.read_text(encoding="utf-8"):
            raise UsageError(
                f"{self.shown}: is there and was not written by revetl. Give it another name, for the macro "
                f"of {self.source_name} is to be there."
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text, encoding="utf-8")
        return True


class Template(str):
    """A text that dbt renders when it reads the macro, for the target it builds; `valid` is what it may come
    to."""

    valid: tuple[str, ...]

    def __new__(cls, text: str, valid: tuple[str, ...]) -> Template:
        made = super().__new__(cls, text)
        made.valid = valid
        return made


def macro_of(name: str, source: str, value: Any) -> str:
    """The text of a macro file that returns a value."""
    templates: dict[str, str] = {}
    literal = _literal(value, 1, templates)
    set_before = "".join(
        f"    {{% set {variable} %}}{text}{{% endset -%}}\n" for text, variable in templates.items()
    )
    return (
        f"{{# Written by `revetl protocols compile` from {source}: change that, and run it again. #}}\n"
        f"{{% macro default__{name}() -%}}\n"
        f"{set_before}"
        f"    {{{{ return({literal}) }}}}\n"
        "{%- endmacro %}\n"
    )


def _literal(value: Any, depth: int, templates: dict[str, str]) -> str:
    """A value as Jinja writes it; what holds other things is a line each, the innermost ones on one line.
    `templates` is added the templates that have to be rendered before, each with its variable."""
    if isinstance(value, Template):
        variable = templates.setdefault(str(value), f"action_{len(templates) + 1}")
        valid = ", ".join(map(_string, value.valid))
        return f"revetl.plan_action({variable}, {_string(value)}, [{valid}])"
    if isinstance(value, str):
        return _string(value)
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    is_mapping = isinstance(value, dict)
    ends = "{}" if is_mapping else "[]"
    if is_mapping:
        parts = [f"{_string(key)}: {_literal(each, depth + 1, templates)}" for key, each in value.items()]
    else:
        parts = [_literal(each, depth + 1, templates) for each in value]
    if not any(isinstance(each, dict) for each in _inside(value)):
        return f"{ends[0]}{', '.join(parts)}{ends[1]}"
    indent = "    " * (depth + 1)
    return f"{ends[0]}\n{indent}" + f",\n{indent}".join(parts) + f"\n{'    ' * depth}{ends[1]}"


def _inside(value: Any) -> Iterator[Any]:
    for each in value.values() if isinstance(value, dict) else value:
        yield each
        if isinstance(each, dict | list):
            yield from _inside(each)


def _string(text: str) -> str:
    """A text in quotes. Braces are escaped, for dbt looks for `{%` and `}}` before it looks for quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + escaped.replace("{", "\\x7b").replace("}", "\\x7d") + "'"
