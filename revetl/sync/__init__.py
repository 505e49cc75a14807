"""A run of a sync: lock, recover, plan, guard, spool, deliver, journal, commit, record."""
