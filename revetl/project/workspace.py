"""The dbt project as data: audiences with their syncs, and the destinations they name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revetl import dbt
from revetl.config.base import check
from revetl.config.jinja import FilledIn, render
from revetl.config.models import (
    AudienceConfig,
    RevetlConfig,
    SyncConfig,
    read_revetl_yml,
)
from revetl.errors import UsageError, WarehouseError, nearest
from revetl.sandbox.owner import project_id
from revetl.warehouse import Opening, Warehouse, database_of, open_warehouse

if TYPE_CHECKING:
    from sqlglot import exp

    from revetl.destinations.auth.sign_in import StoredSignIn
    from revetl.destinations.auth.store import SignIns
    from revetl.destinations.base.destination import Destination

Say = Callable[[str], None]
CALL_OF = {"stg_revetl__tracks": "track", "stg_revetl__pages": "page", "stg_revetl__screens": "screen"}
"""The staging models of messages that are events, and the call that those are."""


@dataclass(frozen=True)
class Sync:
    """One audience to one destination. `name` is `audience.destination`, unless it is `called` by a former
    name."""

    audience: AudienceModel
    config: SyncConfig
    place: str
    called: str | None = None

    @property
    def name(self) -> str:
        return self.called or f"{self.audience.name}.{self.config.to}"

    @property
    def paused(self) -> bool:
        """Whether it, or its audience, is not enabled."""
        return not (self.config.enabled and self.audience.config.enabled)


@dataclass(frozen=True)
class AudienceModel:
    """A dbt model with `config.meta.revetl`, and the relation it was built as."""

    model: dbt.Model
    config: AudienceConfig

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def key(self) -> str:
        return self.config.key

    @property
    def relation(self) -> exp.Table:
        from revetl.warehouse.templates import table

        return table(self.model.alias, self.model.schema, self.model.database)

    @property
    def syncs(self) -> tuple[Sync, ...]:
        place = f"{self.model.place}: {self.name}: meta.revetl.sync"
        return tuple(
            Sync(self, self._with_call(sync), f"{place}.{index}")
            for index, sync in enumerate(self.config.sync)
        )

    def _with_call(self, sync: SyncConfig) -> SyncConfig:
        """A sync of events, with the call that they are where the model selects from messages of one call
        alone."""
        if sync.event_column is None or sync.message_type is not None:
            return sync
        calls = {CALL_OF[parent] for parent in self.model.parents if parent in CALL_OF}
        return sync.model_copy(update={"message_type": calls.pop()}) if len(calls) == 1 else sync


class Workspace:
    """A dbt project and its `revetl.yml` (or `config` in its place), read once; nothing is opened until it is
    asked for. With `manifest`, that takes the place of the one in target/."""

    def __init__(
        self,
        options: dbt.Options,
        *,
        lock_timeout: float = 60.0,
        say: Say = lambda _: None,
        config: RevetlConfig | None = None,
        manifest: dbt.Manifest | None = None,
    ) -> None:
        self.options = options
        self.lock_timeout = lock_timeout
        self.say = say
        self.dbt = dbt.read_project(options)
        self.target = dbt.read_target(self.dbt, options)
        self.config = read_revetl_yml(self.dbt.root) if config is None else config
        self._manifest = manifest
        self._turn = threading.Lock()

    @property
    def root(self) -> Path:
        return self.dbt.root

    @property
    def id(self) -> str:
        """What tells the project from any other, also from another copy of it."""
        return project_id(self.root, self.dbt.name)

    @property
    def state_schema(self) -> str:
        """The schema of the runner's own tables."""
        return self._schema("state", "revetl")

    @property
    def raw_schema(self) -> str:
        """The schema that events land in."""
        return self._schema("raw", "raw")

    def _schema(self, kind: str, custom: str) -> str:
        """A schema of the package's sources: the variable `state_schema` or `raw_schema`, else what the
        project's generate_schema_name makes, as the manifest has it. Without the package, it is what dbt's
        own macro would make: `custom` behind the target's schema."""
        if configured := self.dbt.variable(f"{kind}_schema"):
            return configured
        return self.manifest.schemas.get(kind) or f"{self.target.schema}_{custom}"

    def whose_state_schema(self) -> str:
        """The state's schema, and what says so."""
        if self.dbt.variable("state_schema"):
            reason = "the variable state_schema"
        elif "state" in self.manifest.schemas:
            reason = "generate_schema_name"
        else:
            reason = "the target's schema, as revetl's package is not in the project"
        return f"{self.state_schema}, by {reason}"

    @property
    def changes_kept_days(self) -> int:
        """How long `sync_changes` keeps a change. Raises UsageError when the variable is no number."""
        value = self.dbt.variable("changes_kept_days", "90")
        if not value.isdigit():
            raise UsageError(
                f"dbt_project.yml: vars.revetl.changes_kept_days: '{value}' is no number of days."
            )
        return int(value)

    @property
    def manifest(self) -> dbt.Manifest:
        if self._manifest is None:
            database = database_of(self.target)
            self._manifest = dbt.read_manifest(self.dbt, self.target, database, self.options, self.say)
        return self._manifest

    def models(self) -> list[dbt.Model]:
        """Every model that is declared an audience, whether or not its configuration is right."""
        return self.manifest.models()

    def audiences(self) -> list[AudienceModel]:
        """Every audience. Raises UsageError for the first whose configuration is wrong."""
        return [self._audience(model) for model in self.models()]

    def audience(self, name: str) -> AudienceModel:
        """The audience `name`. Raises UsageError with the nearest name there is."""
        models = {model.name: model for model in self.models()}
        if name not in models:
            raise self.no_audience(name)
        return self._audience(models[name])

    def no_audience(self, name: str) -> UsageError:
        """The error for a name that no audience has."""
        names = [model.name for model in self.models()]
        return UsageError(
            f"There is no audience '{name}': a model is one when it has `config.meta.revetl`. "
            f"{nearest(name, names, all_of_them=True)}"
        )

    def _audience(self, model: dbt.Model) -> AudienceModel:
        config = check(AudienceConfig, model.meta, f"{model.place}: {model.name}: meta.revetl")
        check_materialized(model)
        return AudienceModel(model, config)

    def syncs(self, audience: AudienceModel, to: str | None = None) -> list[Sync]:
        """The syncs of an audience, or the one to a destination. Raises UsageError when there is none."""
        names = [sync.config.to for sync in audience.syncs]
        if to is not None and to not in names:
            raise UsageError(
                f"{audience.model.place}: {audience.name} has no sync to '{to}'. {nearest(to, names)}"
            )
        if not names:
            raise UsageError(
                f"{audience.model.place}: {audience.name} goes nowhere. "
                "Add `sync: [{to: NAME}]` to its meta.revetl."
            )
        return [sync for sync in audience.syncs if to in (None, sync.config.to)]

    def list_of_people(self, name: str, place: str) -> tuple[exp.Table, str | None]:
        """The relation of a dbt model, seed, snapshot or source, and its key when it is an audience. Raises
        UsageError with the nearest name there is."""
        from revetl.warehouse.templates import table

        relations = self.manifest.relations()
        if name not in relations:
            raise UsageError(f"{place}: dbt has no model or source '{name}'. {nearest(name, relations)}")
        keys = {model.name: model.meta.get("key") for model in self.models() if isinstance(model.meta, dict)}
        alias, schema, database = relations[name]
        return table(alias, schema, database), keys.get(name)

    def is_for_target(self, sync: Sync) -> bool:
        """Whether the destination of a sync may be delivered to from this target: `targets` in revetl.yml."""
        targets = self.targets_of(sync)
        return not targets or self.target.name in targets

    def targets_of(self, sync: Sync) -> tuple[str, ...]:
        """The targets that the destination of a sync is bound to; none where it is for every one."""
        written = self.config.destinations.get(sync.config.to, {}).get("targets") or ()
        return tuple(map(str, written)) if isinstance(written, list | tuple) else (str(written),)

    def check_target(self, sync: Sync) -> None:
        """Raises UsageError for a sync whose destination is for other targets."""
        if not self.is_for_target(sync):
            raise UsageError(f"{sync.name}: {self.other_target(sync)}")

    def other_target(self, sync: Sync) -> str:
        """Why a sync does not run on this target."""
        targets = ", ".join(self.targets_of(sync))
        return (
            f"'{sync.config.to}' is for {targets} (revetl.yml: destinations.{sync.config.to}.targets), and "
            f"the target is {self.target.name}. Use --target, or --to for another destination."
        )

    def before_in_priority(self, sync: Sync) -> list[AudienceModel]:
        """The audiences that have a person before the sync's own. Raises UsageError for a list that is not
        there, or does not have the audience in it."""
        named = sync.config.priority
        if named is None:
            return []
        lists = self.config.priorities
        if named not in lists:
            raise UsageError(
                f"{sync.place}.priority: revetl.yml has no priorities '{named}'. {nearest(named, lists)}"
            )
        if sync.audience.name not in lists[named]:
            raise UsageError(f"revetl.yml: priorities.{named}: {sync.audience.name} is not in it. Add it.")
        names = lists[named][: lists[named].index(sync.audience.name)]
        return [self.audience(name) for name in names]

    def destination_class(self, sync: Sync) -> type[Destination]:
        """The class of a sync's destination. Raises UsageError naming revetl.yml and the nearest name, or
        the mode that the destination does not have."""
        from revetl.destinations import destination_class

        config = self._destination_config(sync)
        found = destination_class(config.get("type"), f"revetl.yml: destinations.{sync.config.to}")
        if sync.config.mode not in found.modes():
            raise UsageError(
                f"{sync.place}.mode: '{sync.config.to}' ({config['type']}) has no mode '{sync.config.mode}'. "
                f"{nearest(sync.config.mode, found.modes())}"
            )
        return found

    def destination(self, sync: Sync, *, placeholders: bool = False) -> Destination:
        """The configured destination of a sync; with `placeholders`, whether or not its secrets are set."""
        from revetl.destinations import make_destination
        from revetl.destinations.auth.sign_in import SignsIn

        self.destination_class(sync)
        place = f"revetl.yml: destinations.{sync.config.to}"
        filled_in: set[FilledIn] = set()
        config = render(
            self._destination_config(sync),
            place,
            placeholders=placeholders,
            way_out=f", or use --to to leave {sync.config.to} out",
            filled_in=filled_in,
        )
        stored = self._stored_sign_in(sync.config.to, config, place, has_secrets=not placeholders)
        if stored is not None:
            config = {**stored.settings_beside(config), **config}
        destination = make_destination(config, place).placed(self.root).known_from(self.id, filled_in)
        if isinstance(destination, SignsIn) and destination.sign_in is not None:
            if stored is not None:
                destination = destination.signed_in(stored)
            elif not placeholders:
                raise UsageError(
                    f"{place}: nobody has signed in. Run `revetl auth {sync.config.to}`, or use --to to "
                    f"leave {sync.config.to} out."
                )
        for name in destination.secret_names():
            if "{{" not in str(_written(self._destination_config(sync), name)):
                self.say(
                    f"Warning: {place}.{name} is a secret written in a file. "
                    "Write \"{{ env_var('NAME') }}\" and export it."
                )
        return destination

    @property
    def sign_ins(self) -> SignIns:
        """The sign-ins of this project."""
        from revetl.destinations.auth.store import SignIns

        return SignIns(self.dbt.name)

    def _stored_sign_in(
        self, name: str, config: Mapping[str, Any], place: str, *, has_secrets: bool
    ) -> StoredSignIn | None:
        """The stored sign-in of a destination whose configuration asks for one; without its tokens where
        `has_secrets` is false. Raises UsageError for one of another app, or one that cannot be read."""
        from revetl.destinations.auth.providers import provider_of
        from revetl.destinations.auth.sign_in import SignInConfig, StoredSignIn

        provider = provider_of(str(config.get("type")), config)
        if provider is None or not isinstance(config.get("sign_in"), Mapping):
            return None
        block = check(SignInConfig, config["sign_in"], f"{place}.sign_in")
        if (found := self.sign_ins.read(name, tokens=has_secrets)) is None:
            return None
        provider = block.of(provider, config)
        for word, was, now in (
            ("client_id", found.client_id, block.client_id),
            ("token_url", found.token_url, provider.token_url),
        ):
            if has_secrets and was != now:
                raise UsageError(
                    f"{place}: somebody signed in with the {word} {was}, and it is {now} by now. "
                    f"Run `revetl auth {name}` to sign in again."
                )
        return StoredSignIn(self.sign_ins, provider, found)

    def _destination_config(self, sync: Sync) -> Mapping[str, Any]:
        if not self.config.destinations and not (self.root / "revetl.yml").exists():
            raise UsageError(
                f"{sync.place}.to: there is no revetl.yml, which says what '{sync.config.to}' is. "
                "`revetl init --here --minimal` writes one."
            )
        if sync.config.to not in self.config.destinations:
            raise UsageError(
                f"{sync.place}.to: revetl.yml has no destination '{sync.config.to}'. "
                f"{nearest(sync.config.to, self.config.destinations)}"
            )
        config = self.config.destinations[sync.config.to]
        return {name: value for name, value in config.items() if name != "was"}

    def former_names(self, sync: Sync) -> tuple[str, ...]:
        """The names that a sync may have had before its audience or its destination was renamed, but those
        of syncs that are there: what they hold is theirs."""
        was = self.config.destinations.get(sync.config.to, {}).get("was")
        audiences = [name for name in (sync.audience.name, sync.audience.config.was) if name]
        destinations = [name for name in (sync.config.to, was) if isinstance(name, str) and name]
        names = [f"{audience}.{to}" for audience in audiences for to in destinations]
        former = [name for name in names if name != sync.name]
        return tuple(name for name in former if not self.has_sync(name))

    def has_sync(self, name: str) -> bool:
        """Whether there is a sync of this name, right or wrong as its configuration may be."""
        audience, _, to = name.partition(".")
        return to in self.destinations_of(audience)

    def destinations_of(self, audience: str) -> list[str]:
        """The destinations in an audience's meta, right or wrong as its configuration may be."""
        for model in self.models():
            if model.name == audience:
                syncs = model.meta.get("sync") if isinstance(model.meta, dict) else None
                rows = syncs if isinstance(syncs, list) else []
                return [str(each["to"]) for each in rows if isinstance(each, dict) and "to" in each]
        return []

    def destination_now(self, name: str) -> str:
        """The name that a destination has now: the one that says `was: NAME`, where there is none of the
        name."""
        there = self.config.destinations
        if name in there:
            return name
        return next((now for now, config in there.items() if config.get("was") == name), name)

    def built(self, audience: AudienceModel, warehouse: Warehouse) -> exp.Table:
        """The relation of an audience. Raises WarehouseError when dbt has not built it."""
        if not warehouse.exists(audience.relation):
            raise not_built(audience)
        return audience.relation

    @contextmanager
    def writing(
        self, *, light: bool = False, lock_timeout: float | None = None, wait: bool = True
    ) -> Iterator[Warehouse]:
        """The warehouse to write to, given back at the end. An embedded one takes one writer at a time:
        without `wait`, WarehouseError is raised when another thread is at it."""
        embedded = self.target.type == "duckdb"
        if embedded and not self._turn.acquire(blocking=wait):
            raise WarehouseError("Another sync of this process is writing to the warehouse.")
        try:
            warehouse = self.warehouse(light=light, lock_timeout=lock_timeout)
            try:
                yield warehouse
            finally:
                warehouse.close()
        finally:
            if embedded:
                self._turn.release()

    def attached(self, warehouse: Warehouse, target: str | None) -> str:
        """The database of another target, readable beside this one's; this one's without a name. Raises
        UsageError for a target that is not there."""
        if target is None:
            return warehouse.database
        other = dbt.read_target(self.dbt, replace(self.options, target=target))
        return warehouse.attach(other, self.root)

    def warehouse(
        self, *, read_only: bool = False, light: bool = False, lock_timeout: float | None = None
    ) -> Warehouse:
        """The target's warehouse, opened; the caller closes it."""
        timeout = self.lock_timeout if lock_timeout is None else lock_timeout
        opening = Opening(
            self.root,
            self.state_schema,
            read_only=read_only,
            light=light,
            lock_timeout=timeout,
            say=self.say,
        )
        return open_warehouse(self.target, opening)


def _written(config: Mapping[str, Any], name: str) -> Any:
    """The value at a dotted name, as it is written; as if it named something where there is none."""
    found: Any = config
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return "{{" if found is None else found


def check_materialized(model: dbt.Model) -> None:
    """Raises UsageError for an audience that no build makes a relation of."""
    if model.materialized == "ephemeral":
        raise UsageError(
            f"{model.place}: {model.name}: it is ephemeral, and an audience has to be a relation in the "
            "warehouse. "
            "Set `materialized: table` (or view) for it."
        )


def not_built(audience: AudienceModel) -> WarehouseError:
    """What is told of an audience that dbt has not built."""
    return WarehouseError(
        f"{audience.name} is not in the warehouse: there is no {audience.relation.sql()}. "
        f"Run `dbt build --select +{audience.name}`."
    )
