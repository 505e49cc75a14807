"""Polytomic."""
