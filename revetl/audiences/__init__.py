"""Audiences from elsewhere, beside each other, and before they are built."""

from revetl.audiences.importing import Imported, import_audience

__all__ = ["Imported", "import_audience"]
