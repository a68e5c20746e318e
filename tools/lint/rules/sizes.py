"""A function fits on a screen, a file in a head."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED: dict[str, str] = {}
FUNCTION_LINES_MAX, FILE_LINES_MAX = 60, 400


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield functions and files that are too long; migrations are histories and are not measured."""
    if "/migrations/" in source.path:
        return
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        yield 1, f"{lines} lines are more than {FILE_LINES_MAX}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield node.lineno, f"{node.name} has {length} lines, more than {FUNCTION_LINES_MAX}"
