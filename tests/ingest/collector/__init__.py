"""Tests of `revetl collect`."""
