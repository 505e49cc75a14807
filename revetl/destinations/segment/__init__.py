"""Segment, RudderStack, and what speaks their API."""
