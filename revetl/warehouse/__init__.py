"""The warehouse: one small module an engine, behind the protocol in `base`."""

from revetl.warehouse.base import Warehouse, database_of, open_warehouse

__all__ = ["Warehouse", "database_of", "open_warehouse"]
