"""Keeps the books: append-only double entry of receivables."""
