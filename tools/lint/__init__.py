"""Our own rules, read off the syntax tree: one rule a file, each with a test that proves it bites."""
