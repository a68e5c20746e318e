"""Decides when and how to charge again, and charges."""
