"""Delivery: records become batches, batches become requests, and each response is journaled."""
