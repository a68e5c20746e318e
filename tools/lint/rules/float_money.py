"""Money is an integer of minor units: no float in a name that says so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED: dict[str, str] = {}
# Whole words of a name: `amount_minor`, `minor`, `amount`; not `minority`, and no share or ratio of amounts.
_MONEY = re.compile(r"(^|_)(minor|amount|amounts)($|_)")
_NOT_MONEY = re.compile(r"(^|_)(ratio|share|weight|score|rate|probability|log|mean|bucket|factor|scale)($|_)")


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield money that is annotated as a float, or assigned from a division or float()."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.arg) and _is_money(node.arg) and _is_float(node.annotation):
            yield node.lineno, f"{node.arg} is money and annotated as a float"
        elif isinstance(node, ast.AnnAssign):
            yield from _assigned(node.target, node.value, node.annotation)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _assigned(target, node.value, None)
        elif isinstance(node, ast.keyword) and node.arg:
            yield from _valued(node.arg, node.value, node.value.lineno)


def _assigned(target: ast.expr, value: ast.expr | None, annotation: ast.expr | None) -> Iterator[tuple[int, str]]:
    name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
    if _is_money(name) and _is_float(annotation):
        yield target.lineno, f"{name} is money and annotated as a float"
    if value is not None:
        yield from _valued(name, value, target.lineno)


def _valued(name: str, value: ast.expr, line: int) -> Iterator[tuple[int, str]]:
    if not _is_money(name):
        return
    divided = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div)
    called = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "float"
    literal = isinstance(value, ast.Constant) and isinstance(value.value, float)
    if divided or called or literal:
        yield line, f"{name} is money and would be a float"


def _is_money(name: str) -> bool:
    return bool(_MONEY.search(name)) and not _NOT_MONEY.search(name)


def _is_float(annotation: ast.expr | None) -> bool:
    return annotation is not None and any(
        isinstance(node, ast.Name) and node.id == "float" for node in ast.walk(annotation)
    )
