"""Connections as dbt opens them, so that whatever dbt can sign in by, the runner can."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from revetl.dbt.project_files import Target
from revetl.errors import WarehouseError
from revetl.warehouse.engine import secrets_of, without


def opened_by_dbt(target: Target, title: str) -> Any:
    """The driver's connection that dbt's adapter opens for a target. Raises WarehouseError."""
    from dbt.adapters.contracts.connection import Connection
    from dbt.adapters.factory import FACTORY

    with signing_in(target, title):
        asked: Any = Connection
        connection = asked(type=target.type, name="revetl", credentials=dbt_credentials(target))
        return FACTORY.get_adapter_class_by_name(target.type).ConnectionManager.open(connection).handle


def dbt_credentials(target: Target) -> Any:
    """A target as dbt's adapter understands it."""
    from dbt.adapters.factory import FACTORY

    kind = FACTORY.load_plugin(target.type)
    given = {name: value for name, value in target.config.items() if name not in ("type", "threads")}
    return kind.from_dict(kind.translate_aliases(given))


@contextmanager
def signing_in(target: Target, title: str) -> Iterator[None]:
    """What goes wrong on the way to a connection as WarehouseError."""
    try:
        yield
    except Exception as error:
        text = str(getattr(error, "msg", None) or error).strip() or repr(error)
        why = without(secrets_of(target), " ".join(text.split()))
        raise WarehouseError(f"{title} cannot be opened: {why}") from None
