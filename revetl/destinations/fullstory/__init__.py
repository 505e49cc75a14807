"""Fullstory."""
