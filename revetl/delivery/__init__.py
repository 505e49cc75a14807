"""Delivery: records become batches, batches become requests, and each answer is journaled."""
