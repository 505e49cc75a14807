"""Audiences from elsewhere, beside each other, and before they are built."""

from revetl.audiences.importing import Imported, import_audience
from revetl.audiences.overlap import Overlap, Pair, Size, overlap
from revetl.audiences.preview import AudiencePreview, Coverage, preview_audience

__all__ = [
    "AudiencePreview",
    "Coverage",
    "Imported",
    "Overlap",
    "Pair",
    "Size",
    "import_audience",
    "overlap",
    "preview_audience",
]
