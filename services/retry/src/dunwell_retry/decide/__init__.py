"""Decisions: pure functions, one file per kind of message."""
