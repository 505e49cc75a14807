"""Read-only questions about a project and its warehouse."""
