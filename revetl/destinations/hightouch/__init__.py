"""Hightouch."""
