"""Audiences from elsewhere, beside each other, before they are built, and as destinations have found them."""

from revetl.audiences.importing import Imported, import_audience
from revetl.audiences.matched import MatchRate, match_rates
from revetl.audiences.overlap import Overlap, Pair, Size, overlap
from revetl.audiences.preview import AudiencePreview, Coverage, preview_audience

__all__ = [
    "AudiencePreview",
    "Coverage",
    "Imported",
    "MatchRate",
    "Overlap",
    "Pair",
    "Size",
    "import_audience",
    "match_rates",
    "overlap",
    "preview_audience",
]
