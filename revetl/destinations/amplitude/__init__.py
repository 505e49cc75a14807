"""Amplitude."""
