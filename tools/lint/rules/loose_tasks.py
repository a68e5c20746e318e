"""No task is started and forgotten: create_task is a task group's, ensure_future only where somebody waits for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.lint.source import Source

ALLOWED: dict[str, str] = {}


def check(source: Source) -> Iterator[tuple[int, str]]:
    """Yield create_task, and futures whose handle is thrown away."""
    groups = set(_groups(source.tree))
    for call, name in source.calls():
        if name.removesuffix(".create_task") in groups:
            continue
        if name.endswith((".create_task", "asyncio.run_coroutine_threadsafe")):
            yield call.lineno, f"{name}() starts a task that nobody may wait for"
    for node in ast.walk(source.tree):
        thrown = node.value if isinstance(node, ast.Expr) else None
        if isinstance(thrown, ast.Call) and getattr(thrown.func, "attr", "") == "ensure_future":
            yield thrown.lineno, "the future's handle is thrown away"


def _groups(tree: ast.Module) -> Iterator[str]:
    """Yield the names of task groups: a group waits for what it starts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith):
            for item in node.items:
                made = item.context_expr
                if isinstance(made, ast.Call) and getattr(made.func, "attr", "") == "TaskGroup":
                    yield getattr(item.optional_vars, "id", "")
