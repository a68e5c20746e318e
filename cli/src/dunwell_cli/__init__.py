"""The dunwell command."""
