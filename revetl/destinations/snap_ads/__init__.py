"""Snapchat Audience Match."""
