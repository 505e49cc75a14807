"""`revetl collect`: receive events over HTTP, store them durably, and land them in the raw tables."""
