"""Whose state it is: which warehouse and target wrote it, and where it was delivered to.

State is only right together with both: a copy of a warehouse, another dbt target on the same state, or a
destination that points at another account under the same name would be compared with what another place
holds. So `sync_identities` has a row per sync, and a run or plan with a different identity stops and says
what was and what is. State without a row was written by a version that kept none: the next run adopts it.

What the configuration says is compared, value by value, where both sides say it. Of a secret only a salted
hash is kept, and a different secret gives a note and not a stop, because keys are rotated.
"""

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
"""What the destination knows the audience as, where that is a former name."""
_ACCEPTED = "accepted"
"""When the state was last accepted as it is, whatever run it does not know: as ids of runs begin."""


@dataclass(frozen=True)
class Identity:
    """Name to value of what wrote a sync's state, and of where it delivered to. `key` is what its account
    can only be told by, which is kept as a salted hash."""

    written_by: Mapping[str, str] = field(default_factory=dict)
    delivered_to: Mapping[str, str] = field(default_factory=dict)
    key: str = field(default="", repr=False)

    @classmethod
    def read(cls, texts: tuple[str, str] | None) -> Identity | None:
        """What a row of `sync_identities` says; None where there is none that can be read."""
        if texts is None:
            return None
        try:
            written_by, delivered_to = (orjson.loads(text) for text in texts)
        except orjson.JSONDecodeError:
            return None
        return cls(written_by, delivered_to)

    def in_audience(self, audience_id: str | None) -> Identity:
        """The same, delivered to an audience there."""
        if not audience_id:
            return self
        return self._with(_AUDIENCE, audience_id)

    @property
    def key_column(self) -> str | None:
        """The audience's key that the state is by; None where an older version recorded none."""
        return self.delivered_to.get(_KEY_COLUMN) or self.delivered_to.get(_KEY)

    @property
    def called(self) -> str | None:
        """The former name of the audience that the destination still has it by."""
        return self.delivered_to.get(_CALLED)

    def still_called(self, name: str | None) -> Identity:
        """The same, of an audience that the destination has by this name."""
        return self._with(_CALLED, name) if name else self

    def kept_from(self, before: Identity | None) -> Identity:
        """The same, with what is recorded beside the place: the former name, and when the state was
        accepted."""
        accepted = None if before is None else before.delivered_to.get(_ACCEPTED)
        kept = self.still_called(None if before is None else before.called)
        return kept if accepted is None else kept._with(_ACCEPTED, accepted)

    def accepting(self, moment: datetime) -> Identity:
        """The same of a state that is accepted as it is at a moment in UTC."""
        return self._with(_ACCEPTED, beginning(moment))

    def _with(self, name: str, value: str) -> Identity:
        return replace(self, delivered_to={**self.delivered_to, name: value})

    def moved_warehouse(self, before: Identity | None) -> Mapping[str, tuple[str, str]]:
        """What was and is now of the warehouse and target, by name, where they differ."""
        if before is None:
            return {}
        found = _differences(before.written_by, self.written_by)
        # A file that is gone from where it was has moved; one that is still there has been copied.
        if "file" in found and not _is_copied(*found["file"]):
            del found["file"]
        return found

    def moved_destination(self, before: Identity | None) -> Mapping[str, tuple[str, str]]:
        """What was and is now of the destination, by name, where they differ."""
        return {} if before is None else _differences(before.delivered_to, self.delivered_to)

    def has_other_key(self, before: Identity | None) -> bool:
        """Whether the secret by which alone its account could be told is another one."""
        kept = None if before is None else before.delivered_to.get(_CREDENTIAL)
        if not kept or not self.key or _PLACEHOLDER.search(self.key):
            return False
        return kept != _salted(self.key, kept.partition(":")[0])

    def texts(self) -> tuple[str, str]:
        """Its row, as JSON."""
        to = dict(self.delivered_to)
        if self.key:
            to[_CREDENTIAL] = _salted(self.key, secrets.token_hex(8))
        return orjson.dumps(dict(self.written_by)).decode(), orjson.dumps(to).decode()


def identity_of(workspace: Workspace, sync: Sync, destination: Destination) -> Identity:
    """Who a run of the sync is, and where it delivers to, as far as the configuration tells."""
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
        # By another key, nothing of what was sent would be recognized.
        to = {**to, _KEY: sync.audience.key}
    to = {**to, _KEY_COLUMN: sync.audience.key}
    key = "" if "account" in to else "\0".join(destination.secrets())
    return Identity(written_by, to, key)


def audience_there(
    sync: Sync, destination: Destination, before: Identity | None, former: str | None = None
) -> str:
    """The name by which the destination knows the audience of a sync. Where an audience is only a name there
    (a property, a tag, an event), everyone is under the one that was delivered, and a rename here does not
    change it. A list has an id, and is looked for by the name of today. `former` is the name of the sync
    whose state is still to be carried over."""
    own = sync.audience.name
    is_list = isinstance(destination, HasAudiences) and destination.uses_audience(sync.config.mode)
    if is_list or destination.audience_of(own) is not None:
        return own
    was = None if former is None else former.partition(".")[0]
    return (None if before is None else before.called) or was or own


def read_identity(warehouse: Warehouse, tables: StateTables, sync: str) -> Identity | None:
    """What is recorded of a sync; None where nothing is."""
    rows = warehouse.rows(
        statement(
            "select i.written_by, i.delivered_to from :identities as i where i.sync = :sync",
            identities=tables.identities,
            sync=sync,
        )
    )
    return Identity.read((str(rows[0][0]), str(rows[0][1]))) if rows else None


def record_identity(warehouse: Warehouse, tables: StateTables, sync: str, identity: Identity) -> None:
    """Keep it in the place of what is recorded. In a transaction of the caller."""
    written_by, delivered_to = identity.texts()
    warehouse.run(
        statement("delete from :identities where sync = :sync", identities=tables.identities, sync=sync)
    )
    row = {"sync": sync, "written_by": written_by, "delivered_to": delivered_to, "recorded_at": leases.now()}
    warehouse.run(insert(tables.identities, row))


def forget_held(warehouse: Warehouse, tables: StateTables, sync: str, *, members_only: bool = False) -> None:
    """Have the state hold nobody, or no member of the audience: where it delivered to is not there now."""
    query = "delete from :state where sync = :sync"
    if members_only:
        query += " and coalesce(presence, 'member') = 'member'"
    warehouse.run(statement(query, state=tables.state, sync=sync))


def check_warehouse(warehouse: Warehouse, tables: StateTables, sync: str, now: Identity) -> None:
    """Raises GuardStopped where another warehouse or target wrote the state, before any of it is touched."""
    if (stop := warehouse_stop(sync, read_identity(warehouse, tables, sync), now)) is not None:
        raise GuardStopped(stop.guard, stop.message)


def warehouse_stop(sync: str, before: Identity | None, now: Identity) -> Stop | None:
    """Why another warehouse or target must not run on this state."""
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
    """Why what the state says is held is not held where the destination points now."""
    found = now.moved_destination(before)
    if not found:
        return None
    if _KEY in found:
        was, key = found[_KEY]
        return Stop(
            "identity",
            f"{sync}: the key of the audience was '{was}' and is '{key}' now. '{to}' is sent each record at "
            "most once, by its key, so all that were sent would be sent again. Restore the key, or send all "
            "again with --full-refresh.",
            forceable=False,
        )
    return Stop(
        "identity",
        f"{sync}: '{to}' delivers to a different place than before: {_said(found)}. The people in the state "
        "are not there. To send everyone to the new place, use --full-refresh; if it is the same account, or "
        f"it holds the same people, keep the state with `revetl state adopt {sync}`.",
        forceable=False,
    )


def is_accepted(before: Identity | None, run_id: str) -> bool:
    """Whether somebody has accepted the state as it is after a run began."""
    accepted = None if before is None else before.delivered_to.get(_ACCEPTED)
    return accepted is not None and run_id[: len(accepted)] <= accepted


def restored_stop(sync: str, run_id: str, last_run: str | None, marked_at: str | None = None) -> Stop:
    """Why a state that does not know a run which this machine remembers, or the destination `marked_at` has a
    mark of, is not believed."""
    who = "which this machine finished" if marked_at is None else f"which '{marked_at}' has a mark of"
    known = f"its last run there is {last_run}" if last_run else "no run of it is there"
    return Stop(
        "restored",
        f"{sync}: run {run_id}, {who}, is not in the state ({known}): the warehouse "
        "was restored from an older copy, or the state was dropped, and what was sent since is not known. "
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
    """`host was a, is now b`; a hash says nothing to people."""
    return "; ".join(
        f"the {name.replace('_', ' ')} has changed"
        if was.startswith("#")
        else f"{name.replace('_', ' ')} was {was}, is now {now}"
        for name, (was, now) in found.items()
    )


def _is_copied(was: str, now: str) -> bool:
    """Whether two paths are of two files of this machine."""
    try:
        return Path(was).exists() and not Path(was).samefile(now)
    except OSError:
        return False


def _salted(key: str, salt: str) -> str:
    return f"{salt}:{blake2b(key.encode(), key=salt.encode(), digest_size=16).hexdigest()}"


def _without_embedded_secrets(raw: Mapping[str, Any], base_url: str) -> str:
    """A URL without what its path has of templates, such as a token, where its host is written out."""
    for name in ("url", "base_url"):
        text = raw.get(name)
        if isinstance(text, str) and re.match(r"[a-z]+://[^/{]+/.*\{\{", text):
            return re.sub(r"\{\{.*?\}\}", "*", text)
    return base_url
