"""Renders a model as a ladder of CTEs: its relations, the query's steps, its members."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import indent

from sqlglot import exp

from revetl.importers.segment_sql.jinja import Jinja
from revetl.importers.segment_sql.relations import Catalog, Relation
from revetl.mapping.internal_columns import PERSON

_INDENT = "    "


@dataclass
class Cte:
    """A CTE: its name, including column names if it has them, and its query."""

    name: str
    text: str


@dataclass
class CteLadder:
    """The parts of a model. `person` is the query's column that identifies a person; `profile` are the
    members' columns from revetl_profiles, `extras` those from the query."""

    person: str
    profile: list[str]
    extras: list[str]
    key: str
    is_unique: bool
    chosen: str = "chosen"
    members: str = "members"
    relations: list[Cte] = field(default_factory=list)
    steps: list[Cte] = field(default_factory=list)

    def fill(self, catalog: Catalog, jinja: Jinja, root: exp.Expr) -> None:
        """Render the steps of the query, and the members."""
        with_ = root.args.get("with_")
        if with_ is not None:
            root.set("with_", None)
            for cte in with_.expressions:
                name = jinja.sql(cte.args["alias"])
                self.steps.append(Cte(name, jinja.filled(jinja.sql(cte.this, pretty=True))))
        query = jinja.filled(jinja.sql(root, pretty=True))
        self.steps.append(Cte(self.chosen, query))
        self.steps += self._members(catalog)

    def _members(self, catalog: Catalog) -> list[Cte]:
        given = self.chosen
        rungs = []
        if self.extras and not self.is_unique:
            given = f"{self.chosen}_once"
            columns = ",\n".join(f"{_INDENT}{name}" for name in (self.person, *self.extras))
            rungs.append(Cte(given, f"select distinct\n{columns}\nfrom {self.chosen}"))
        selected = [f"profiles.{name}" for name in self.profile]
        selected += [f"{given}.{name}" for name in self.extras]
        lines = ["select", ",\n".join(f"{_INDENT}{each}" for each in selected)]
        lines.append(f"from {{{{ {catalog.ref('revetl_profiles')} }}}} as profiles")
        is_known = f"profiles.{self.key} is not null"
        if self.extras:
            lines.append(f"inner join {given}\n{_INDENT}on profiles.{PERSON} = {given}.{self.person}")
            lines.append(
                f"where {is_known if self.key in self.profile else f'{given}.{self.key} is not null'}"
            )
        else:
            chosen = f"profiles.{PERSON} in (select {self.person} from {self.chosen})"  # noqa: S608
            lines.append(f"where\n{_INDENT}{is_known}\n{_INDENT}and {chosen}")
        return [*rungs, Cte(self.members, "\n".join(lines))]

    def text(self, comment: str) -> str:
        """Return the text of the model."""
        rungs = [
            f"{rung.name} as (\n\n{indent(rung.text.strip(), _INDENT)}\n\n)"
            for rung in (*self.relations, *self.steps)
        ]
        body = ",\n\n".join(rungs)
        return f"{{# {comment} #}}\nwith {body}\n\nselect * from {self.members}\n"


def of_relation(relation: Relation, catalog: Catalog, jinja: Jinja) -> str:
    """Render the query for the used columns of a relation, with the person of each row if needed."""
    if relation.messages is not None:
        return _of_messages(relation, catalog)
    name = "profiles" if relation.kind == "profiles" else relation.name
    columns = [f"{name}.{column}" for column in relation.used]
    lines = [f"from {{{{ {relation.ref} }}}} as {name}"]
    if relation.kind == "profiles":
        columns = [f"{name}.{PERSON}", *columns] if relation.people or not columns else columns
        if relation.name == "users":
            lines.append(f"where {name}.user_id is not null")
    elif relation.people and relation.identity is not None:
        column, kind = relation.identity
        # A relation of the project may have the same name.
        known = "profile_identifiers" if name != "profile_identifiers" else "revetl_profile_identifiers"
        columns = [f"{known}.{PERSON}", *columns]
        lines.append(
            f"inner join {{{{ {catalog.ref('revetl_profile_identifiers')} }}}} as {known}\n"
            f"{_INDENT}on\n{_INDENT * 2}cast({name}.{column} as {{{{ revetl.type_of('varchar') }}}})"
            f" = {known}.identifier_value\n{_INDENT * 2}and {known}.identifier_type = '{kind}'"
        )
    elif relation.people:
        columns = [f"{name}.{PERSON}", *columns]
    return _select(columns, lines)


def _of_messages(relation: Relation, catalog: Catalog) -> str:
    messages = relation.messages
    assert messages is not None
    columns = [f"{messages.alias}.{column}" for column in relation.used]
    lines = [f"from {{{{ {relation.ref} }}}} as {messages.alias}"]
    tests = []
    if relation.people:
        columns = [f"events.{PERSON}", *columns]
        lines.append(
            f"inner join {{{{ {catalog.ref('revetl_events')} }}}} as events\n"
            f"{_INDENT}on {messages.alias}.message_id = events.message_id"
        )
        tests.append(f"events.source = '{messages.source}'")
    if relation.event is not None:
        tests.append(f"{messages.alias}.event = '{relation.event}'")
    if len(tests) == 1:
        lines.append(f"where {tests[0]}")
    elif tests:
        lines.append(f"where\n{_INDENT}" + f"\n{_INDENT}and ".join(tests))
    return _select(columns or [f"{messages.alias}.message_id"], lines)


def _select(columns: list[str], lines: list[str]) -> str:
    listed = ",\n".join(f"{_INDENT}{column}" for column in columns or ["1 as row_number"])
    return "\n".join(["select", listed, *lines])
