"""Local machine: files, locks between processes, and redaction."""
