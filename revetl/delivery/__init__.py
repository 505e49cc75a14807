"""Delivery: turn records into batches and requests, and write each response to the write-ahead log."""
