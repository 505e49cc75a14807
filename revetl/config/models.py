"""What users write about syncs and destinations: `revetl.yml` and `config.meta.revetl` of a model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from revetl.config.amounts import seconds as seconds
from revetl.config.amounts import share as share
from revetl.config.base import Checked, check, read_yaml
from revetl.config.data_alerts import DataCheck
from revetl.config.events import Casing, Constant, EventRule

Mode = Literal["mirror", "upsert", "insert", "update", "archive", "events", "audience_events", "delete"]
MODES: tuple[str, ...] = get_args(Mode)
AlertKind = Literal["failed", "guard", "rejection_rate", "recovered"]
ALERT_KINDS: tuple[AlertKind, ...] = get_args(AlertKind)
Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]


class ExcludeConfig(Checked):
    """People to leave out: everybody in `column` of a dbt model or seed, matched with the audience's `on`."""

    model: str
    column: str | None = None
    on: str | None = None


class FunctionConfig(Checked):
    """A function of the project, in `functions/NAME.py`: seconds it may take of a record, and megabytes."""

    name: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    timeout: Annotated[float, Field(gt=0)] = 1.0
    memory: Annotated[int, Field(ge=64)] = 256


class SyncConfig(Checked):
    """One entry of `sync:` on a model; docs/audiences.md says what each key means.

    `fields` and `identifiers` map a destination's name to a column or a SQL expression over the model's
    columns; without `fields`, every column but the key is sent. With `event_column`, each row is tracked by
    the name in it, and `events` says what becomes of each. `message_type` is the call that all rows are
    (track, page or screen), or the column that says it.
    """

    to: str
    enabled: bool = True
    mode: Mode = "mirror"
    fields: Mapping[str, str] | None = None
    identifiers: Mapping[str, str] = {}
    constants: Mapping[str, Constant] = {}
    nulls: Annotated[Literal["skip", "send", "clear"], Field(validation_alias=AliasChoices("null"))] = "send"
    set_if_empty: tuple[str, ...] = ()
    archive: Mapping[str, Constant] = {}
    event: str | None = None
    event_column: str | None = None
    message_type: str | None = None
    events: Mapping[str, EventRule] = {}
    other_events: Literal["send", "skip"] = "send"
    standard_events: bool = True
    casing: Casing = Casing()
    function: FunctionConfig | None = None
    timestamp: str | None = None
    exclude: tuple[ExcludeConfig, ...] = ()
    holdout: Annotated[float, BeforeValidator(share), Field(gt=0, lt=1)] | None = None
    salt: str | None = None
    variants: tuple[str, ...] = ()
    limit: Annotated[int, Field(ge=0)] | None = None
    order_by: str | None = None
    priority: str | None = None
    max_change: Annotated[float, BeforeValidator(share), Field(gt=0)] = 0.3
    max_removes: Annotated[int, Field(ge=0)] | None = None
    max_age: Seconds | None = None

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
        """The expression of `order_by`, and whether it is descending."""
        head, _, last = (self.order_by or "").rpartition(" ")
        if head and last.lower() in ("asc", "desc"):
            return head, last.lower() == "desc"
        return self.order_by, False

    @model_validator(mode="after")
    def _what_a_mode_needs(self) -> SyncConfig:
        wrong = []
        if (self.mode == "archive") != bool(self.archive):
            wrong.append("archive: {FIELD: VALUE} and mode 'archive' go together: it is what a remove sets")
        tracked = [self.event, self.event_column]
        if (self.mode == "events") != any(name is not None for name in tracked):
            wrong.append(
                "event: NAME and mode 'events' go together: it is what is tracked (or event_column: COLUMN)"
            )
        if None not in tracked:
            wrong.append("event: and event_column: are two names for what is tracked; keep one")
        if self.events and self.event_column is None:
            wrong.append("events: says what becomes of each event, and there is no event_column:")
        if self.message_type is not None and self.event_column is None:
            wrong.append("message_type: says which call an event is, and there is no event_column:")
        if self.timestamp is not None and self.mode != "events":
            wrong.append("timestamp: is the time of an event, and mode is not 'events'")
        if self.order_by is not None and self.limit is None:
            wrong.append("order_by: says whom a limit takes, and there is no limit:")
        if self.salt is not None and self.holdout is None:
            wrong.append("salt: is for a holdout, and there is no holdout:")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self


class GoalConfig(Checked):
    """What an experiment is to bring about: an event, within some time of entering the audience. Who was in
    it before `since` counts as having entered then."""

    event: Annotated[str, Field(min_length=1)]
    within: Seconds | None = None
    since: date | None = None


CONTROL = "control"
"""The variant that is sent nowhere."""
BUCKETS = 10_000
"""How finely people are told apart by the hash of their key."""


class AudienceConfig(Checked):
    """`config.meta.revetl` of a model: the column that names a person, and where the audience goes. `split`
    gives variants their shares of it, of whatever sum; `max_age` is of syncs that have none of their own.
    Syncs of what is not `enabled` are paused; `was` is the model's name before it was renamed."""

    key: str
    enabled: bool = True
    was: str | None = None
    sync: tuple[SyncConfig, ...] = ()
    split: Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=10)] | None = (
        None
    )
    salt: str | None = None
    goal: GoalConfig | None = None
    max_age: Seconds | None = None

    @field_validator("goal", mode="before")
    @classmethod
    def _an_event(cls, value: object) -> object:
        return {"event": value} if isinstance(value, str) else value

    @property
    def variants(self) -> dict[str, tuple[int, int]]:
        """Each variant's buckets: the first, and the one after the last. The control group comes first, so
        that it is the same people when the others change among themselves."""
        split = self.split or {}
        found, share, start = {}, 0.0, 0
        for name in sorted(split, key=lambda name: name != CONTROL):
            share += split[name]
            end = round(share * BUCKETS / sum(split.values()))
            found[name], start = (start, end), end
        return found

    @model_validator(mode="after")
    def _what_an_experiment_needs(self) -> AudienceConfig:
        wrong = []
        for sync in self.sync:
            if self.split is not None and sync.holdout is not None:
                wrong.append(
                    f"sync to '{sync.to}': has a holdout, and the split has a control group; keep one"
                )
            for name in sync.variants:
                if name not in (self.split or {}) or name == CONTROL:
                    known = ", ".join(each for each in self.split or {} if each != CONTROL) or "none"
                    wrong.append(
                        f"sync to '{sync.to}': variants: there is no '{name}' to be sent. There is: {known}"
                    )
        if self.salt is not None and self.split is None:
            wrong.append("salt: is for a split, and there is no split:")
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
        """A sync is named by its audience and destination, and so is what is held."""
        names = [sync.to for sync in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"two syncs go to '{name}'; keep one, or name the destination twice in revetl.yml"
                )
        return value


class AlertConfig(Checked):
    """One entry of `alerts:` in revetl.yml; docs/alerts.md says what each key means. The addresses in `to`
    hold secrets and stay unrendered until they are used. `data` is what `revetl alerts check` looks at."""

    to: Annotated[tuple[str, ...], Field(min_length=1)]
    on: Annotated[tuple[AlertKind, ...], Field(min_length=1)] = ALERT_KINDS
    rejection_rate: Annotated[float, BeforeValidator(share), Field(ge=0, lt=1)] = 0.05
    syncs: tuple[str, ...] = ("*",)
    data: tuple[DataCheck, ...] = ()

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
            raise ValueError("syncs: has no names. Add one, or checks under data:")
        return self


class RevetlConfig(Checked):
    """`revetl.yml`. Destinations stay unrendered until they are used, so that a secret which is not
    set stops only the run that needs it. `priorities` are lists of audiences, the first of which has a
    person for itself."""

    destinations: Mapping[str, dict[str, Any]] = {}
    priorities: Mapping[str, tuple[str, ...]] = {}
    alerts: tuple[AlertConfig, ...] = ()


def read_revetl_yml(root: Path) -> RevetlConfig:
    """`root/revetl.yml`, or the defaults when there is none. Raises UsageError naming file and key."""
    path = root / "revetl.yml"
    if not path.exists():
        return RevetlConfig()
    return check(RevetlConfig, read_yaml(path) or {}, path.name)
