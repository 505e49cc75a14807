"""Files of a project that are compiled to dbt macros, which the package's SQL is generated from.

dbt looks up `default__NAME` in the root project before the package, so the project's macro overrides the
package's own, which is empty.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from revetl.config.base import read_yaml
from revetl.errors import UsageError


class MacroFile(ABC):
    """A file of a project, and its compiled macro file."""

    source_name: ClassVar[str]
    """The name of the source file."""

    macro_name: ClassVar[str]
    """The name of the macro."""

    def __init__(self, root: Path) -> None:
        self.source = root / self.source_name
        project = read_yaml(root / "dbt_project.yml", unique=False) or {}
        folders = project.get("macro-paths") or ["macros"]
        self.shown = Path(folders[0]) / f"{self.macro_name}.sql"
        self.path = root / self.shown

    @property
    @abstractmethod
    def text(self) -> str:
        """The expected content of the macro file."""

    @property
    def is_current(self) -> bool:
        """Whether the macro file is up to date."""
        return self.path.is_file() and self.path.read_text(encoding="utf-8") == self.text

    @property
    def is_old(self) -> str:
        """The error for a macro file that is out of date."""
        return f"{self.shown} is out of date with {self.source_name}. Run `revetl protocols compile`."

    def write(self) -> bool:
        """Write the macro file if it is out of date. Returns whether it was written. Raises UsageError if the
        file exists and wasn't written by revetl."""
        if self.is_current:
            return False
        own = f"default__{self.macro_name}()"
        if self.path.is_file() and own not in self.path.read_text(encoding="utf-8"):
            raise UsageError(
                f"{self.shown}: exists and was not written by revetl. Rename it; revetl compiles "
                f"{self.source_name} to this file."
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text, encoding="utf-8")
        return True


class Template(str):
    """A text that dbt renders for its target when it reads the macro; `valid` lists the allowed results."""

    valid: tuple[str, ...]

    def __new__(cls, text: str, valid: tuple[str, ...]) -> Template:
        made = super().__new__(cls, text)
        made.valid = valid
        return made


def macro_of(name: str, source: str, value: Any) -> str:
    """Return the text of a macro file that returns a value."""
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
    """Format a value as a Jinja literal, with innermost collections on one line. Templates to render first
    are added to `templates`, each with its variable."""
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
    """Quote a text. Braces are escaped, because dbt looks for `{%` and `}}` even inside quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "'" + escaped.replace("{", "\\x7b").replace("}", "\\x7d") + "'"
