"""Maps the tables of imported SQL to the project: messages, messages of one event, people, or a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml
from sqlglot import exp

from revetl.config.base import read_yaml
from revetl.errors import RevetlError, nearest
from revetl.governance.tracking_plan.plan import PLAN_FILE, TrackingPlan, read_plan
from revetl.importers.segment_sql.jinja import quoted
from revetl.importers.segment_sql.names import (
    EVENT,
    IDENTITIES,
    MESSAGES,
    SPEC_EVENTS,
    STAGING,
    Messages,
    snake_case,
)
from revetl.importers.segment_sql.refusal import SqlSource
from revetl.local.paths import dbt_project_dir
from revetl.mapping.internal_columns import PERSON
from revetl.project.workspace import Workspace
from revetl.warehouse.templates import statement, table

PACKAGE = "revetl"
_READ = {"model", "seed", "snapshot", "source"}


@dataclass
class Relation:
    """A table of the SQL: `ref` is Jinja, `columns` are the known columns by their names in the SQL, and
    `used` the columns that the query reads. `identity` is the column of a model, and its identifier type,
    that matches its rows with people."""

    name: str
    ref: str
    kind: str
    columns: Mapping[str, str]
    messages: Messages | None = None
    event: str | None = None
    known_only: bool = False
    identity: tuple[str, str] | None = None
    people: bool = False
    used: list[str] = field(default_factory=list)

    def use(self, column: str) -> str:
        """Mark a column as read by the query."""
        if column == PERSON:
            self.people = True
        elif column not in self.used:
            self.used.append(column)
        return column


class Catalog:
    """The tables that SQL may refer to in a project."""

    def __init__(self, workspace: Workspace, source: SqlSource) -> None:
        self._workspace = workspace
        self._source = source
        self._relations: dict[str, Relation] = {}

    def ref(self, model: str) -> str:
        """Return the Jinja of one of the package's models."""
        return f"ref({quoted(PACKAGE)}, {quoted(model)})"

    @property
    def relations(self) -> Iterable[Relation]:
        """Return the relations found so far, in order."""
        return self._relations.values()

    def find(self, node: exp.Table) -> Relation:
        """Return the relation of a table. Rejects an unknown table, suggesting the nearest name."""
        name = node.name.lower()
        if name not in self._relations:
            self._relations[name] = self._found(name, node)
        return self._relations[name]

    def _found(self, name: str, node: exp.Table) -> Relation:
        plain = name.removeprefix(STAGING)
        if plain in MESSAGES and name in (plain, MESSAGES[plain].model):
            kind = MESSAGES[plain]
            return Relation(plain, self.ref(kind.model), "messages", kind.columns, kind, known_only=True)
        if name in ("users", "revetl_profiles"):
            columns = {each: each for each in self.profile_columns}
            if name == "users":
                columns["id"] = "user_id"
            return Relation(name, self.ref("revetl_profiles"), "profiles", columns, known_only=True)
        if name in self._known_events:
            return self._event(name)
        if (found := self._model(name, node)) is not None:
            return found
        if name in self._landed_events:
            return self._event(name)
        known = {"users", *MESSAGES, *self._known_events, *self._landed_events, *self._models}
        raise self._source.refused(
            node,
            f"table '{name}' not found: it is not one of Segment's tables, a known event, or a model, seed "
            f"or source of the project. {nearest(name, known)}",
        )

    def _event(self, name: str) -> Relation:
        return Relation(
            name, self.ref(EVENT.model), "messages", EVENT.columns, EVENT, event=name, known_only=True
        )

    def _model(self, name: str, node: exp.Table) -> Relation | None:
        found = self._models.get(name, [])
        if len(found) > 1 and node.db:
            named = {str(node.db).lower()}
            of_schema = [
                each for each in found if named & {each.get("source_name"), str(each["schema"]).lower()}
            ]
            found = of_schema or found
        if not found:
            return None
        each = found[-1]
        columns = {column.lower(): column for column in each.get("columns") or {}}
        if each["resource_type"] == "source":
            code = f"source({quoted(each['source_name'])}, {quoted(each['name'])})"
        elif self._package(each) == self._workspace.dbt.name:
            code = f"ref({quoted(each['name'])})"
        else:
            code = f"ref({quoted(self._package(each))}, {quoted(each['name'])})"
        return Relation(name, code, "model", columns)

    def _package(self, node: Mapping[str, Any]) -> str:
        return str(node.get("package_name", self._workspace.dbt.name))

    @cached_property
    def _models(self) -> dict[str, list[Mapping[str, Any]]]:
        """Return dbt's relations by name, the project's own last."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        nodes = [node for node in self._workspace.manifest.graph().values() if node["resource_type"] in _READ]
        for node in sorted(nodes, key=lambda node: self._package(node) == self._workspace.dbt.name):
            found.setdefault(str(node["name"]).lower(), []).append(node)
        return found

    @cached_property
    def plan(self) -> TrackingPlan | None:
        """Return the project's tracking plan, if it has one."""
        path = self._workspace.dbt.root / PLAN_FILE
        return read_plan(path) if path.is_file() else None

    @cached_property
    def _known_events(self) -> set[str]:
        names = [event.name for event in self.plan.events] if self.plan else []
        for traits in (self._variable("order_traits"), self._variable("traits")):
            for trait in _entries(traits):
                named = trait.get("event") or ()
                names += [named] if isinstance(named, str) else list(named)
        return {snake_case(str(name)) for name in [*SPEC_EVENTS, *names]} - set(MESSAGES)

    @cached_property
    def _landed_events(self) -> set[str]:
        """Return the events loaded in the warehouse, if it can be queried."""
        workspace = self._workspace
        relations = workspace.manifest.relations()
        if EVENT.model not in relations:
            return set()
        try:
            warehouse = workspace.warehouse(read_only=True)
        except RevetlError:
            return set()
        try:
            tracks = table(*relations[EVENT.model])
            rows = warehouse.rows(statement("select distinct event from :tracks as t", tracks=tracks))
            return {str(event) for (event,) in rows}
        except RevetlError:
            return set()
        finally:
            warehouse.close()

    @cached_property
    def profile_columns(self) -> list[str]:
        """Return the columns of revetl_profiles, according to the variables."""
        given = self._variable("profile_traits") or []
        entries = [given] if isinstance(given, Mapping) else given
        # A trait is a name, or a name with its data type.
        traits = [str(name) for entry in entries for name in ([entry] if isinstance(entry, str) else entry)]
        computed = [
            str(trait["name"])
            for variable in ("order_traits", "traits")
            for trait in _entries(self._variable(variable))
            if trait.get("of") != "account"
        ]
        told = [column for trait in traits for column in (trait, f"{trait}_set_at")]
        return [PERSON, *IDENTITIES, *told, *computed, "first_seen_at", "last_seen_at"]

    def _variable(self, name: str) -> Any:
        """Return a variable of the package: from --vars, the project, or the package itself."""
        given = yaml.safe_load(self._workspace.options.vars or "{}") or {}
        own = self._workspace.dbt.vars
        for values in (given, own.get(PACKAGE), own):
            if isinstance(values, Mapping) and name in values:
                return values[name]
        return read_yaml(dbt_project_dir() / "dbt_project.yml")["vars"][PACKAGE].get(name)


def _entries(traits: Any) -> list[Mapping[str, Any]]:
    """Return traits as declared, each with its name."""
    if not isinstance(traits, Mapping):
        return []
    return [{"name": name, **trait} for name, trait in traits.items() if isinstance(trait, Mapping)]
