"""Pendo."""
