"""Warehouses: one module per engine, behind the protocol in `base`."""

from revetl.warehouse.base import Opening, Warehouse, check_target, database_of, location_of, open_warehouse

__all__ = ["Opening", "Warehouse", "check_target", "database_of", "location_of", "open_warehouse"]
