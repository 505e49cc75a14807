"""The configuration of syncs and destinations: `revetl.yml` and a model's `config.meta.revetl`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from revetl.config.amounts import seconds as seconds
from revetl.config.amounts import share as share
from revetl.config.base import ConfigModel, check, read_yaml
from revetl.config.collector import CollectorConfig
from revetl.config.data_alerts import DataCheck
from revetl.config.events import Casing, Constant, EventRule

Mode = Literal["mirror", "upsert", "insert", "update", "archive", "events", "audience_events", "delete"]
MODES: tuple[str, ...] = get_args(Mode)
AlertKind = Literal["failed", "guard", "rejection_rate", "recovered"]
ALERT_KINDS: tuple[AlertKind, ...] = get_args(AlertKind)
Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]


class ExcludeConfig(ConfigModel):
    """Members to exclude: those whose `on` column is in `column` of a dbt model or seed."""

    model: str
    """A dbt model, seed, source or audience."""
    column: str | None = None
    """Its column to match on; the name of `on` without it."""
    on: str | None = None
    """The audience's column to match on; the key without it."""


class FunctionConfig(ConfigModel):
    """A function of the project, `destination_functions/NAME.py`, with its limits: seconds per record, and
    megabytes."""

    name: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    """The file `destination_functions/NAME.py`, and the function in it."""
    timeout: Annotated[float, Field(gt=0)] = 1.0
    """Seconds that one record may take."""
    memory: Annotated[int, Field(ge=64)] = 256
    """Megabytes that the process may use."""


class SyncConfig(ConfigModel):
    """One entry of `sync:` on a model. docs/how-to/audiences.md documents the keys.

    `fields` and `identifiers` map a destination's name to a column or a SQL expression over the model's
    columns; without `fields`, every column except the key is sent. With `event_column`, each row is an event
    named by that column, and `events` maps each name. `message_type` is the call of all rows (track, page or
    screen), or the column that contains it.
    """

    to: str
    """The destination's name in `revetl.yml`."""
    enabled: bool = True
    """`false` pauses this sync."""
    mode: Mode = "mirror"
    """Which changes are sent, and as what."""
    fields: Mapping[str, str] | None = None
    """The destination's field to a column or SQL expression, or a list of columns. Without it, every column
    except the key and revetl's internal columns."""
    identifiers: Mapping[str, str] = {}
    """The destination's identifier to a column or SQL expression. Without it, the destination's own
    defaults."""
    constants: Mapping[str, Constant] = {}
    """The destination's field to a value that every record gets."""
    nulls: Annotated[Literal["skip", "send", "clear"], Field(validation_alias=AliasChoices("null"))] = "send"
    """`send` a null, `skip` the field, or `clear` it with the destination's value for "unset"."""
    set_if_empty: tuple[str, ...] = ()
    """Fields that must not overwrite an existing value, where the destination supports it."""
    archive: Mapping[str, Constant] = {}
    """Mode `archive`: the fields that a remove sets, with their values."""
    event: str | None = None
    """Mode `events`: the event name of every row."""
    event_column: str | None = None
    """Mode `events`: the column with the event name."""
    message_type: str | None = None
    """`track`, `page` or `screen`, or the column with it."""
    events: Mapping[str, EventRule] = {}
    """How each event is mapped: its name there, fields and constants."""
    other_events: Literal["send", "skip"] = "send"
    """Whether events that `events` does not list are sent."""
    standard_events: bool = True
    """Whether Segment's e-commerce events are mapped to the destination's standard events."""
    casing: Casing = Casing()
    """Casing of event and field names that no mapping sets."""
    function: FunctionConfig | None = None
    """A Python function of the project that every record passes through."""
    timestamp: str | None = None
    """Mode `events`: the column with the time of the event."""
    exclude: tuple[ExcludeConfig, ...] = ()
    """Exclusion lists: models, seeds, sources or audiences whose members are not sent."""
    holdout: Annotated[float, BeforeValidator(share), Field(gt=0, lt=1)] | None = None
    """Share of the audience to hold out of this sync, such as `10%`."""
    salt: str | None = None
    """Salt of the holdout's hash; the audience's name without it."""
    variants: tuple[str, ...] = ()
    """The variants of `split` to send; all except `control` without it."""
    limit: Annotated[int, Field(ge=0)] | None = None
    """The most members to have at the destination."""
    order_by: str | None = None
    """Which members come first under `limit`, such as `score desc`."""
    priority: str | None = None
    """A list under `priorities:` in `revetl.yml`: a person is only in the first audience of it that has
    them."""
    max_change: Annotated[float, BeforeValidator(share), Field(gt=0)] = 0.3
    """Guard: the largest share of the audience that one run may change."""
    max_removes: Annotated[int, Field(ge=0)] | None = None
    """Guard: the most removes in one run."""
    max_age: Seconds | None = None
    """Guard: the oldest build that is sent, such as `36 hours`."""

    @field_validator("fields", mode="before")
    @classmethod
    def _list_of_columns(cls, value: object) -> object:
        return {name: name for name in value} if isinstance(value, list) else value

    @field_validator("function", mode="before")
    @classmethod
    def _name_of_function(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("variants", mode="before")
    @classmethod
    def _one_variant(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("exclude", mode="before")
    @classmethod
    def _names_of_models(cls, value: object) -> object:
        entries = value if isinstance(value, list | tuple) else [value]
        return [{"model": entry} if isinstance(entry, str) else entry for entry in entries]

    @property
    def order(self) -> tuple[str | None, bool]:
        """The expression of `order_by`, and whether the order is descending."""
        head, _, last = (self.order_by or "").rpartition(" ")
        if head and last.lower() in ("asc", "desc"):
            return head, last.lower() == "desc"
        return self.order_by, False

    @model_validator(mode="after")
    def _what_a_mode_needs(self) -> SyncConfig:
        wrong = []
        if (self.mode == "archive") != bool(self.archive):
            wrong.append("archive: {FIELD: VALUE} and mode 'archive' require each other; a remove sets them")
        tracked = [self.event, self.event_column]
        if (self.mode == "events") != any(name is not None for name in tracked):
            wrong.append("mode 'events' and event: NAME (or event_column: COLUMN) require each other")
        if None not in tracked:
            wrong.append("event: and event_column: both name the event; keep one")
        if self.events and self.event_column is None:
            wrong.append("events: requires event_column:")
        if self.message_type is not None and self.event_column is None:
            wrong.append("message_type: requires event_column:")
        if self.timestamp is not None and self.mode != "events":
            wrong.append("timestamp: is the time of an event and requires mode 'events'")
        if self.order_by is not None and self.limit is None:
            wrong.append("order_by: sorts members for a limit and requires limit:")
        if self.salt is not None and self.holdout is None:
            wrong.append("salt: requires holdout:")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self


class GoalConfig(ConfigModel):
    """The goal of an experiment: an event, optionally within some time of entering the audience. Members who
    entered before `since` count as having entered then."""

    event: Annotated[str, Field(min_length=1)]
    """The event to count."""
    within: Seconds | None = None
    """Time after entering the audience in which it counts."""
    since: date | None = None
    """Members since before this date count as having entered on it."""


CONTROL = "control"
"""The variant that is never sent."""
BUCKETS = 10_000
"""The number of hash buckets that keys are assigned to."""


class AudienceConfig(ConfigModel):
    """`config.meta.revetl` of a model: the key column and the syncs.

    `split` weights the variants of an experiment; the weights may have any sum. `max_age` is the default for
    syncs that don't set it. With `enabled: false`, all syncs are paused. `was` is the model's former name.
    """

    key: str
    """The column that identifies a person: unique, never null."""
    enabled: bool = True
    """`false` pauses all syncs of the audience."""
    was: str | None = None
    """The model's name before a rename; carries the syncs' state over."""
    sync: tuple[SyncConfig, ...] = ()
    """The syncs, one per destination."""
    split: Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=10)] | None = (
        None
    )
    """Variants of an experiment and their weights; `control` is not sent."""
    salt: str | None = None
    """Salt of the split's hash; the audience's name without it."""
    goal: GoalConfig | None = None
    """The event that the experiment should bring about."""
    max_age: Seconds | None = None
    """`max_age` of the syncs that do not set it."""

    @field_validator("goal", mode="before")
    @classmethod
    def _an_event(cls, value: object) -> object:
        return {"event": value} if isinstance(value, str) else value

    @property
    def variants(self) -> dict[str, tuple[int, int]]:
        """Variant to its half-open range of buckets. The control group comes first, so that it keeps its
        members when the weights of the others change."""
        split = self.split or {}
        found, share, start = {}, 0.0, 0
        for name in sorted(split, key=lambda name: name != CONTROL):
            share += split[name]
            end = round(share * BUCKETS / sum(split.values()))
            found[name], start = (start, end), end
        return found

    @model_validator(mode="after")
    def _what_an_experiment_needs(self) -> AudienceConfig:
        if {"true", "false"} & {name.lower() for name in self.split or {}}:
            raise ValueError(
                "split: dbt reads the names on, yes, off and no as true and false; quote them: 'on'"
            )
        wrong = []
        for sync in self.sync:
            if self.split is not None and sync.holdout is not None:
                wrong.append(
                    f"sync to '{sync.to}': holdout: can't be combined with split:, which has a control group"
                )
            for name in sync.variants:
                if name not in (self.split or {}) or name == CONTROL:
                    known = ", ".join(each for each in self.split or {} if each != CONTROL) or "none"
                    wrong.append(
                        f"sync to '{sync.to}': variants: '{name}' is not a variant it can send: {known}"
                    )
        if self.salt is not None and self.split is None:
            wrong.append("salt: requires split:")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @field_validator("sync", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, Mapping) else value

    @field_validator("sync")
    @classmethod
    def _one_sync_a_destination(cls, value: tuple[SyncConfig, ...]) -> tuple[SyncConfig, ...]:
        """Require one sync per destination: audience and destination identify a sync and its state."""
        names = [sync.to for sync in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two syncs go to '{name}'; keep one, or define a second destination in revetl.yml"
                )
        return value


class AlertConfig(ConfigModel):
    """One entry of `alerts:` in revetl.yml. docs/how-to/alerts.md documents the keys. The addresses in `to`
    contain secrets and are rendered only when used. `revetl alerts check` evaluates `data`."""

    to: Annotated[tuple[str, ...], Field(min_length=1)]
    """One or more apprise URLs."""
    on: Annotated[tuple[AlertKind, ...], Field(min_length=1)] = ALERT_KINDS
    """The state changes to notify about."""
    rejection_rate: Annotated[float, BeforeValidator(share), Field(ge=0, lt=1)] = 0.05
    """`rejection_rate` fires above this share of attempted records."""
    syncs: tuple[str, ...] = ("*",)
    """Names of syncs, with `*` and `?`; `[]` for none."""
    data: tuple[DataCheck, ...] = ()
    """Checks of the data, evaluated by `revetl alerts check`."""

    @field_validator("to", "on", "syncs", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("data", mode="before")
    @classmethod
    def _one_check(cls, value: object) -> object:
        return [value] if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _watches_something(self) -> AlertConfig:
        if not self.syncs and not self.data:
            raise ValueError("syncs: is empty. Add a name, or checks under data:")
        return self


class PrivacyConfig(ConfigModel):
    """`privacy:` in revetl.yml."""

    order: tuple[str, ...] = ()
    """Destinations in the order in which people are erased there; the others follow, CRMs first."""
    phone_region: Annotated[str, Field(pattern="^[A-Z]{2}$")] | None = None
    """Country of phone numbers without a country code, such as `US`."""
    deadline_days: Annotated[int, Field(ge=1, le=90)] = 30
    """Days until a request is due."""


class RevetlConfig(ConfigModel):
    """`revetl.yml`. Destinations are rendered only when used, so that a missing secret fails only the runs
    that need it. `priorities` are ordered lists of audiences: a person is in the first that contains them."""

    destinations: Mapping[str, dict[str, Any]] = {}
    """Destinations by name; each has a `type`."""
    priorities: Mapping[str, tuple[str, ...]] = {}
    """Lists of audiences, highest priority first."""
    alerts: tuple[AlertConfig, ...] = ()
    """Who is notified, and when."""
    privacy: PrivacyConfig = PrivacyConfig()
    """How people are erased."""
    collector: CollectorConfig = CollectorConfig()
    """The sources of `revetl collect`, and its settings."""

    @model_validator(mode="after")
    def _known_order(self) -> RevetlConfig:
        for name in self.privacy.order:
            if name not in self.destinations:
                raise ValueError(f"privacy.order: revetl.yml has no destination '{name}'")
        return self


def read_revetl_yml(root: Path) -> RevetlConfig:
    """Read `root/revetl.yml`, or return the defaults if it doesn't exist. Raises UsageError with the file and
    the key."""
    path = root / "revetl.yml"
    if not path.exists():
        return RevetlConfig()
    return check(RevetlConfig, read_yaml(path) or {}, path.name)
