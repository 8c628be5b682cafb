"""Logging with redaction: JSON lines, one an event, on standard error."""
