"""Topics are named by the catalogue alone; wire types in a handler's table are names of their own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dunwell_contracts.catalogue import topics
from tools.lint.source import Source

ALLOWED = {"libs/contracts/src/dunwell_contracts/": "the catalogue itself"}


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield strings that are, or begin with, a topic of the catalogue; docstrings may name one."""
    docstrings = {id(d) for d in _docstrings(source.tree)}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            for topic in topics():
                if node.value == topic or node.value.startswith(f"{topic}."):
                    yield node.lineno, f"{node.value!r} is a topic; take it from the catalogue"


def _docstrings(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
