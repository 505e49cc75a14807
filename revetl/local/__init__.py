"""This machine: files, locks between processes, and secrets kept out of text."""
