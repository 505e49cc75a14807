"""The identity of a sync's state: the warehouse and target that wrote it, and where it was delivered to.

State is only valid together with both. A copy of the warehouse, another dbt target with the same state, or a
destination that points to another account under the same name would be compared with the members of a
different place. So `sync_identities` has one row per sync; a run or plan with a different identity stops and
shows the old and new values. State without a row was written by a version that recorded none: the next run
adopts it.

Configuration values are compared one by one, if both sides have them. Of secrets only a salted hash is
stored, and a changed secret is a note and not a stop, because keys are rotated."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson

from revetl.destinations.base.audiences import HasAudiences
from revetl.destinations.base.destination import Destination
from revetl.errors import GuardStopped
from revetl.project.workspace import Sync, Workspace
from revetl.sync.state import leases
from revetl.sync.state.run_ids import beginning
from revetl.sync.state.tables import StateTables, insert
from revetl.sync.stop import Stop
from revetl.warehouse import Warehouse, location_of
from revetl.warehouse.templates import statement

_PLACEHOLDER = re.compile(r"<[^<>]*>|\.invalid\b")
_CREDENTIAL = "credential"
_AUDIENCE = "audience"
_KEY = "key"
_KEY_COLUMN = "key_column"
"""The audience's key. Another one is no other place: a guard looks at what it changes."""
_CALLED = "called"
"""The name of the audience at the destination, if that is a former name."""
_ACCEPTED = "accepted"
"""When the state was last accepted although it may lack a run; in the format that run ids begin with."""


@dataclass(frozen=True)
class Identity:
    """What wrote a sync's state and where it delivered to, as names and values. `key` is the secret that
    alone identifies the account; it is stored as a salted hash."""

    written_by: Mapping[str, str] = field(default_factory=dict)
    delivered_to: Mapping[str, str] = field(default_factory=dict)
    key: str = field(default="", repr=False)

    @classmethod
    def read(cls, texts: tuple[str, str] | None) -> Identity | None:
        """Parse a row of `sync_identities`; None if there is none, or it is not readable."""
        if texts is None:
            return None
        try:
            written_by, delivered_to = (orjson.loads(text) for text in texts)
        except orjson.JSONDecodeError:
            return None
        return cls(written_by, delivered_to)

    def in_audience(self, audience_id: str | None) -> Identity:
        """Return the identity with an audience id at the destination."""
        if not audience_id:
            return self
        return self._with(_AUDIENCE, audience_id)

    @property
    def key_column(self) -> str | None:
        """The audience's key that the state is by; None where an older version recorded none."""
        return self.delivered_to.get(_KEY_COLUMN) or self.delivered_to.get(_KEY)

    @property
    def called(self) -> str | None:
        """The former name that the audience still has at the destination."""
        return self.delivered_to.get(_CALLED)

    def still_called(self, name: str | None) -> Identity:
        """Return the identity with this audience name at the destination."""
        return self._with(_CALLED, name) if name else self

    def kept_from(self, before: Identity | None) -> Identity:
        """Return the identity with the recorded former name and the time when the state was accepted."""
        accepted = None if before is None else before.delivered_to.get(_ACCEPTED)
        kept = self.still_called(None if before is None else before.called)
        return kept if accepted is None else kept._with(_ACCEPTED, accepted)

    def accepting(self, moment: datetime) -> Identity:
        """Return the identity of a state that was accepted at a time in UTC."""
        return self._with(_ACCEPTED, beginning(moment))

    def _with(self, name: str, value: str) -> Identity:
        return replace(self, delivered_to={**self.delivered_to, name: value})

    def moved_warehouse(self, before: Identity | None) -> Mapping[str, tuple[str, str]]:
        """Return the old and new values of the warehouse and target that differ, by name."""
        if before is None:
            return {}
        found = _differences(before.written_by, self.written_by)
        # If the old file is gone, the warehouse was moved; if it still exists, it was copied.
        if "file" in found and not _is_copied(*found["file"]):
            del found["file"]
        return found

    def moved_destination(self, before: Identity | None) -> Mapping[str, tuple[str, str]]:
        """Return the old and new values of the destination that differ, by name."""
        return {} if before is None else _differences(before.delivered_to, self.delivered_to)

    def has_other_key(self, before: Identity | None) -> bool:
        """Whether the secret that identifies the account has changed."""
        kept = None if before is None else before.delivered_to.get(_CREDENTIAL)
        if not kept or not self.key or _PLACEHOLDER.search(self.key):
            return False
        return kept != _salted(self.key, kept.partition(":")[0])

    def texts(self) -> tuple[str, str]:
        """The values of its row, as JSON."""
        to = dict(self.delivered_to)
        if self.key:
            to[_CREDENTIAL] = _salted(self.key, secrets.token_hex(8))
        return orjson.dumps(dict(self.written_by)).decode(), orjson.dumps(to).decode()


def identity_of(workspace: Workspace, sync: Sync, destination: Destination) -> Identity:
    """Return the identity of a run of the sync, as far as the configuration defines it."""
    target = workspace.target
    written_by = {
        "target": target.name,
        **location_of(target, workspace.root),
        "state_schema": workspace.state_schema,
    }
    raw = workspace.config.destinations[sync.config.to]
    base_url = _without_embedded_secrets(raw, destination.base_url)
    to = destination.delivers_to(sync.audience.name, sync.config.mode, base_url)
    if destination.sends_at_most_once(sync.config.mode):
        # With another key column, no sent record would be recognized.
        to = {**to, _KEY: sync.audience.key}
    to = {**to, _KEY_COLUMN: sync.audience.key}
    key = "" if "account" in to else "\0".join(destination.secrets())
    return Identity(written_by, to, key)


def audience_there(
    sync: Sync, destination: Destination, before: Identity | None, former: str | None = None
) -> str:
    """Return the name of a sync's audience at the destination.

    If an audience is only a name there (a property, a tag, an event), members keep the delivered name, and a
    rename here does not change it. A list has an id, and is looked up by its current name. `former` is the
    name of the sync whose state is still to be renamed."""
    own = sync.audience.name
    is_list = isinstance(destination, HasAudiences) and destination.uses_audience(sync.config.mode)
    if is_list or destination.audience_of(own) is not None:
        return own
    was = None if former is None else former.partition(".")[0]
    return (None if before is None else before.called) or was or own


def read_identity(warehouse: Warehouse, tables: StateTables, sync: str) -> Identity | None:
    """Return the recorded identity of a sync; None if there is none."""
    rows = warehouse.rows(
        statement(
            "select i.written_by, i.delivered_to from :identities as i where i.sync = :sync",
            identities=tables.identities,
            sync=sync,
        )
    )
    return Identity.read((str(rows[0][0]), str(rows[0][1]))) if rows else None


def record_identity(warehouse: Warehouse, tables: StateTables, sync: str, identity: Identity) -> None:
    """Replace the recorded identity of a sync. The caller owns the transaction."""
    written_by, delivered_to = identity.texts()
    warehouse.run(
        statement("delete from :identities where sync = :sync", identities=tables.identities, sync=sync)
    )
    row = {"sync": sync, "written_by": written_by, "delivered_to": delivered_to, "recorded_at": leases.now()}
    warehouse.run(insert(tables.identities, row))


def forget_held(warehouse: Warehouse, tables: StateTables, sync: str, *, members_only: bool = False) -> None:
    """Delete the state of a sync, or its members only: they are no longer at the destination."""
    query = "delete from :state where sync = :sync"
    if members_only:
        query += " and coalesce(presence, 'member') = 'member'"
    warehouse.run(statement(query, state=tables.state, sync=sync))


def check_warehouse(warehouse: Warehouse, tables: StateTables, sync: str, now: Identity) -> None:
    """Raise GuardStopped if another warehouse or target wrote the state, before anything is changed."""
    if (stop := warehouse_stop(sync, read_identity(warehouse, tables, sync), now)) is not None:
        raise GuardStopped(stop.guard, stop.message)


def warehouse_stop(sync: str, before: Identity | None, now: Identity) -> Stop | None:
    """Return the stop if another warehouse or target wrote the state."""
    found = now.moved_warehouse(before)
    if not found:
        return None
    return Stop(
        "identity",
        f"{sync}: the state was written by another warehouse or target: {_said(found)}. A copy must not sync "
        "to the tools of the original: use separate destinations for this target (`targets:` in revetl.yml), "
        "and a separate state schema where targets share a database (--vars 'state_schema: NAME'). If the "
        f"warehouse was moved or renamed, run `revetl state adopt {sync}`.",
        forceable=False,
    )


def destination_stop(sync: str, to: str, before: Identity | None, now: Identity) -> Stop | None:
    """Return the stop if the destination points to another place than the state was delivered to."""
    found = now.moved_destination(before)
    if not found:
        return None
    if _KEY in found:
        was, key = found[_KEY]
        return Stop(
            "identity",
            f"{sync}: the key of the audience was '{was}' and is now '{key}'. '{to}' gets each record at "
            "most once, by key, so a new key would send every record again. Restore the key, or send all "
            "records again with --full-refresh.",
            forceable=False,
        )
    return Stop(
        "identity",
        f"{sync}: '{to}' points to a different place than before: {_said(found)}. The members in the state "
        "are not there. To send everyone to the new place, use --full-refresh; if it is the same account, or "
        f"has the same members, keep the state with `revetl state adopt {sync}`.",
        forceable=False,
    )


def is_accepted(before: Identity | None, run_id: str) -> bool:
    """Whether the state was accepted after a run began."""
    accepted = None if before is None else before.delivered_to.get(_ACCEPTED)
    return accepted is not None and run_id[: len(accepted)] <= accepted


def restored_stop(sync: str, run_id: str, last_run: str | None, marked_at: str | None = None) -> Stop:
    """Return the stop for a state that lacks a run which this machine, or the destination `marked_at`, has
    recorded."""
    who = "finished on this machine" if marked_at is None else f"recorded at '{marked_at}'"
    known = f"its last run is {last_run}" if last_run else "it has no run"
    return Stop(
        "restored",
        f"{sync}: run {run_id}, {who}, is not in the state ({known}): the warehouse "
        "was restored from an older copy, or the state was dropped, so what was sent since is unknown. "
        f"Compare with `revetl reconcile {sync}`, send everyone with --full-refresh, or accept the state as "
        f"it is with `revetl state adopt {sync}`.",
        forceable=False,
    )


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {
        name: (before[name], value)
        for name, value in now.items()
        if name not in (_CREDENTIAL, _KEY_COLUMN)
        and before.get(name) not in (None, value)
        and not _PLACEHOLDER.search(value)
    }


def _said(found: Mapping[str, tuple[str, str]]) -> str:
    """Format differences as `host was a, is now b`, and hashes only as changed."""
    return "; ".join(
        f"the {name.replace('_', ' ')} has changed"
        if was.startswith("#")
        else f"{name.replace('_', ' ')} was {was}, is now {now}"
        for name, (was, now) in found.items()
    )


def _is_copied(was: str, now: str) -> bool:
    """Whether two paths are different existing files on this machine."""
    try:
        return Path(was).exists() and not Path(was).samefile(now)
    except OSError:
        return False


def _salted(key: str, salt: str) -> str:
    return f"{salt}:{blake2b(key.encode(), key=salt.encode(), digest_size=16).hexdigest()}"


def _without_embedded_secrets(raw: Mapping[str, Any], base_url: str) -> str:
    """Return a URL without templates in its path, such as a token, if its host is written out."""
    for name in ("url", "base_url"):
        text = raw.get(name)
        if isinstance(text, str) and re.match(r"[a-z]+://[^/{]+/.*\{\{", text):
            return re.sub(r"\{\{.*?\}\}", "*", text)
    return base_url
