"""The state of a sync in the warehouse: leases, tables, the outbox, checkpoints, and the run log."""
