"""Checks of the contracts room: catalogue files, examples, descriptors, consumers' tables."""
