"""One file to look at, and how names in it are spelled out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed file.

    Args:
        path: Relative to the repository's root, with forward slashes.
    """

    path: str
    text: str
    tree: ast.Module

    @classmethod
    def of(cls, path: str, text: str) -> Source:
        """Parse a file; SyntaxError when it is not Python."""
        return cls(path, text, ast.parse(text, path))

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Yield every call with the full name of what is called, imports resolved."""
        imported = _imported(self.tree)
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node, _resolved(node.func, imported)

    def imports(self) -> Iterator[tuple[int, str]]:
        """Yield every imported module with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.lineno, node.module


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` of such an expression; its trailing attributes after a `?` when it starts otherwise."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def _imported(tree: ast.Module) -> dict[str, str]:
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update({alias.asname: alias.name for alias in node.names if alias.asname})
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return found


def _resolved(node: ast.AST, imported: dict[str, str]) -> str:
    first, dot, rest = dotted(node).partition(".")
    return f"{imported.get(first, first)}{dot}{rest}"
