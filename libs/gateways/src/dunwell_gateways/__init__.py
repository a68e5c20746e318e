"""Gateway port, registry and one folder per gateway."""
