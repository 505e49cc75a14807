"""The workspace of a command: the project's audiences, syncs and destinations, and its warehouse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revetl import dbt
from revetl.config.base import check
from revetl.config.jinja import RenderedValue, render
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
"""Staging models of event messages, and their Segment call."""


@dataclass(frozen=True)
class Sync:
    """A sync of one audience to one destination. `called` is a former name, which `name` returns instead of
    `audience.destination`."""

    audience: AudienceModel
    config: SyncConfig
    place: str
    called: str | None = None

    @property
    def name(self) -> str:
        return self.called or f"{self.audience.name}.{self.config.to}"

    @property
    def paused(self) -> bool:
        """Whether the sync or its audience is disabled."""
        return not (self.config.enabled and self.audience.config.enabled)


@dataclass(frozen=True)
class AudienceModel:
    """A dbt model with `config.meta.revetl`, and its relation."""

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
        """Set `message_type` of a sync of events if the model selects from messages of exactly one call."""
        if sync.event_column is None or sync.message_type is not None:
            return sync
        calls = {CALL_OF[parent] for parent in self.model.parents if parent in CALL_OF}
        return sync.model_copy(update={"message_type": calls.pop()}) if len(calls) == 1 else sync


class Workspace:
    """A dbt project and its `revetl.yml`, read once. The warehouse is opened on demand.

    `config` replaces `revetl.yml`, and `manifest` replaces the one in target/.
    """

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
        """The id of this copy of the project; another copy has a different id."""
        return project_id(self.root, self.dbt.name)

    @property
    def state_schema(self) -> str:
        """The schema of revetl's state tables."""
        return self._schema("state", "revetl")

    @property
    def raw_schema(self) -> str:
        """The schema that events are loaded into."""
        return self._schema("raw", "raw")

    def _schema(self, kind: str, custom: str) -> str:
        """Resolve a schema of the package's sources: the variable `state_schema` or `raw_schema`, else the
        result of the project's generate_schema_name in the manifest. Without the package, it is the result
        of dbt's default macro: the target's schema followed by `custom`."""
        if configured := self.dbt.variable(f"{kind}_schema"):
            return configured
        return self.manifest.schemas.get(kind) or f"{self.target.schema}_{custom}"

    def whose_state_schema(self) -> str:
        """Describe the state's schema and where it comes from."""
        if self.dbt.variable("state_schema"):
            reason = "the variable state_schema"
        elif "state" in self.manifest.schemas:
            reason = "generate_schema_name"
        else:
            reason = "the target's schema, because the project does not use revetl's package"
        return f"{self.state_schema}, from {reason}"

    @property
    def changes_kept_days(self) -> int:
        """The retention of `sync_changes` in days. Raises UsageError if the variable isn't a number."""
        value = self.dbt.variable("changes_kept_days", "90")
        if not value.isdigit():
            raise UsageError(
                f"dbt_project.yml: vars.revetl.changes_kept_days: '{value}' is not a number of days. "
                "Use a whole number."
            )
        return int(value)

    @property
    def manifest(self) -> dbt.Manifest:
        if self._manifest is None:
            database = database_of(self.target)
            self._manifest = dbt.read_manifest(self.dbt, self.target, database, self.options, self.say)
        return self._manifest

    def models(self) -> list[dbt.Model]:
        """Return every model declared as an audience, including those with an invalid configuration."""
        return self.manifest.models()

    def audiences(self) -> list[AudienceModel]:
        """Return every audience. Raises UsageError for the first with an invalid configuration."""
        return [self._audience(model) for model in self.models()]

    def audience(self, name: str) -> AudienceModel:
        """Return the audience `name`. Raises UsageError with the nearest name."""
        models = {model.name: model for model in self.models()}
        if name not in models:
            raise self.no_audience(name)
        return self._audience(models[name])

    def no_audience(self, name: str) -> UsageError:
        """The error for a name that no audience has."""
        names = [model.name for model in self.models()]
        return UsageError(
            f"There is no audience '{name}'. An audience is a model with `config.meta.revetl`. "
            f"{nearest(name, names, all_of_them=True)}"
        )

    def _audience(self, model: dbt.Model) -> AudienceModel:
        config = check(AudienceConfig, model.meta, f"{model.place}: {model.name}: meta.revetl")
        check_materialized(model)
        return AudienceModel(model, config)

    def syncs(self, audience: AudienceModel, to: str | None = None) -> list[Sync]:
        """Return an audience's syncs, or the one to a destination. Raises UsageError if there is none."""
        names = [sync.config.to for sync in audience.syncs]
        if to is not None and to not in names:
            raise UsageError(
                f"{audience.model.place}: {audience.name} has no sync to '{to}'. {nearest(to, names)}"
            )
        if not names:
            raise UsageError(
                f"{audience.model.place}: {audience.name} has no syncs. "
                "Add `sync: [{to: NAME}]` to its meta.revetl."
            )
        return [sync for sync in audience.syncs if to in (None, sync.config.to)]

    def list_of_people(self, name: str, place: str) -> tuple[exp.Table, str | None]:
        """Return the relation of a dbt model, seed, snapshot or source, and its key if it is an audience.
        Raises UsageError with the nearest name."""
        from revetl.warehouse.templates import table

        relations = self.manifest.relations()
        if name not in relations:
            raise UsageError(f"{place}: dbt has no model or source '{name}'. {nearest(name, relations)}")
        keys = {model.name: model.meta.get("key") for model in self.models() if isinstance(model.meta, dict)}
        alias, schema, database = relations[name]
        return table(alias, schema, database), keys.get(name)

    def is_for_target(self, sync: Sync) -> bool:
        """Whether the sync's destination is enabled for this target, by its `targets` in revetl.yml."""
        targets = self.targets_of(sync)
        return not targets or self.target.name in targets

    def targets_of(self, sync: Sync) -> tuple[str, ...]:
        """Return the targets of the sync's destination; empty means every target."""
        written = self.config.destinations.get(sync.config.to, {}).get("targets") or ()
        return tuple(map(str, written)) if isinstance(written, list | tuple) else (str(written),)

    def check_target(self, sync: Sync) -> None:
        """Raise UsageError if the sync's destination isn't enabled for this target."""
        if not self.is_for_target(sync):
            raise UsageError(f"{sync.name}: {self.other_target(sync)}")

    def other_target(self, sync: Sync) -> str:
        """Return the reason why a sync doesn't run on this target."""
        targets = ", ".join(self.targets_of(sync))
        return (
            f"'{sync.config.to}' is restricted to {targets} (revetl.yml: destinations.{sync.config.to}."
            f"targets), and the target is {self.target.name}. Use --target, or choose another destination "
            "with --to."
        )

    def before_in_priority(self, sync: Sync) -> list[AudienceModel]:
        """Return the audiences with a higher priority than the sync's. Raises UsageError for an unknown
        priority list, and for one that doesn't contain the audience."""
        named = sync.config.priority
        if named is None:
            return []
        lists = self.config.priorities
        if named not in lists:
            raise UsageError(
                f"{sync.place}.priority: revetl.yml has no priorities '{named}'. {nearest(named, lists)}"
            )
        if sync.audience.name not in lists[named]:
            raise UsageError(
                f"revetl.yml: priorities.{named}: does not contain {sync.audience.name}. Add it."
            )
        names = lists[named][: lists[named].index(sync.audience.name)]
        return [self.audience(name) for name in names]

    def destination_class(self, sync: Sync) -> type[Destination]:
        """Return the class of a sync's destination. Raises UsageError for an unknown destination or type,
        with the nearest name, and for a mode that the destination doesn't support."""
        from revetl.destinations import destination_class

        config = self._destination_config(sync)
        found = destination_class(config.get("type"), f"revetl.yml: destinations.{sync.config.to}")
        if sync.config.mode not in found.modes():
            raise UsageError(
                f"{sync.place}.mode: '{sync.config.to}' ({config['type']}) does not support mode "
                f"'{sync.config.mode}'. {nearest(sync.config.mode, found.modes())}"
            )
        return found

    def destination(self, sync: Sync, *, placeholders: bool = False) -> Destination:
        """Return the configured destination of a sync; with `placeholders`, even if secrets are missing."""
        from revetl.destinations import make_destination
        from revetl.destinations.auth.sign_in import SignsIn

        self.destination_class(sync)
        place = f"revetl.yml: destinations.{sync.config.to}"
        filled_in: set[RenderedValue] = set()
        config = render(
            self._destination_config(sync),
            place,
            placeholders=placeholders,
            way_out=f", or use --to to skip {sync.config.to}",
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
                    f"{place}: is not signed in. Run `revetl auth {sync.config.to}`, or use --to to skip "
                    f"{sync.config.to}."
                )
        for name in destination.secret_names():
            if "{{" not in str(_written(self._destination_config(sync), name)):
                self.say(
                    f"Warning: {place}.{name} is an inline secret. "
                    "Write \"{{ env_var('NAME') }}\" and export the variable."
                )
        return destination

    @property
    def sign_ins(self) -> SignIns:
        """The project's stored sign-ins."""
        from revetl.destinations.auth.store import SignIns

        return SignIns(self.dbt.name)

    def _stored_sign_in(
        self, name: str, config: Mapping[str, Any], place: str, *, has_secrets: bool
    ) -> StoredSignIn | None:
        """Return the stored sign-in of a destination configured with `sign_in`, without its tokens if
        `has_secrets` is false. Raises UsageError for a sign-in with another app, and for one that can't be
        read."""
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
                    f"{place}: the stored sign-in is for the {word} {was}, and the configuration has {now}. "
                    f"Run `revetl auth {name}` to sign in again."
                )
        return StoredSignIn(self.sign_ins, provider, found)

    def _destination_config(self, sync: Sync) -> Mapping[str, Any]:
        if not self.config.destinations and not (self.root / "revetl.yml").exists():
            raise UsageError(
                f"revetl.yml: does not exist in {self.root.name}/, and the audiences' syncs need the "
                "destinations in it. Run `revetl init --here --minimal` to create it, or restore it."
            )
        if sync.config.to not in self.config.destinations:
            raise UsageError(
                f"{sync.place}.to: revetl.yml has no destination '{sync.config.to}'. "
                f"{nearest(sync.config.to, self.config.destinations)}"
            )
        config = self.config.destinations[sync.config.to]
        return {name: value for name, value in config.items() if name != "was"}

    def former_names(self, sync: Sync) -> tuple[str, ...]:
        """Return the names a sync may have had before its audience or destination was renamed, without names
        of current syncs, which own their state."""
        was = self.config.destinations.get(sync.config.to, {}).get("was")
        audiences = [name for name in (sync.audience.name, sync.audience.config.was) if name]
        destinations = [name for name in (sync.config.to, was) if isinstance(name, str) and name]
        names = [f"{audience}.{to}" for audience in audiences for to in destinations]
        former = [name for name in names if name != sync.name]
        return tuple(name for name in former if not self.has_sync(name))

    def has_sync(self, name: str) -> bool:
        """Whether a sync of this name exists, even with an invalid configuration."""
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
        """Return the current name of a destination: if none has the name, the one with `was: NAME`."""
        there = self.config.destinations
        if name in there:
            return name
        return next((now for now, config in there.items() if config.get("was") == name), name)

    def built(self, audience: AudienceModel, warehouse: Warehouse) -> exp.Table:
        """Return the relation of an audience. Raises WarehouseError if dbt hasn't built it."""
        if not warehouse.exists(audience.relation):
            raise not_built(audience)
        return audience.relation

    @contextmanager
    def writing(
        self, *, light: bool = False, lock_timeout: float | None = None, wait: bool = True
    ) -> Iterator[Warehouse]:
        """Open the warehouse for writing, and close it at the end. An embedded warehouse has one writer at a
        time: without `wait`, WarehouseError is raised while another thread is writing."""
        embedded = self.target.type == "duckdb"
        if embedded and not self._turn.acquire(blocking=wait):
            raise WarehouseError("Another sync in this process is writing to the warehouse.")
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
        """Attach another target's database for reading and return its name; without a target, return this
        one's. Raises UsageError for an unknown target."""
        if target is None:
            return warehouse.database
        other = dbt.read_target(self.dbt, replace(self.options, target=target))
        return warehouse.attach(other, self.root)

    def warehouse(
        self, *, read_only: bool = False, light: bool = False, lock_timeout: float | None = None
    ) -> Warehouse:
        """Open the target's warehouse. The caller closes it."""
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
    """Return the unrendered value at a dotted name; a template if it is missing."""
    found: Any = config
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return "{{" if found is None else found


def check_materialized(model: dbt.Model) -> None:
    """Raise UsageError for an ephemeral audience, which has no relation."""
    if model.materialized == "ephemeral":
        raise UsageError(
            f"{model.place}: {model.name}: is ephemeral, but an audience must be a relation in the "
            "warehouse. Set `materialized: table` (or view)."
        )


def not_built(audience: AudienceModel) -> WarehouseError:
    """Return the error for an audience that dbt hasn't built."""
    return WarehouseError(
        f"{audience.name} is not in the warehouse: {audience.relation.sql()} does not exist. "
        f"Run `dbt build --select +{audience.name}`."
    )
