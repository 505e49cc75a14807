"""Plan a sync: who is eligible, what changed, and which guards stop the run."""
