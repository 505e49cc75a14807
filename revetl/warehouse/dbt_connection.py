"""Open connections with dbt's adapters, to support the same authentication methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from revetl.dbt.project_files import Target
from revetl.errors import WarehouseError
from revetl.warehouse.engine import secrets_of, without


def opened_by_dbt(target: Target, title: str) -> Any:
    """Open a driver connection for a target with dbt's adapter. Raises WarehouseError."""
    from dbt.adapters.contracts.connection import Connection
    from dbt.adapters.factory import FACTORY

    with signing_in(target, title):
        untyped: Any = Connection
        connection = untyped(type=target.type, name="revetl", credentials=dbt_credentials(target))
        return FACTORY.get_adapter_class_by_name(target.type).ConnectionManager.open(connection).handle


def dbt_credentials(target: Target) -> Any:
    """Convert a target to the credentials of dbt's adapter."""
    from dbt.adapters.factory import FACTORY

    kind = FACTORY.load_plugin(target.type)
    given = {name: value for name, value in target.config.items() if name not in ("type", "threads")}
    return kind.from_dict(kind.translate_aliases(given))


@contextmanager
def signing_in(target: Target, title: str) -> Iterator[None]:
    """Convert errors while connecting to WarehouseError."""
    try:
        yield
    except Exception as error:
        text = str(getattr(error, "msg", None) or error).strip() or repr(error)
        why = without(secrets_of(target), " ".join(text.split()))
        raise WarehouseError(f"Could not connect to {title}: {why}") from None
