"""Finds all errors in a project's configuration at once, without the warehouse.

The checks are those of a run, applied to each piece separately, so that one error doesn't hide the next; the
messages are the run's. Finally, everything that passed goes through the run's checks once more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ParamSpec, TypeVar

from pydantic import ValidationError
from sqlglot import exp

from revetl import dbt
from revetl.config.base import problems, read_yaml
from revetl.config.jinja import render
from revetl.config.models import AudienceConfig, RevetlConfig, SyncConfig
from revetl.dbt.column_lineage import CompiledColumns
from revetl.delivery.functions.process import Function
from revetl.destinations import destination_class
from revetl.destinations.base.destination import Destination
from revetl.destinations.base.hygiene import check_sendable
from revetl.errors import RevetlError, UsageError, nearest
from revetl.mapping.fields import check_found, make_mapping, parse_expression
from revetl.observability.alerts import check_alerts, check_data_alerts
from revetl.project.workspace import (
    AudienceModel,
    Sync,
    Workspace,
    check_materialized,
)
from revetl.sync.plan.eligibility import excluded_column, excluded_on
from revetl.sync.plan.suppressed import check_suppressions
from revetl.warehouse import check_target
from revetl.warehouse.templates import parse_scalar, table

P = ParamSpec("P")
T = TypeVar("T")
Say = Callable[[str], None]

# Keys that depend on each other, so they are only checked once the other keys are valid.
_TIED = ("mode", "archive", "event", "timestamp", "order_by", "salt")

_STAND_IN = "https://missing.invalid"


def validate(
    options: dbt.Options,
    *,
    secrets: bool = True,
    say: Say = lambda _: None,
    choose: Callable[[Workspace], Collection[str]] | None = None,
) -> list[str]:
    """Every error that a run would find in revetl.yml, in the audiences' meta and in their syncs, one
    sentence each, in the order of the audiences; none when no sync is refused for its configuration.

    Without `secrets`, environment variables need not be set. Columns are checked where the compiled SQL of
    a model tells them. `dbt parse` is run when the manifest is old, and told to `say`. The warehouse
    is read for one thing, the types of identifiers in `suppressions`, where it can be opened at once.
    `choose` gives the names of the audiences to check, and may raise UsageError; revetl.yml is always
    checked as a whole.
    """
    errors = _Errors()
    said: set[str] = set()

    def say_once(message: str) -> None:
        if message not in said:
            said.add(message)
            say(message)

    workspace = errors.of(_workspace, options, say_once, errors)
    if workspace is None or errors.of(lambda: workspace.manifest) is None:
        return errors.found
    errors.of(lambda: workspace.changes_kept_days)
    checker = _Checker(workspace, errors, secrets)
    chosen = None if choose is None else choose(workspace)
    for model in workspace.models():
        if chosen is None or model.name in chosen:
            checker.check_audience(model)
    checker.check_unused_destinations()
    checker.check_targets()
    errors.of(check_target, workspace.target)
    errors.of(check_alerts, workspace.config.alerts, checker.names)
    names = [model.name for model in workspace.models()]
    errors.of(check_data_alerts, workspace.config.alerts, names, checker.names)
    if not errors.found:
        errors.of(check_suppressions, workspace)
    if checker.unchecked:
        unchecked = ", ".join(sorted(checker.unchecked))
        say(
            f"Not checked: the columns of {unchecked}. Neither compiled SQL nor a built relation tells "
            "them. Run `dbt build` (or `dbt compile`), and validate again."
        )
    return errors.found


class _Errors:
    """Messages in the order they are found, without duplicates."""

    def __init__(self) -> None:
        self._sentences: dict[str, None] = {}

    @property
    def found(self) -> list[str]:
        return list(self._sentences)

    def add(self, sentence: str) -> None:
        self._sentences.setdefault(sentence)

    def of(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return the result of `work`; None if it raised UsageError, whose message is stored."""
        try:
            return work(*args, **kwargs)
        except UsageError as error:
            self.add(str(error))
            return None


def _workspace(options: dbt.Options, say: Say, errors: _Errors) -> Workspace:
    try:
        return Workspace(options, say=say)
    except UsageError:
        path = dbt.read_project(options).root / "revetl.yml"
        document = read_yaml(path) if path.exists() else {}
        found = problems(RevetlConfig, document or {}, path.name)
        if not found:
            raise
        for _, sentence in found:
            errors.add(sentence)
        wrong = {location[:2] for location, _ in found} | {location[:1] for location, _ in found}
        return Workspace(options, say=say, config=_readable_config(document, wrong))


def _readable_config(document: Any, wrong: set[tuple[int | str, ...]]) -> RevetlConfig:
    kept: dict[str, Any] = {}
    for name in RevetlConfig.model_fields:
        items = document.get(name) if isinstance(document, Mapping) else None
        if isinstance(items, Mapping):
            kept[name] = {key: value for key, value in items.items() if (name, key) not in wrong}
        elif items is not None and (name,) not in wrong:
            kept[name] = items
    return RevetlConfig.model_validate(kept)


@dataclass(frozen=True)
class _Entry:
    """A sync as far as it can be parsed; parts with errors are left out."""

    sync: Sync
    has_key: bool = True


class _Checker:
    def __init__(self, workspace: Workspace, errors: _Errors, secrets: bool) -> None:
        self._workspace = workspace
        self._errors = errors
        self._secrets = secrets
        self._columns = CompiledColumns(workspace.manifest, workspace.dbt)
        self._used: set[str] = set()
        self._relations = _BuiltColumns(workspace)
        self.names: list[str] = []
        self.unchecked: set[str] = set()
        """The audiences whose columns are not known."""

    def check_audience(self, model: dbt.Model) -> None:
        """Check an audience's meta and its syncs."""
        place = f"{model.place}: {model.name}: meta.revetl"
        found = problems(AudienceConfig, model.meta, place)
        for _, sentence in found:
            self._errors.add(sentence)
        self._errors.of(check_materialized, model)
        if found or model.materialized == "ephemeral":
            entries = list(_readable_entries(model, place, {location for location, _ in found}))
        else:
            audience = self._workspace.audience(model.name)
            entries = [_Entry(sync) for sync in self._errors.of(self._workspace.syncs, audience) or ()]
        for entry in entries:
            self.names.append(entry.sync.name)
            destination = self._check_destination(entry.sync)
            if entry.has_key and destination is not None:
                self._check_mapping(entry.sync, destination)
            if entry.has_key:
                self._check_members(entry.sync)

    def check_unused_destinations(self) -> None:
        """Check destinations that no sync uses: only what is written, regardless of set variables."""
        for name, config in self._workspace.config.destinations.items():
            if name not in self._used:
                place = f"revetl.yml: destinations.{name}"
                found = self._errors.of(destination_class, config.get("type"), place)
                if found is not None:
                    self._make(without_was(config), found, place, "", secrets=False)

    def check_targets(self) -> None:
        """Check the targets that destinations are bound to: they must be outputs of the profile."""
        workspace = self._workspace
        _, profile = dbt.read_profile(workspace.dbt, workspace.options)
        outputs = profile.get("outputs") or {}
        for name, config in workspace.config.destinations.items():
            written = config.get("targets") or ()
            for target in written if isinstance(written, list) else ():
                if target not in outputs:
                    self._errors.add(
                        f"revetl.yml: destinations.{name}.targets: profiles.yml has no target '{target}'. "
                        f"{nearest(str(target), outputs)}"
                    )

    def _check_destination(self, sync: Sync) -> Destination | None:
        """Return the destination of a sync, using placeholders for unset variables as far as possible."""
        workspace, errors = self._workspace, self._errors
        self._used.add(sync.config.to)
        found = errors.of(workspace.destination_class, sync)
        if found is None:
            # If only the mode is wrong, the rest can still be checked.
            sync = replace(sync, config=sync.config.model_copy(update={"mode": "upsert"}))
            try:
                found = workspace.destination_class(sync)
            except UsageError:
                return None
        config = without_was(workspace.config.destinations[sync.config.to])
        place = f"revetl.yml: destinations.{sync.config.to}"
        way_out = f", or use --to to skip {sync.config.to}"
        made, is_right = self._make(config, found, place, way_out, secrets=self._secrets)
        return errors.of(workspace.destination, sync, placeholders=not self._secrets) if is_right else made

    def _make(
        self, config: Mapping[str, Any], kind: type[Destination], place: str, way_out: str, *, secrets: bool
    ) -> tuple[Destination | None, bool]:
        """Return a destination and whether its configuration is valid, checking each key. In an invalid one,
        placeholders replace missing values where possible."""
        rendered: dict[str, Any] = {}
        wrong: set[int | str] = set()
        for key, value in config.items():
            at = f"{place}.{key}"
            try:
                rendered[key] = render(value, at, placeholders=not secrets, way_out=way_out)
            except UsageError as error:
                self._errors.add(str(error))
                wrong.add(key)
                with suppress(UsageError):
                    rendered[key] = render(value, at, placeholders=True)
        found = problems(kind, rendered, place)
        for location, sentence in found:
            # An error of the whole configuration may be caused by a key with an error.
            if not wrong.intersection(location[:1]) and (location or not wrong):
                self._errors.add(sentence)
        # First drop invalid values, then fill in placeholders for required ones.
        for _ in range(2):
            for location, _ in problems(kind, rendered, place):
                name = str(location[0]) if location else ""
                if rendered.pop(name, None) is None:
                    rendered[name] = _STAND_IN
        try:
            made = kind.model_validate(rendered)
        except ValidationError:
            return None, False
        if wrong or found:
            return made, False
        self._errors.of(check_sendable, made, place)
        return made, True

    def _check_mapping(self, sync: Sync, destination: Destination) -> None:
        """Check each mapped name separately, and then all of them; and the function, if there is one."""
        if sync.config.function is not None:
            self._errors.of(Function(self._workspace.root, sync.config.function).check_file)
        key, columns = sync.audience.key, self._columns_of(sync)
        required = [each.name for each in destination.declared if each.required]
        for config in _pieces(key, sync.config, required):
            made = self._errors.of(make_mapping, key, config, destination, columns, sync.place)
            if made is not None and config is sync.config:
                self._errors.of(check_found, config, destination, made, sync.place)
            columns = {**columns, key: columns.get(key, "")}

    def _columns_of(self, sync: Sync) -> dict[str, str]:
        """Return the model's columns without types; if they are unknown, the columns that the sync
        mentions."""
        known = self._known(sync.audience.model)
        if known is not None:
            return dict.fromkeys(known, "")
        config = sync.config
        texts = [
            *(config.fields or {}).values(),
            *config.identifiers.values(),
            config.timestamp,
            config.event_column,
            None if config.message_type in ("track", "page", "screen") else config.message_type,
            config.order[0],
        ]
        named = dict.fromkeys((name for rule in config.events.values() for name in rule.columns()), "")
        named[sync.audience.key] = ""
        if config.fields is None:
            # Every column is sent; whether these exist is unknown.
            named |= dict.fromkeys((*config.set_if_empty, *config.archive), "")
        for text in texts:
            named |= dict.fromkeys(_columns_in(text or ""), "")
        return named

    def _known(self, model: dbt.Model) -> Collection[str] | None:
        """Return the columns of a model: those of its compiled SQL, else those of its relation, unless the
        model was edited since. None if they are unknown."""
        known: Collection[str] | None = self._columns.of(model.unique_id)
        if known is None and not self._columns.is_edited(model.unique_id):
            known = self._relations.of(model)
        if known is None:
            self.unchecked.add(model.name)
        return known

    def _check_members(self, sync: Sync) -> None:
        """Check what the sync excludes: exclude, priority, and the order of a limit."""
        workspace, errors = self._workspace, self._errors
        known = self._known(sync.audience.model)
        for index, each in enumerate(sync.config.exclude):
            place = f"{sync.place}.exclude.{index}"
            listed = errors.of(workspace.list_of_people, each.model, place)
            if known is not None:
                errors.of(excluded_on, sync, each, place, known)
            if listed is not None and (found := self._columns.of_table(listed[0])) is not None:
                on = each.on or sync.audience.key
                errors.of(excluded_column, each, listed[1], on, place, found)
        errors.of(workspace.before_in_priority, sync)
        for name in workspace.config.priorities.get(sync.config.priority or "", ()):
            if name == sync.audience.name:
                break
            errors.of(workspace.audience, name)
        if order := sync.config.order[0]:
            errors.of(parse_expression, order, self._columns_of(sync), f"{sync.place}.order_by")


class _BuiltColumns:
    """Columns of built relations, from a warehouse that can be opened at once, in one look for all."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._found: dict[str, Collection[str] | None] | None = None

    def of(self, model: dbt.Model) -> Collection[str] | None:
        if self._found is None:
            self._found = {}
            models = self._workspace.models()
            # What is wrong with the warehouse is for the commands that need it.
            with suppress(RevetlError):
                warehouse = self._workspace.warehouse(read_only=True, lock_timeout=0)
                try:
                    relations = [table(each.alias, each.schema, each.database) for each in models]
                    there = warehouse.catalog(relations)
                finally:
                    warehouse.close()
                self._found = {each.unique_id: found for each, found in zip(models, there, strict=True)}
        return self._found.get(model.unique_id)


def _readable_entries(model: dbt.Model, place: str, wrong: set[tuple[int | str, ...]]) -> Iterator[_Entry]:
    """Yield the syncs of a meta with errors, without their invalid parts."""
    meta = model.meta if isinstance(model.meta, Mapping) else {}
    entries = meta.get("sync")
    if isinstance(entries, Mapping):
        entries = [entries]
    has_key = isinstance(meta.get("key"), str)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        inside = {at[2:] for at in wrong if at[:2] == ("sync", index)}
        if isinstance(entry, Mapping):
            left_out = {at[0] for at in inside if at} | (set(_TIED) if inside else set())
            if inside - {()}:
                # They refer to fields, and fields may be the invalid part.
                left_out.add("set_if_empty")
            kept = {name: value for name, value in entry.items() if name not in left_out}
            try:
                config = SyncConfig.model_validate(kept)
            except ValidationError:
                continue
            key = str(meta["key"]) if has_key else ""
            audience = AudienceModel(model, AudienceConfig.model_construct(key=key, sync=(config,)))
            yield _Entry(Sync(audience, config, f"{place}.sync.{index}"), has_key)


def _pieces(key: str, config: SyncConfig, required: Iterable[str]) -> Iterator[SyncConfig]:
    """Split a sync's mapping into pieces: the key alone, each name alone, and the whole. Fields that the
    destination requires to create people are in every piece, if the whole has them."""
    nothing: dict[str, Any] = {"identifiers": {}, "constants": {}, "timestamp": None}
    nothing |= {"set_if_empty": (), "archive": {}}
    fields = config.fields or {}
    there = {*fields, *config.constants, *config.identifiers}
    needed = {name: key for name in required if config.fields is None or name in there}

    def only(**parts: Any) -> SyncConfig:
        own = parts.get("fields", {})
        # A name with a constant and no field keeps its constant.
        kept = {
            name: text
            for name, text in needed.items()
            if name in own or name not in parts.get("constants", {})
        }
        whole = None if own is None else {**kept, **own}
        return config.model_copy(update={**nothing, **parts, "fields": whole})

    yield only()
    for name, text in config.identifiers.items():
        yield only(identifiers={name: text})
    for name, text in fields.items():
        yield only(fields={name: text})
    for name, value in config.constants.items():
        yield only(fields={name: key} if name in fields else {}, constants={name: value})
    named: dict[str, Any] = {
        "fields": None if config.fields is None else dict.fromkeys(fields, key),
        "constants": {name: value for name, value in config.constants.items() if name not in fields},
    }
    for name in config.set_if_empty:
        yield only(**named, set_if_empty=(name,))
    for name, value in config.archive.items():
        yield only(**named, archive={name: value})
    yield only(timestamp=config.timestamp)
    yield config


def without_was(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a destination's configuration without its former name, which only concerns the state."""
    return {name: value for name, value in config.items() if name != "was"}


def _columns_in(text: str) -> set[str]:
    """Return the columns an expression reads. Text that isn't valid SQL but looks like a name counts as
    one."""
    try:
        return {column.name for column in parse_scalar(text, "").find_all(exp.Column)} if text else set()
    except UsageError:
        return {text} if re.fullmatch(r"[\w $-]+", text) else set()
