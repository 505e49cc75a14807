"""Identity resolution as in the identity models: profiles and their reasons, splits, effects of other
rules."""

from __future__ import annotations

from revetl.inspect.identity.cut import CutResult, cut, uncut
from revetl.inspect.identity.diff import ProfilesDiff, diff
from revetl.inspect.identity.profile import Profile, show

__all__ = ["CutResult", "Profile", "ProfilesDiff", "cut", "diff", "show", "uncut"]
