"""A sync run: lock, recover, plan, guards, spool, deliver, journal, checkpoint, record."""
