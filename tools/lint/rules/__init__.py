"""One rule a file: `check(source)` yields (line, message); `ALLOWED` maps a path to why the rule does not hold."""
