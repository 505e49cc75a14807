"""The plan of a sync: who is eligible, what changed, which guards stop it."""
